"""Where members stand at a rung, what is decided there, and how they rank."""

from typing import NamedTuple

import numpy as np


class Standing(NamedTuple):
    """Members at the step of a decision.

    Attributes:
        step: the step after which is decided.
        members: the ids that still run, ascending.
        points: the configuration number of each; the seeds of one configuration share it.
        scores: the study's metric of each at this step; NaN for one that diverged, and where it is undefined.
        groups: the static group of each; None is one group.
        history: the score that each had after every evaluation so far, a row per evaluation, the oldest
            first; None where the schedule does not ask for it.
        lost: whether each has diverged or failed; None takes those without a finite score.
        losses: how many members of each one's configuration were lost before this step; None is none.
    """

    step: int
    members: np.ndarray
    points: np.ndarray
    scores: np.ndarray
    groups: np.ndarray | None = None
    history: np.ndarray | None = None
    lost: np.ndarray | None = None
    losses: np.ndarray | None = None

    @property
    def gone(self) -> np.ndarray:
        """Whether each member cannot go on: a healthy one can, though its score is not a number."""
        return ~np.isfinite(self.scores) if self.lost is None else self.lost


class Decision(NamedTuple):
    """What happens to members after a step.

    Attributes:
        stopped: the ids that end here, ascending; a diverged member ends unless it takes another's state.
        sources: member to the member whose state it takes (PBT).
        values: member to its new traced values by field (PBT).
        failed: the ids of those that had failed and no score; it is made anew if they have one later.
    """

    stopped: np.ndarray
    sources: dict[int, int] = {}
    values: dict[int, dict[str, float]] = {}
    failed: np.ndarray = np.zeros(0, np.int64)


def ending(decision: Decision, failed: np.ndarray) -> Decision:
    """A decision by which members that have failed end too, whatever a schedule does with one that diverged.

    Args:
        decision: the decision.
        failed: their ids.

    Example:
        >>> ending(Decision(np.array([3]), {1: 0, 2: 0}, {1: {}, 2: {}}), np.array([2])).sources
        {1: 0}
    """
    ended = set(failed.tolist())
    return Decision(
        np.union1d(decision.stopped, failed),
        {member: source for member, source in decision.sources.items() if member not in ended},
        {member: values for member, values in decision.values.items() if member not in ended},
        failed,
    )


def same(first: Decision, second: Decision) -> bool:
    """Whether two decisions are one, whoever had failed.

    Args:
        first: one.
        second: the other.
    """
    stopped = np.array_equal(first.stopped, second.stopped)
    return stopped and (first.sources, first.values) == (second.sources, second.values)


def rank_points(standing: Standing, mode: str) -> np.ndarray:
    """Configuration numbers by the mean score over their seeds, the best first.

    One of which a member diverged, now or before, ranks below all of which none did, and the lower the more
    of them did; a score that is not a number counts as one. Ties break by the smallest member id.

    Args:
        standing: the members.
        mode: `max` or `min`.

    Example:
        >>> members = np.arange(4)
        >>> scores = np.array([0.9, np.nan, 0.5, 0.6])
        >>> rank_points(Standing(10, members, np.array([0, 0, 1, 1]), scores), "max").tolist()
        [1, 0]
    """
    points, first, place = np.unique(standing.points, return_index=True, return_inverse=True)
    finite = np.isfinite(standing.scores)
    healthy = np.bincount(place, weights=finite, minlength=len(points))
    total = np.bincount(place, weights=np.where(finite, standing.scores, 0.0), minlength=len(points))
    lost = np.bincount(place, minlength=len(points)) - healthy
    if standing.losses is not None:
        lost = lost + standing.losses[first]
    mean = total / np.maximum(healthy, 1)
    return points[np.lexsort((standing.members[first], -mean if mode == "max" else mean, lost))]


def rank_members(standing: Standing, mode: str) -> np.ndarray:
    """The places of members in `standing`, the best first; those without a score last, ties by id.

    Args:
        standing: the members.
        mode: `max` or `min`.
    """
    unscored = ~np.isfinite(standing.scores)
    scores = np.where(unscored, 0.0, standing.scores)
    return np.lexsort((standing.members, -scores if mode == "max" else scores, unscored))
