"""The report of a run as one HTML file, which opens without a network and can be mailed."""

import json
import os
from pathlib import Path

from sweeps.report.columns import member_columns
from sweeps.report.markup import embedded, escape, section, table
from sweeps.report.outcomes import tally
from sweeps.report.panels import (
    Part,
    Study,
    against_fields,
    gather,
    heatmap,
    importances,
    parallel,
    percent_names,
)
from sweeps.report.reproduction import circumstances, recipe
from sweeps.report.sentence import answer, question
from sweeps.report.training_panels import curves, dead_units, divergences, slopes, stopped
from sweeps.report.wording import count
from sweeps.results import Results
from sweeps.space import StudyError
from sweeps.store import writing

ASSETS = Path(__file__).parent / "assets"
SCRIPTS = ("drawing.js", "figures.js", "parallel.js", "members.js", "start.js")


def write(results: Results, path: str | Path) -> Path:
    """Writes the report; a file of that name is replaced.

    Args:
        results: a run, finished or not, or what a filter left of it.
        path: the file.

    Returns:
        The file. It is there whole or not at all.

    Raises:
        StudyError: Plotly is not installed, or the file cannot be written.
    """
    path, text = Path(path), document(results)
    temporary = path.with_name(f".{path.name}.tmp")
    with writing(str(path)):
        try:
            with temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    return path


def document(results: Results) -> str:
    """The report as text; the same results give the same text.

    Args:
        results: a run.

    Raises:
        StudyError: Plotly is not installed.
    """
    plotly = _plotly()
    study = gather(results, member_columns)
    parts = _parts(study)
    data = {
        "metric": study.metric,
        "mode": results.manifest["mode"],
        "steps": results.manifest["steps"],
        "percent": percent_names(study),
        "columns": study.columns.columns,
        "fields": study.columns.fields,
    }
    for part in parts:
        data |= part.data
    name = str(results.manifest.get("study", "study"))
    sentences = answer(results, study.rows)
    pieces = {
        "title": escape(f"{name}: {sentences[0]}"),
        "style": (ASSETS / "page.css").read_text(encoding="utf-8"),
        "study": escape(name),
        "question": escape(question(results)),
        "answer": escape(sentences[0]),
        "grounds": escape(" ".join(sentences[1:])),
        "facts": escape(_facts(study)),
        "contents": "".join(f'<li><a href="#{part.name}">{escape(part.heading)}</a></li>' for part in parts),
        "parts": "\n".join(part.html for part in parts),
        "plotly": plotly,
        "data": embedded(data),
        "script": "\n".join((ASSETS / script).read_text(encoding="utf-8") for script in SCRIPTS),
    }
    return _filled((ASSETS / "page.html").read_text(encoding="utf-8"), pieces)


def _filled(template: str, pieces: dict[str, str]) -> str:
    """The template with `{{name}}` replaced, once: what is put in is not searched again."""
    text = []
    for piece in template.split("{{"):
        name, closed, rest = piece.partition("}}")
        text.append(pieces[name] + rest if closed else piece)
    return "".join(text)


def _parts(study: Study) -> list[Part]:
    drawn = curves(study) if study.finals else None
    found = [
        against_fields(study),
        drawn,
        heatmap(study),
        parallel(study),
        importances(study),
        stopped(study),
        dead_units(study),
        slopes(study, drawn.data["curves"]) if drawn else None,
        divergences(study),
        _members(study),
        _reproduction(study),
    ]
    return [part for part in found if part is not None]


def _facts(study: Study) -> str:
    """What was run, in one line."""
    said = ", ".join(f"{number:,} {status}" for status, number in tally(study.results).items())
    return (
        f"{count(len(study.results.members), 'member')} ({said}): {count(len(study.rows), 'configuration')}, "
        f"{count(len(set(study.seeds.tolist())), 'seed')}, "
        f"{count(study.results.manifest['steps'], 'training step')} each"
    )


def _members(study: Study) -> Part:
    shown, total = len(study.columns.rows), len(study.results.members)
    note = (
        "Metrics are those at the last step, to six digits; – is not set. Headings sort. A filter is a part "
    )
    note += "of the text, a number, or a range: 0.1..0.3, >0.1, <=3."
    if shown < total:
        note += (
            f" This page holds {shown:,} of the {total:,} members, evenly spaced; members.parquet has all."
        )
    body = f'<p class="note">{escape(note)}</p><div id="members"></div>'
    return Part("table", "Every member", section("table", "Every member", body), {})


def _reproduction(study: Study) -> Part:
    manifest = study.results.manifest
    body = f'<pre tabindex="0"><code>{escape(recipe(manifest))}</code></pre>'
    if study.results.directory is not None:
        body += "<p>One member again, bit for bit in the same numerical setting: "
        body += f"<code>sweeps replay {escape(study.results.directory)} MEMBER</code></p>"
    body += table(("what", "value"), circumstances(study.results), "Versions, hardware and seeds")
    # Where a study lay on the machine that ran it is nobody else's business.
    reference = {**(manifest.get("reference") or {}), "folder": "…"} if manifest.get("reference") else None
    said = dict(manifest) | ({"reference": reference} if "reference" in manifest else {})
    whole = json.dumps(said, indent=2, default=str, ensure_ascii=False)
    body += "<details><summary>The manifest of the run</summary>"
    body += f'<pre tabindex="0"><code>{escape(whole)}</code></pre></details>'
    heading = "How to reproduce it"
    return Part("reproduce", heading, section("reproduce", heading, body), {})


def _plotly() -> str:
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise StudyError(
            "`plotly is installed` must hold for a report, but it is not: pip install 'lrelu-jax[sweeps]'"
        ) from error
    return get_plotlyjs()
