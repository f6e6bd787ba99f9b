"""The schedule of hyperparameters that population-based training found, followed by other members."""

from typing import Any, NamedTuple

from sweeps.schedules.decision import Decision, Standing


class PBTReplay(NamedTuple):
    """A schedule of hyperparameters; members neither stop nor learn from one another.

    Attributes:
        members: how many members follow it, from the first; the others keep their hyperparameters.
        steps: the steps after which values change, ascending, all before the last.
        values: the values from step 0 on, and from each of these steps on.
    """

    members: int = 0
    steps: tuple[int, ...] = ()
    values: tuple[dict[str, Any], ...] = ()


def follow(schedule: PBTReplay, standing: Standing) -> Decision:
    """Gives the members that follow the schedule its next values.

    Args:
        schedule: the schedule.
        standing: the members.

    Example:
        >>> import numpy as np
        >>> falling = PBTReplay(1, (10,), ({"rate": 0.1}, {"rate": 0.05}))
        >>> follow(falling, Standing(10, np.arange(2), np.arange(2), np.zeros(2))).values
        {0: {'rate': 0.05}}
    """
    values = schedule.values[1 + schedule.steps.index(standing.step)]
    followers = standing.members[standing.members < schedule.members].tolist()
    return Decision(standing.members[:0], {}, {member: dict(values) for member in followers})
