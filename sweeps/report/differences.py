"""How far each configuration is from the best, seed by seed."""

import numpy as np

from sweeps.report.bounds import bounds_of, of_differences, within
from sweeps.report.marginals import seed_columns
from sweeps.results.ranking import Configuration
from sweeps.results.results import Results
from sweeps.statistics.comparisons import paired_differences
from sweeps.statistics.intervals import Interval, student_interval

FEW = 3  # seeds: with so many or fewer, an interval says little


def differences(results: Results, rows: list[Configuration]) -> list[Interval]:
    """The mean difference of the final metric to the best configuration, and its 95 % Student interval.

    Differences are taken at the seeds (with folds, the folds; in population-based training, the lineages)
    that both have, so that what both owe to the seed cancels. They are not corrected for their number.

    Args:
        results: a run.
        rows: its configurations, the best first.

    Returns:
        One per row. NaN where there is nothing to compare; the bounds are NaN for one common seed.
    """
    bounds = of_differences(bounds_of(results.manifest["metric"], results.final()))
    ids, seeds = results.members["member"].to_numpy(), results.draws
    own = [_by_seed(row, seeds[np.searchsorted(ids, row.members)]) for row in rows]
    best, best_seeds = own[0]

    def to_best(values: np.ndarray, seeds: np.ndarray) -> Interval:
        apart = paired_differences(values, best, seeds, best_seeds)
        return within(student_interval(apart, overlap=results.overlap), bounds)

    nothing = Interval(float("nan"), float("nan"), float("nan"))
    return [nothing, *(to_best(values, their) for values, their in own[1:])]


def compared(rows: list[Configuration]) -> list[Configuration]:
    """The configurations, but for the best, some member of which has a final value: the others say nothing.

    Args:
        rows: the configurations, the best first.
    """
    return [row for row in rows[1:] if row.seeds]


def _by_seed(row: Configuration, seeds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One value per seed, and the seeds."""
    return seed_columns(row.values[None], seeds)[0], np.unique(seeds)
