"""What a notebook shows of a study and of its results: HTML that takes its colours from around it."""

import math
from collections.abc import Iterator

from sweeps.report.configurations import NOT_FRESH, best_first
from sweeps.report.markup import escape, table
from sweeps.report.page import facts
from sweeps.report.panels import gather
from sweeps.report.sentence import answer
from sweeps.report.wording import count
from sweeps.results.results import Results
from sweeps.space.domains import is_sampled, size, text
from sweeps.trial import Study, fields

MOST_ROWS = 10
MOST_CHARACTERS = 100  # of a domain
STYLE = """<style>
.sweeps caption { text-align: left; caption-side: top; }
.sweeps caption, .sweeps .facts { opacity: 0.75; font-size: 90%; }
.sweeps table { border-collapse: collapse; }
.sweeps.sweeps :is(th, td) { text-align: left; padding: 0.2em 0.8em; border-bottom: 1px solid #8886; }
</style>"""


def results_html(results: Results) -> str:
    """The answer in a sentence, the table of the best configurations, what both rest on, and what was run.

    Args:
        results: a run, finished or not, or what a filter left of it.
    """
    study = gather(results, lambda *_: None)
    scored = sum(row.seeds > 0 for row in study.rows)
    first, *grounds = answer(results, study.rows)
    body = f"<p><strong>{escape(first)}</strong></p>"
    if study.axes and scored > 1:
        body += best_first(study, MOST_ROWS)
        if results.fresh:
            grounds.append(NOT_FRESH)
    left = f"; the first {MOST_ROWS} are shown" if scored > MOST_ROWS else ""
    return _framed(f'{body}<p class="facts">{escape(" ".join([*grounds, facts(study)]) + left)}</p>')


def study_html(study: Study) -> str:
    """The space, how many members that makes, and by what they are judged.

    Args:
        study: a study.
    """
    goal = {"max": "highest", "min": "lowest"}[study.mode]
    best = ", at the best evaluation of each member" if study.select == "best" else ""
    body = f"<p><strong>{escape(study.trial.config.__name__)}</strong>: {count(study.steps, 'step')}, "
    body += f"the {goal} {escape(study.metric)}{best}</p>"
    if study.domains:
        rows = [(name, _brief(text(domain))) for name, domain in study.domains.items()]
        body += table(("field", "values"), rows, "The space")
    return _framed(f'{body}<p class="facts">{escape(_product(study))}</p>')


def _framed(body: str) -> str:
    return f'<div class="sweeps">{STYLE}{body}</div>'


def _brief(said: str) -> str:
    return said if len(said) <= MOST_CHARACTERS else f"{said[: MOST_CHARACTERS - 1]}…"


def _product(study: Study) -> str:
    """`A grid: 4 alpha × 3 samples × 8 seeds = 96 members`; another search has other points."""
    factors = list(_factors(study))
    said = " × ".join(f"{number:,} {name}" if number else name for number, name in factors)
    members = math.prod(number for number, _ in factors)
    if not members:
        return f"A grid: {said}; run(samples=…) says how many samples"
    chosen = {field.name for field in fields(study.trial.config) if field.branches}
    fewer = study.where is not None or bool(chosen & set(study.domains))
    return f"A grid: {said} = {'at most ' * fewer}{count(members, 'member')}" if said else "1 member"


def _factors(study: Study) -> Iterator[tuple[int, str]]:
    """How many of what cross; 0 if that is not known yet."""
    crossed = {name: domain for name, domain in study.swept.items() if not is_sampled(domain)}
    yield from ((size(domain), name) for name, domain in crossed.items())
    if len(crossed) < len(study.swept):
        yield study.samples or 0, "samples"
    for name, noun in (("seed", "seeds"), ("fold", "folds")):
        if name in study.domains:
            yield size(study.domains[name]), noun
