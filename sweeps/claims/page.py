"""The page of a reproduction: every claim with its source, effect, power, picture and verdict."""

import base64
import datetime
import math
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sweeps.claims.effects import CONDITIONAL, FAILS, HOLDS, MORE, NO_MORE, OPEN, Effect, in_unit, size_of
from sweeps.claims.forest import TEXT
from sweeps.claims.sources import METHODS, bibtex, references
from sweeps.claims.verdicts import Claim, Finding, said
from sweeps.report.markup import escape, section, table
from sweeps.report.page import ASSETS
from sweeps.report.wording import count

MARKS: dict[str, str] = {HOLDS: "holds", CONDITIONAL: "conditional", FAILS: "fails", OPEN: "open"}
TITLE = "What is claimed about Leaky ReLU, and what was measured here"
HEADINGS = (
    "condition",
    "difference (95 % interval)",
    "the smallest that matters",
    "power to tell it",
    "p, too small to matter",
    "over",
    "told with 90 % power",
    "seeds it takes",
    "verdict",
)
HEAD = """# What is said of Leaky ReLU, checked

    sweeps reproduce                   # all of it; a second time goes on, or only writes the page again
    sweeps reproduce --minutes 60      # with the seeds that a power of 90 % takes, as far as they fit
    sweeps reproduce --only activations dying
    sweeps reproduce --data mnist-5k --out runs/mnist     # or --data fashion-mnist=data/fashion-mnist

Each claim is a ready study (`sweeps list`) that `sweeps run NAME` runs by itself. The smallest difference
that matters is said before. A difference is there only if its whole interval says so, and too small to
matter only if two one-sided tests do; both are corrected for the number of comparisons, and winners run
again on fresh seeds. What cannot be told comes with the difference that could have been, and with the seeds
it takes. `sweeps reproduce` writes this file, as `reproduction.md`, beside a page to cite and a picture of
all effects."""


class Outcome(NamedTuple):
    """What became of a study.

    Attributes:
        name: of the study.
        line: what it is, the first line of its docstring.
        claims: what it is about.
        findings: one per claim; empty if it failed.
        size: how many members and steps, in words.
        picture: the file, or None.
        error: why it failed, or None.
        facts: seeds, versions, hardware and the like, as labels and values.
        needs: what more seeds it would take for a power of 90 %, in words; empty if it has them.
    """

    name: str
    line: str
    claims: tuple[Claim, ...]
    findings: tuple[Finding, ...]
    size: str
    picture: Path | None
    error: str | None
    facts: tuple[tuple[str, str], ...] = ()
    needs: str = ""


def document(outcomes: Sequence[Outcome], data: str | None = None, forest: Sequence[Path] = ()) -> str:
    """The page as text, complete in itself.

    Args:
        outcomes: of the studies.
        data: the images that were used instead of digits, as they were named; None if digits.
        forest: the picture of all effects as SVG, for wide pages and for narrow ones; empty for none.
    """
    style = "\n".join((ASSETS / name).read_text(encoding="utf-8") for name in ("page.css", "claims.css"))
    parts = [section(outcome.name, outcome.name, _study(outcome)) for outcome in outcomes]
    contents = "".join(
        f'<li><a href="#{escape(outcome.name)}">{escape(outcome.name)}</a></li>' for outcome in outcomes
    )
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f"<title>{escape(TITLE)}</title>\n<style>\n{style}\n</style>\n</head>\n<body>\n<header>\n"
        f'<h1>{escape(TITLE)}</h1>\n<p class="answer">{escape(_tally(outcomes))}</p>\n'
        f'<p class="grounds">{escape(_grounds(outcomes, data))}</p>\n'
        f'<nav aria-label="Contents"><ol>{contents}</ol></nav>\n</header>\n<main>\n'
        f"{section('effects', 'Every effect', _forest(forest)) if forest else ''}\n"
        f"{section('claims', 'Every claim', _table(outcomes))}\n" + "\n".join(parts) + "\n"
        f"{section('cite', 'To cite it', _cited(outcomes))}\n</main>\n"
        "<footer><p>This file is complete: it opens without a network.</p></footer>\n</body>\n</html>\n"
    )


