"""The part of the page that lists configurations: figures over seeds, and how far each is from the best."""

from sweeps.report.bounds import bounds_of
from sweeps.report.differences import differences
from sweeps.report.markup import escape, section, table
from sweeps.report.panels import Part, Study
from sweeps.report.sentence import comparisons_said
from sweeps.report.wording import cells, difference, figures, in_words, is_share, losses
from sweeps.results.lineage import is_evolved
from sweeps.statistics.intervals import Interval

MOST_ROWS = 30
NOT_FRESH = "Figures in the table are of the seeds that chose the best, not of the fresh ones."


def configurations(study: Study) -> Part | None:
    """The configurations, the best first, at most 30 of them."""
    if not study.axes or sum(row.seeds > 0 for row in study.rows) < 2:
        return None
    left = len(study.rows) - min(MOST_ROWS, sum(row.seeds > 0 for row in study.rows))
    note = comparisons_said(study.results, study.rows)
    if study.results.fresh:
        note += f" {NOT_FRESH}"
    if any(row.draws > 1 for row in study.rows):
        note += (
            f" Intervals are 95 % ones; those of differences are paired by {_noun(study)} and not corrected."
        )
    note += (
        f" {left:,} more, without a final value or further down, are in the table of members." if left else ""
    )
    body = f'<p class="note">{escape(note.strip())}</p>' + best_first(study, MOST_ROWS)
    return Part("configurations", "Configurations", section("configurations", "Configurations", body), {})


def best_first(study: Study, most: int) -> str:
    """The table of those configurations that have a final value.

    Args:
        study: what the page is made of.
        most: how many rows there may be.
    """
    metric, values = study.metric, study.finals[study.metric]
    percent, bounds = is_share(metric, values), bounds_of(metric, values)
    shown, found = [row for row in study.rows if row.seeds][:most], []
    for row, apart in zip(shown, differences(study.results, shown), strict=True):
        said = "" if row is not shown[0] else "best"
        if row is not shown[0] and row.draws > 1 and shown[0].draws > 1:
            said = standing(row.tied, apart)
        if row.diverged:
            said = ", ".join(f"{lost} of {len(row.members)} {word}" for word, lost in losses(row).items())
        found.append(
            (
                *cells(row.config),
                figures(*row.interval, percent=percent, bounds=bounds),
                "–" if row is shown[0] else difference(*apart, percent=percent),
                f"{row.draws:,}",
                said,
            )
        )
    points = ", points" if percent else ""
    headings = (*study.results.swept, in_words(metric), f"difference to the best{points}", _noun(study), "")
    return table(headings, found, "The best first")


def standing(tied: bool, apart: Interval) -> str:
    """How a configuration stands to the best, in words.

    Args:
        tied: whether it is not told from the best, corrected for how many are compared.
        apart: its difference to the best with the interval that is not corrected.

    Example:
        >>> standing(True, Interval(-0.2, -0.5, 0.1)), standing(True, Interval(-0.2, -0.3, -0.1))
        ('not measurably worse', 'not measurably worse once corrected')
    """
    if not tied:
        return "measurably worse"
    return "not measurably worse" + (" once corrected" if apart.low > 0 or apart.high < 0 else "")


def _noun(study: Study) -> str:
    return "lineages" if is_evolved(study.results.manifest) else "folds" if study.results.folds else "seeds"
