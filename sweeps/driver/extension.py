"""`extend`: more seeds, levels, samples or steps for a run that there is."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sweeps.driver.loop import check_minutes
from sweeps.driver.session import go_on, opened
from sweeps.engine.rows import pending_rows
from sweeps.errors import StudyError, brief
from sweeps.executors.processes import going_on
from sweeps.host.numbers import clock
from sweeps.members.counts import check_samples
from sweeps.members.extension import Part
from sweeps.members.population import Population, seeds_of
from sweeps.members.request import Request, make_request, request_again
from sweeps.models import annealing
from sweeps.results.results import Results
from sweeps.results.storage import reachable
from sweeps.space.domains import is_sampled, level_column, text
from sweeps.space.values import as_text
from sweeps.store import chunks as store
from sweeps.store import derived
from sweeps.store.durations import chunk_seconds
from sweeps.store.failures import without_state
from sweeps.store.statuses import Status
from sweeps.trial import ENGINES, Study

MOST_SAID = 5  # of values that are missing


def extend(
    directory: str | Path,
    study: Study,
    *,
    space: Mapping[str, Any] | None = None,
    samples: int | None = None,
    steps: int | None = None,
    again: bool = False,
    keep_states: bool = False,
    executor: Any = None,
    devices: Sequence[Any] | None = None,
    max_minutes: float | int | None = None,
    progress: bool = True,
    storage: str | None = None,
) -> Results:
    """Adds members to a run, finished or stopped, or gives its members more steps.

    What is there stays as it is, bit for bit, and is not trained again; members that failed are tried again,
    as `resume` does. New members have the ids after it, and train on as many devices as the run began with,
    in chunks no wider. What was asked for before is in the manifest, under `earlier`; `resume`, `replay` and
    `Results.model` take the study as it was then or as it is now (where functions are among the new levels,
    as it is now, since a manifest has their names alone).

    Given more steps, members go on from their final states, where the run kept them (`keep_states`), and are
    `running` until they have come to the new end, those excepted that diverged. They come to the numbers that
    a run of all the steps has, bit for bit in the same setting; evaluations up to the step at which the run
    had ended stay where they were. States that are lost, or were never kept (`again`), are made again by
    training from step 0. What `keep_best` kept gives way to the best after all steps.

    Args:
        directory: the run directory.
        study: the study that it is a run of; a study that differs is refused.
        space: fields of the run's space with more levels than they had, and all of those; `seed` also where
            the run had the one seed 0.
        samples: how many joint draws, or points of a search, there are to be in all: `random` and `sobol` go
            on in their sequences, `tpe` and `gp` from what they know. None takes the run's.
        steps: how many steps members are to have in all. None takes the run's.
        again: whether members whose final states were not kept may be trained again for more steps.
        keep_states: whether the states after these steps are kept, of a run that had kept none.
        executor: where to train, as in `run`.
        devices: the devices to go on with, as in `resume`.
        max_minutes: after how long to end, as in `run`; `resume` goes on.
        progress: whether to show progress on standard error.
        storage: the URL of an Optuna storage, as in `run`.

    Returns:
        The results, of all members.

    Raises:
        StudyError: it is not a run directory, another process runs it, the study has changed, something of
            the run would be left out, or nothing is new; or states were not kept, and the message says what
            training again would cost.
        KeyboardInterrupt: Ctrl-C, as in `run`.
        SystemExit: SIGTERM, likewise.
    """
    check_minutes(max_minutes)
    if not isinstance(space, Mapping | None):
        raise StudyError(f"`space is a dict of fields and levels` must hold, but got {brief(space)}")
    directory = Path(directory)
    recorded = store.read_manifest(directory)
    executor, free = going_on(executor, devices, recorded)
    request, changes = _wanted(directory, recorded, study, dict(space or {}), samples, steps)
    if not again and not request.keep_states:
        _refuse_lost_states(directory, recorded, request)
    if keep_states:
        request = _keeping(recorded, request, steps)
        changes["keep_states"] = True
    if storage is not None:
        reachable(storage)
        request = request._replace(storage=storage)
    with opened(executor, devices, progress, max_minutes, free) as session:
        return go_on(session, directory, recorded, request, changes)


def _wanted(
    directory: Path,
    recorded: dict[str, Any],
    study: Study,
    space: dict[str, Any],
    samples: int | None,
    steps: int | None,
) -> tuple[Request, dict[str, Any]]:
    """All members, those that are there first, and what the manifest says of them."""
    _refuse_runs(recorded)
    before = request_again(recorded, study)
    larger = dataclasses.replace(before.study, space={**before.study.domains, **space})
    if steps is not None:
        larger = _longer(recorded, larger, steps)
    _refuse_fields(recorded, before.study, larger)
    check_samples(samples)
    had = recorded["samples"]
    if None not in (samples, had) and samples < had:
        raise StudyError(
            f"`samples >= {had}` must hold for a run that has so many, but got samples={samples}; it says "
            f"how many there are to be in all"
        )
    part = Part(recorded["space"], had, recorded["members"], recorded["steps"])
    request = make_request(
        larger,
        before.sampling._replace(
            samples=had if samples is None else samples, earlier=(*before.sampling.earlier, part)
        ),
        name=recorded["study"],
        keep_best=recorded["keep_best"],
        checkpoint_minutes=recorded["checkpoint_minutes"],
        keep_states=before.keep_states,
    )
    if request.members == recorded["members"] and steps is None:
        raise StudyError(
            f"The run has these {recorded['members']} members already. Ask for more seeds "
            f"(seed='range(16)'), more levels of a field, more samples or more steps."
        )
    _refuse_other_values(directory, request.population)
    return request, request.record | {"earlier": [each._asdict() for each in request.sampling.earlier]}


def _longer(recorded: Mapping[str, Any], study: Study, steps: int) -> Study:
    """The study with more steps."""
    had = recorded["steps"]
    if not isinstance(steps, int) or steps <= had:
        raise StudyError(
            f"`steps > {had}` must hold for a run that has so many, but got {brief(steps)}; it says how many "
            f"there are to be in all"
        )
    if annealing.changes(study.trial.config):
        raise StudyError(
            f"`a configuration that stays as it is` must hold, but got one with values that change over all "
            f"steps (sweeps.Schedule): with {steps} steps they would have been others from the first; start "
            f"a new run with --steps {steps}"
        )
    if recorded["points_per_batch"] is not None:
        raise StudyError(
            f"`a search that does not learn` must hold for more steps, but got {recorded['search']}, whose "
            f"points come from scores after {had} steps; a new run of {steps} begins with this one's points "
            f"(--warm-start)"
        )
    return dataclasses.replace(study, steps=steps, earlier_steps=(*study.earlier_steps, had))


def _keeping(recorded: Mapping[str, Any], request: Request, steps: int | None) -> Request:
    """The request with final states kept, which all members have that are trained on."""
    if steps is None and not request.keep_states:
        raise StudyError(
            f"`more steps` must be asked for to keep states from now on, but got none: members that have "
            f"come to step {recorded['steps']} are without"
        )
    return request._replace(keep_states=True)


def _refuse_lost_states(directory: Path, recorded: Mapping[str, Any], request: Request) -> None:
    """Raises a StudyError if members would be trained again, and says what that costs."""
    start, stop = recorded["steps"], request.study.steps
    if start == stop:
        return
    table = derived.read(directory, "members", recorded["members"], ["member", "status"])
    if table is None:
        return
    done = table["member"].to_numpy()[np.asarray(table["status"].to_pylist()) == Status.DONE]
    lost = without_state(directory, done, {}, start, stop)
    if len(lost):
        cost, pace = len(lost) * start, _pace(directory)
        took = "" if pace is None else f" (about {clock(cost * pace)}, by the times of the run's chunks)"
        raise StudyError(
            f"`the states of all members at step {start} are kept` must hold, but got {len(lost)} members "
            f"without (keep_states=True, --keep-states, would have kept them): training these again from "
            f"step 0 costs {cost:,} member-steps{took}, and changes nothing that is there; again=True "
            f"(--again) does so"
        )


def _pace(directory: Path) -> float | None:
    """Seconds for a member's step, by what chunks took; None if none says it."""
    seconds = work = 0.0
    for folder in store.readable(directory):
        took, steps = chunk_seconds(folder), store.interval(folder)
        if math.isfinite(took):
            seconds += took
            work += len(store.members_of(folder)) * (steps.stop - steps.start)
    return seconds / work if work else None


