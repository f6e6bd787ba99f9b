"""The page of a reproduction: every claim with its source, what was measured, the picture and the verdict."""

import base64
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sweeps.claims.verdicts import CONDITIONAL, FAILS, HOLDS, OPEN, Claim, Finding
from sweeps.report.markup import escape, section
from sweeps.report.page import ASSETS
from sweeps.report.wording import count

MARKS: dict[str, str] = {HOLDS: "holds", CONDITIONAL: "conditional", FAILS: "fails", OPEN: "open"}
TITLE = "What is claimed about Leaky ReLU, and what was measured here"


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
    """

    name: str
    line: str
    claims: tuple[Claim, ...]
    findings: tuple[Finding, ...]
    size: str
    picture: Path | None
    error: str | None


def document(outcomes: Sequence[Outcome], data: str | None = None) -> str:
    """The page as text, complete in itself.

    Args:
        outcomes: of the studies.
        data: the images that were used instead of digits, as they were named; None if digits.
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
        f"{section('claims', 'Every claim', _table(outcomes))}\n" + "\n".join(parts) + "\n</main>\n"
        "<footer><p>This file is complete: it opens without a network.</p></footer>\n</body>\n</html>\n"
    )


def markdown(outcomes: Sequence[Outcome]) -> str:
    """The table of claims, sources, measurements and verdicts, in Markdown.

    Args:
        outcomes: of the studies.
    """
    lines = ["| claim | source | measured | verdict |", "|---|---|---|---|"]
    for outcome in outcomes:
        for claim, measured, verdict in _rows(outcome):
            cells = (claim.text, claim.source, f"{measured} (`{outcome.name}`)", f"**{verdict}**")
            lines.append(f"| {' | '.join(_cell(cell) for cell in cells)} |")
    return "\n".join(lines) + "\n"


def _rows(outcome: Outcome) -> list[tuple[Claim, str, str]]:
    """Claim, what was measured, verdict; a failed study's claims too, so that none is passed over."""
    if outcome.error is not None:
        return [(claim, outcome.error, "not measured") for claim in outcome.claims]
    return [(finding.claim, finding.measured, finding.verdict) for finding in outcome.findings]


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
        f"Measured on {data or 'digits, 8x8 images of handwriting'}, unless a study says otherwise. A claim "
        "holds, or does not, only if the whole 95 % interval says so; where it depends on the conditions, "
        "the measurements say on which. Effects are differences between runs of equal seeds. Every interval "
        "is widened for the comparisons that it is read with (Bonferroni); their number stands beside it, "
        f"{comparisons} over all claims, across which nothing is corrected. What was chosen as the best is "
        "measured again on fresh seeds. These are small networks on small data: a verdict says what is so "
        "here."
    )


def _verdict(verdict: str) -> str:
    mark = MARKS.get(verdict, "missing")
    return f'<strong class="verdict {mark}">{escape(verdict)}</strong>'


def _table(outcomes: Sequence[Outcome]) -> str:
    """One row per claim; narrow pages show it as a list."""
    headings = ("claim", "source", "measured", "verdict", "study")
    rows = []
    for outcome in outcomes:
        for claim, measured, verdict in _rows(outcome):
            link = f'<a href="#{escape(outcome.name)}">{escape(outcome.name)}</a>'
            cells = (escape(claim.text), escape(claim.source), escape(measured), _verdict(verdict), link)
            said = "".join(
                f'<td data-heading="{heading}">{cell}</td>'
                for heading, cell in zip(headings, cells, strict=True)
            )
            rows.append(f"<tr>{said}</tr>")
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
    for finding in outcome.findings:
        corrected = (
            f" The interval holds together with {count(finding.comparisons - 1, 'other')}."
            if finding.comparisons > 1
            else ""
        )
        body += (
            f'<div class="finding"><p>{_verdict(finding.verdict)}</p>'
            f"<blockquote>{escape(finding.claim.text)} "
            f"<cite>{escape(finding.claim.source)}</cite></blockquote>"
            f"<p>{escape(finding.measured)}{escape(corrected)}</p></div>"
        )
    if outcome.picture is not None:
        encoded = base64.b64encode(outcome.picture.read_bytes()).decode("ascii")
        beside = outcome.picture.with_suffix(".txt")
        said = (
            f"<figcaption>{escape(beside.read_text(encoding='utf-8'))}</figcaption>"
            if beside.exists()
            else ""
        )
        body += (
            f'<figure><img alt="{escape(outcome.line)}" src="data:image/png;base64,{encoded}">{said}</figure>'
        )
    return body + f'<p class="note">Again: <code>sweeps reproduce --only {escape(outcome.name)}</code></p>'
