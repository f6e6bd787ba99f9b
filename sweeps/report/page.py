"""The report of a run as one HTML file, which opens without a network and can be mailed."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sweeps.errors import StudyError
from sweeps.report.columns import member_columns
from sweeps.report.configurations import configurations
from sweeps.report.front import front
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
from sweeps.report.progress import trajectories
from sweeps.report.reproduction import circumstances, recipe, replay
from sweeps.report.schedule_panels import schedule, search_history, stopped
from sweeps.report.sentence import answer, question
from sweeps.report.time_panel import timing
from sweeps.report.training_panels import curves, dead_units, divergences, slopes
from sweeps.report.wording import count, scored_at, title
from sweeps.results.results import Results
from sweeps.store.durable import replace, writing

NO_CURVES: dict[str, Any] = {"steps": [], "values": []}
ASSETS = Path(__file__).parent / "assets"
# In the order in which they need one another; those that draw are also of the page of `sweeps watch`.
DRAWING = ("drawing.js", "chart.js", "pointer.js", "cards.js", "curves.js", "figures.js")
SCRIPTS = (*DRAWING, "schedules.js", "parallel.js", "members.js", "start.js")


def write(results: Results, path: str | Path, objectives: Mapping[str, str] | None = None) -> Path:
    """Writes the report; a file of that name is replaced.

    Args:
        results: a run, finished or not, or what a filter left of it.
        path: the file.
        objectives: metrics with `max` or `min`, whose Pareto front is a part; None leaves it out.

    Returns:
        The file. It is there whole or not at all.

    Raises:
        StudyError: the file cannot be written.
    """
    path = named(Path(path), "a report", "report.html")
    text = document(results, objectives)
    with writing(str(path)):
        replace(path, lambda file: file.write_text(text, "utf-8", errors="backslashreplace", newline="\n"))
    return path


def named(path: Path, page: str, such: str) -> Path:
    """The path of a page, if it is that of a file.

    Args:
        path: where the page is to be written.
        page: what it is.
        such: a name that would do.

    Raises:
        StudyError: it is that of a folder.
    """
    if not path.name or os.path.isdir(path):
        raise StudyError(
            f"`a file's name` must hold for {page}, but got the folder {str(path)!r}; {path / such} would do"
        )
    return path


def document(results: Results, objectives: Mapping[str, str] | None = None) -> str:
    """The report as text; the same results give the same text.

    Args:
        results: a run.
        objectives: metrics with `max` or `min`, whose Pareto front is a part; None leaves it out.
    """
    study = gather(results, member_columns)
    parts = _parts(study, objectives)
    data = {
        "metric": study.metric,
        "mode": results.manifest["mode"],
        "steps": results.manifest["steps"],
        "percent": percent_names(study),
        "titles": {name: title(name) for name in study.finals},
        "columns": study.columns.columns,
        "fields": study.columns.fields,
        "trajectories": trajectories(results, study.metric, study.columns.rows)
        if study.finals
        else NO_CURVES,
        "replay": replay(results),
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
        "facts": escape(facts(study)),
        "contents": "".join(f'<li><a href="#{part.name}">{escape(part.heading)}</a></li>' for part in parts),
        "parts": "\n".join(part.html for part in parts),
        "data": embedded(data),
        "script": "\n".join((ASSETS / script).read_text(encoding="utf-8") for script in SCRIPTS),
    }
    return filled((ASSETS / "page.html").read_text(encoding="utf-8"), pieces)


def filled(template: str, pieces: dict[str, str]) -> str:
    """The template with `{{name}}` replaced, once: what is put in is not searched again.

    Args:
        template: text.
        pieces: what stands for each name.
    """
    text = []
    for piece in template.split("{{"):
        name, closed, rest = piece.partition("}}")
        text.append(pieces[name] + rest if closed else piece)
    return "".join(text)


def _parts(study: Study, objectives: Mapping[str, str] | None) -> list[Part]:
    drawn = curves(study) if study.finals else None
    found = [
        against_fields(study),
        configurations(study),
        drawn,
        None if objectives is None else front(study, objectives),
        timing(study),
        heatmap(study),
        parallel(study),
        importances(study),
        stopped(study),
        search_history(study),
        schedule(study),
        dead_units(study),
        slopes(study, drawn.data["curves"]) if drawn else None,
        divergences(study),
        _members(study),
        _reproduction(study),
    ]
    return [part for part in found if part is not None]


def facts(study: Study) -> str:
    """What was run, in one line.

    Args:
        study: what the page is made of.
    """
    said = ", ".join(f"{number:,} {status}" for status, number in tally(study.results).items())
    return (
        f"{count(len(study.results.members), 'member')} ({said}): {count(len(study.rows), 'configuration')}, "
        f"{count(len(study.results.members['seed'].unique()), 'seed')}, "
        f"{count(study.results.folds, 'fold') + ', ' if study.results.folds else ''}"
        f"{count(study.results.manifest['steps'], 'training step')} each"
    )


def _members(study: Study) -> Part:
    shown, total = len(study.columns.rows), len(study.results.members)
    note = (
        f"Metrics are those of a member {scored_at(study.results.manifest)}; numbers have six digits; – is "
        "not set. Headings sort, and a row opens the card of its member, beside which that of a second can "
        "be laid. A filter is a part "
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
    if again := replay(study.results):
        body += "<p>One member again, bit for bit in the same numerical setting: "
        body += f"<code>{escape(again)}</code></p>"
    body += table(("what", "value"), circumstances(study.results), "Versions, hardware and seeds")
    # Where a study lay on the machine that ran it is nobody else's business.
    reference = {**(manifest.get("reference") or {}), "folder": "…"} if manifest.get("reference") else None
    said = dict(manifest) | ({"reference": reference} if "reference" in manifest else {})
    whole = json.dumps(said, indent=2, default=str, ensure_ascii=False)
    body += "<details><summary>The manifest of the run</summary>"
    body += f'<pre tabindex="0"><code>{escape(whole)}</code></pre></details>'
    heading = "How to reproduce it"
    return Part("reproduce", heading, section("reproduce", heading, body), {})
