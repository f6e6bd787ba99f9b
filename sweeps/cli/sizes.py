"""How many seeds claims take to be told, by the spread of a pilot, and about how long these train."""

import contextlib
import dataclasses
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sweeps.claims.effects import OPEN, growth
from sweeps.claims.verdicts import Finding
from sweeps.members.population import seeds_of
from sweeps.report.wording import count
from sweeps.store.durable import replace
from sweeps.trial import Study

SECONDS = "seconds.txt"  # in a run directory: what training it took, all calls together


class Pilot(NamedTuple):
    """A run at the study's own size, whose spread says how many seeds claims take.

    Attributes:
        findings: of the study.
        seeds: how many it has.
        seconds: how long it took; None if that is not known.
        again: whether its seeds are trained again with the others.
    """

    findings: tuple[Finding, ...]
    seeds: int
    seconds: float | int | None
    again: bool = False


class Size(NamedTuple):
    """A larger run of a study.

    Attributes:
        seeds: how many it has.
        growth: how many times the seeds of the pilot these are.
        minutes: about how long it takes; None where the pilot was not timed.
    """

    seeds: int
    growth: float
    minutes: float | None

    def after(self, seconds: float | int | None, pilot: Pilot) -> "Size":
        """The same run, of which so much is done.

        Args:
            seconds: what it has taken, or the run that it extends; None if there is none, or nobody knows.
            pilot: whose time is among that, unless its seeds are trained again.
        """
        before = 0.0 if pilot.again else pilot.seconds
        if self.minutes is None or seconds is None or before is None:
            return self
        return self._replace(minutes=max(0.0, self.minutes - max(0.0, seconds - before) / 60))

    def fits(self, minutes: float | int) -> bool:
        """Whether it is done in so many minutes, as far as one can say."""
        return minutes > 0 and (self.minutes is None or self.minutes <= minutes)


def sizes(pilot: Pilot) -> list[Size]:
    """The larger runs that give the power of 90 % to one claim after the other, the largest first.

    They depend on the spread of what was measured alone, not on verdicts: a number of seeds that is chosen so
    leaves the errors of the tests what they are (an internal pilot: Wittes and Brittain, 1990).

    Args:
        pilot: the run at the study's own size.
    """
    found = {}
    for finding in pilot.findings:
        times = growth(finding.effects)
        if times > 1:
            more = times if pilot.again else times - 1
            minutes = None if pilot.seconds is None else pilot.seconds * more / 60
            seeds = math.ceil(pilot.seeds * times)
            found[seeds] = Size(seeds, times, minutes)
    return [found[seeds] for seeds in sorted(found, reverse=True)]


def enlarged(study: Study, options: dict[str, Any], size: Size) -> tuple[Study, dict[str, Any]]:
    """The study with so many seeds, the pilot's among them, and with as many more fresh seeds.

    Args:
        study: the study.
        options: how it is run.
        size: which larger run.
    """
    first = min(seeds_of(study))
    larger = dataclasses.replace(study, space={**study.space, "seed": range(first, first + size.seeds)})
    if not options.get("confirm"):
        return larger, options
    return larger, options | {"confirm": math.ceil(options["confirm"] * size.growth)}


def needs(pilot: Pilot, findings: Sequence[Finding], seeds: int, seconds: float | int | None = None) -> str:
    """What it takes to tell the claims that cannot be told, in words; empty if all are, or nobody knows.

    Args:
        pilot: the run at the study's own size.
        findings: of the run that there is, the pilot or a larger one.
        seeds: how many that has.
        seconds: how long it took.
    """
    pairs = zip(pilot.findings, findings, strict=True)
    untold = tuple(own for own, now in pairs if now.verdict == OPEN)
    larger = [size for size in sizes(pilot._replace(findings=untold)) if size.seeds > seeds]
    if not larger:
        return ""
    most = larger[0].after(seconds, pilot)
    about = "" if most.minutes is None else f", about {_duration(most.minutes)}"
    those = "the claim" if len(untold) == 1 else f"the {len(untold)} claims"
    return f"needs {most.seeds:,} seeds{about}, for {those} that {count(seeds, 'seed')} cannot tell"


def _duration(minutes: float | int) -> str:
    """About how long, in words."""
    if minutes < 90:
        return count(max(1, math.ceil(minutes)), "minute")
    return f"{minutes / 60:,.0f} hours"


@contextlib.contextmanager
def timed(directory: Path) -> Iterator[None]:
    """Takes down how long what is done inside takes, in the run directory, stopped or not.

    Args:
        directory: the run directory, which may not be there before.
    """
    began = time.monotonic()
    try:
        yield
    finally:
        if directory.is_dir():
            total = (seconds_of(directory) or 0.0) + time.monotonic() - began
            with contextlib.suppress(OSError):  # a forecast is not worth a failure
                replace(directory / SECONDS, lambda path: path.write_text(f"{total:.1f}\n"))


def seconds_of(directory: Path | None) -> float | None:
    """How long a run has taken; None where that is not known.

    Args:
        directory: the run directory; None for a run in memory.
    """
    try:
        seconds = float((directory / SECONDS).read_text()) if directory else math.nan
    except (OSError, ValueError):
        return None
    return seconds if math.isfinite(seconds) else None