def markdown(outcomes: Sequence[Outcome], data: str | None = None) -> str:
    """`sweeps/studies/README.md`: how to get it, and the table of all claims, in Markdown.

    Args:
        outcomes: of the studies.
        data: the images that were used instead of digits, as they were named; None if digits.
    """
    facts = dict(next((outcome.facts for outcome in outcomes if outcome.facts), ()))
    circumstances = "; ".join(facts[label] for label in ("versions", "hardware") if facts.get(label))
    images = f"Images: {data}. " if data else ""
    lines = [HEAD, "", f"{images}{circumstances}".strip(), ""] if images or circumstances else [HEAD, ""]
    lines += [f"<details><summary>{_tally(outcomes).removesuffix('.')}</summary>", ""]
    lines += ["| claim | source | measured | power | verdict |", "|---|---|---|---|---|"]
    for outcome in outcomes:
        for claim, measured, power, verdict in _rows(outcome):
            cells = (claim.text, claim.source, f"{measured} (`{outcome.name}`)", power, f"**{verdict}**")
            lines.append(f"| {' | '.join(_cell(cell) for cell in cells)} |")
    return "\n".join([*lines, "", "</details>"]) + "\n"


def _rows(outcome: Outcome) -> list[tuple[Claim, str, str, str]]:
    """Claim, what was measured, its power, verdict; a failed study's claims too: none is passed over."""
    if outcome.error is not None:
        return [(claim, outcome.error, "", "not measured") for claim in outcome.claims]
    return [
        (finding.claim, finding.measured, _power(finding), finding.verdict) for finding in outcome.findings
    ]


def _power(finding: Finding) -> str:
    """Which difference could have been told; said of all verdicts, and missing from none that is open."""
    if not finding.effects and finding.verdict != OPEN:
        return ""
    return size_of(finding.effects, finding.verdict)


def _cell(text: str) -> str:
    # Backslash first: it would escape the escapes. Angle brackets would be HTML.
    for character in "\\|<>":
        text = text.replace(character, f"\\{character}")
    return re.sub(r"\s+", " ", text)


def _tally(outcomes: Sequence[Outcome]) -> str:
    """How many claims came to which verdict, in one sentence."""
    verdicts = Counter(verdict for outcome in outcomes for *_, verdict in _rows(outcome))
    several = {
        HOLDS: "hold",
        CONDITIONAL: "hold under some conditions",
        FAILS: "do not hold here",
        OPEN: OPEN,
        "not measured": "not measured",
    }
    said = ", ".join(
        f"{verdicts[verdict]} {verdict if verdicts[verdict] == 1 else plural}"
        for verdict, plural in several.items()
        if verdicts[verdict]
    )
    return f"{count(verdicts.total(), 'claim')}: {said}." if verdicts else "No claim was examined."


def _grounds(outcomes: Sequence[Outcome], data: str | None) -> str:
    comparisons = sum(finding.comparisons for outcome in outcomes for finding in outcome.findings)
    return (
        f"Measured on {data or 'digits, 8x8 images of handwriting'}, unless a study says otherwise. A "
        "difference is there only if the whole 95 % interval says so, and too small to matter only if two "
        "one-sided tests do, each at 5 %; where a claim depends on the conditions, the measurements say on "
        "which. Effects are differences between runs of equal seeds. Intervals and tests are corrected for "
        "the comparisons that they are read with (Bonferroni); their number stands beside them, "
        f"{comparisons} over all claims, across which nothing is corrected. What was chosen as the best is "
        "measured again on fresh seeds. How many seeds a power of 90 % takes is computed from the spread "
        "over seeds, whatever was found. These are small networks on small data: a verdict says what is so "
        "here."
    )


def _verdict(verdict: str) -> str:
    mark = MARKS.get(verdict, "missing")
    return f'<strong class="verdict {mark}">{escape(verdict)}</strong>'


def _table(outcomes: Sequence[Outcome]) -> str:
    """One row per claim; narrow pages show it as a list."""
    headings = ("claim", "source", "measured", "power", "verdict", "study")
    rows = []
    for outcome in outcomes:
        for claim, measured, power, verdict in _rows(outcome):
            link = f'<a href="#{escape(outcome.name)}">{escape(outcome.name)}</a>'
            words = map(escape, (claim.text, claim.source, measured, power))
            cells = "".join(
                f'<td data-heading="{heading}">{cell}</td>'
                for heading, cell in zip(headings, (*words, _verdict(verdict), link), strict=True)
            )
            rows.append(f"<tr>{cells}</tr>")
    head = "".join(f'<th scope="col">{heading}</th>' for heading in headings)
    return (
        f'<table class="claims"><thead><tr>{head}</tr></thead>\n<tbody>'
        + "\n".join(rows)
        + "</tbody></table>"
    )