def _refuse_runs(recorded: Mapping[str, Any]) -> None:
    """Raises a StudyError if this run cannot be extended."""
    if recorded["schedule"] is not None:
        raise StudyError(
            f"`a run without a schedule` must hold, but got one with {recorded['schedule']}, which has "
            f"chosen among the members that there were; start a new run, which with tpe or gp may begin "
            f"with the points of this one (--warm-start)"
        )
    if recorded["confirm"]:
        raise StudyError(
            f"`a run without confirm` must hold, but got one whose winner is confirmed on "
            f"{recorded['confirm']} fresh seeds, and may be another afterwards; extend a run without it, and "
            f"confirm in a new one"
        )


def _refuse_fields(recorded: Mapping[str, Any], before: Study, larger: Study) -> None:
    """Raises a StudyError if a field is new, has lost a value, or cannot have more."""
    search = recorded["search"]
    for name, domain in larger.domains.items():
        own = before.domains.get(name)
        if own is not None and text(own) == text(domain):
            continue
        if name not in before.domains and name not in ENGINES:
            known = ", ".join(before.swept) or "none"
            raise StudyError(
                f"`a field of the run's space ({known}), or seed` must hold, but got {name}, which has one "
                f"value in all its members; start a new run"
            )
        if name == "fold":
            raise StudyError(
                f"`the folds are those of the run` must hold, but got {text(domain)}, by which members would "
                f"be trained on other examples; start a new run"
            )
        adaptive = recorded["points_per_batch"] is not None
        if adaptive or (search != "grid" and name != "seed"):
            takes = "samples" if adaptive else "samples or seed"
            raise StudyError(
                f"`{takes}` must be what grows with search={search!r}, but got {name}={text(domain)}; other "
                f"values would give other points: start a new run"
            )
        _refuse_lost_values(name, before, larger)


