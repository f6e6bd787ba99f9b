"""The best configuration so far, where the seeds of one are trained in several chunks."""

from typing import NamedTuple


class Lead(NamedTuple):
    """The best configuration so far.

    Attributes:
        step: the step that its members were evaluated at.
        seeds: how many of them the mean is over.
        value: their mean of the study's metric.
        member: the id of one of them.
        config: its swept fields, in words.
    """

    step: int
    seeds: int
    value: float
    member: int
    config: str = ""


class Leads:
    """What the best configurations of chunks say together.

    Seeds of one configuration that several chunks hold are one mean: the best of the means of chunks would be
    the luckiest of them.

    Attributes:
        best: the best configuration at the last step that any has come to, those with most seeds first.
    """

    def __init__(self) -> None:
        self.best: Lead | None = None
        self.pieces: dict[str, dict[int, Lead]] = {}  # by configuration, and by the first member in a chunk
        self.pooled: dict[str, Lead] = {}

    def add(self, found: Lead, mode: str) -> None:
        """Takes in the best configuration of a chunk, in the place of what that chunk said of it before.

        Args:
            found: the configuration.
            mode: `max` or `min`.
        """
        sign, known = (1 if mode == "max" else -1), self.pieces.setdefault(found.config, {})
        newest = max((piece.step for piece in known.values()), default=found.step)
        if found.step < newest:
            return
        if found.step > newest:
            known.clear()
        known[found.member] = found
        seeds = sum(piece.seeds for piece in known.values())
        value = found.value
        if len(known) > 1:
            value = sum(piece.seeds * piece.value for piece in known.values()) / seeds
        self.pooled[found.config] = found._replace(seeds=seeds, value=value, member=min(known))
        self.best = max(self.pooled.values(), key=lambda lead: (lead.step, lead.seeds, sign * lead.value))