def _study(outcome: Outcome) -> str:
    """What a study asked, found and drew."""
    body = f'<p class="facts">{escape(outcome.line)} {escape(outcome.size)}</p>'
    if outcome.error is not None:
        return body + f'<p class="error">It failed: {escape(outcome.error)}</p>'
    body += "".join(map(_finding, outcome.findings))
    if outcome.needs:
        again = f"<code>sweeps reproduce --only {escape(outcome.name)} --minutes MINUTES</code>"
        body += f'<p class="note">{escape(outcome.name)} {escape(outcome.needs)}: {again}</p>'
    if outcome.picture is not None:
        beside = outcome.picture.with_suffix(".txt")
        words = beside.read_text(encoding="utf-8") if beside.exists() else ""
        caption = f"<figcaption>{escape(words)}</figcaption>" if words else ""
        body += (
            f'<figure><img alt="{escape(outcome.line)}" src="{_image(outcome.picture)}">{caption}</figure>'
        )
    if outcome.facts:
        body += f"<details><summary>Data, seeds and versions</summary>{_facts(outcome.facts)}</details>"
    return body + f'<p class="note">Again: <code>sweeps reproduce --only {escape(outcome.name)}</code></p>'


def _finding(finding: Finding) -> str:
    """A claim, with what was measured, its power, and every effect in numbers."""
    corrected = (
        f" The interval holds together with {count(finding.comparisons - 1, 'other')}."
        if finding.comparisons > 1
        else ""
    )
    found = (
        f'<div class="finding"><p>{_verdict(finding.verdict)}</p>'
        f"<blockquote>{escape(finding.claim.text)} <cite>{escape(finding.claim.source)}</cite></blockquote>"
        f"<p>{escape(finding.measured)}{escape(corrected)}</p>"
    )
    if power := _power(finding):
        found += f'<p class="note">{escape(power)}</p>'
    if finding.effects:
        words = count(len(finding.effects), "effect")
        rows = map(_cells, finding.effects)
        found += f"<details><summary>{words} in numbers</summary>{table(HEADINGS, rows)}</details>"
    return found + "</div>"


def _cells(effect: Effect) -> list[str]:
    """An effect as a row of a table."""
    small = effect.equivalence
    p = small.below if effect.claimed in (MORE, NO_MORE) else small.p
    return [
        effect.label or "–",
        said(effect.interval, effect.unit, effect.scale),
        in_unit(effect, effect.margin) if effect.margin else "–",
        f"{effect.power:.0%}" if effect.bounded else "–",
        "–" if math.isnan(p) else "< 0.0001" if p < 1e-4 else f"{p:.4f}",
        f"{effect.seeds:,} {effect.over}",
        in_unit(effect, effect.smallest) if effect.bounded else "–",
        "–" if effect.needed is None else f"{effect.needed:,}",
        effect.verdict,
    ]


def _forest(paths: Sequence[Path]) -> str:
    """The picture of all effects: of two, the one that suits the page."""
    wide, narrow = map(_image, (paths[0], paths[-1]))
    return (
        f'<figure class="forest"><picture><source media="(max-width: 48rem)" srcset="{narrow}">'
        f'<img alt="Every effect with its interval; the table below has the numbers" src="{wide}"></picture>'
        f"<figcaption>{escape(TEXT)}</figcaption></figure>"
    )


def _image(path: Path) -> str:
    kind = "svg+xml" if path.suffix == ".svg" else "png"
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


def _facts(facts: Sequence[tuple[str, str]]) -> str:
    pairs = "".join(f"<dt>{escape(label)}</dt><dd>{escape(value)}</dd>" for label, value in facts)
    return f'<dl class="known">{pairs}</dl>'


def _cited(outcomes: Sequence[Outcome]) -> str:
    """How to cite this page, and what it cites."""
    sources = [claim.source for outcome in outcomes for claim in outcome.claims]
    listed = "".join(f"<li>{escape(text)}</li>" for text in (*references(sources), *METHODS))
    entry = bibtex(datetime.date.today().year)
    return (
        f"<pre><code>{escape(entry)}</code></pre><p>The claims are in our words. They are from, and the "
        f"methods are those of:</p><ul>{listed}</ul>"
    )