def _refuse_lost_values(name: str, before: Study, larger: Study) -> None:
    domain = larger.domains[name]
    if is_sampled(domain) or (name != "seed" and is_sampled(before.domains[name])):
        raise StudyError(
            f"`a field that is drawn stays as it is` must hold, but got {name}={text(domain)}, in the run "
            f"{text(before.domains[name]) if name in before.domains else 'one value'}; samples=… draws more"
        )
    old, new = (
        seeds_of(study) if name == "seed" else level_column(study.domains[name]).tolist()
        for study in (before, larger)
    )
    there = set(new)
    lost = [as_text(value) for value in old if value not in there]
    if lost:
        more = ", …" if len(lost) > MOST_SAID else ""
        raise StudyError(
            f"`{name} keeps every value that the run has` must hold, but {text(domain)} is without "
            f"{', '.join(lost[:MOST_SAID])}{more}; name all values, those that there are too"
        )


def _refuse_other_values(directory: Path, population: Population) -> None:
    """Raises a StudyError if a member would have another configuration than its row in the run says."""
    found = derived.announced(directory)
    if found is None:
        return
    ids = found["member"].to_numpy()
    found = found.filter(ids < len(population))  # of a search that learns, the first batch is known
    asked = pending_rows(population, found["member"].to_numpy())
    for name in ("seed", "group", *(field.name for field in population.fields)):
        if not found[name].equals(asked[name]):
            before, now = (table[name].to_pylist() for table in (found, asked))
            at = next(place for place, pair in enumerate(zip(before, now, strict=True)) if pair[0] != pair[1])
            raise StudyError(
                f"`members have the values that they had` must hold, but got {name}: {before[at]}, now "
                f"{now[at]} (member {found['member'][at]}); go back to the study that the run began with, or "
                f"start a new run"
            )
