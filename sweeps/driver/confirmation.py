"""The winner and the baseline of a run, trained on fresh seeds."""

import dataclasses
import json
import warnings
from pathlib import Path
from typing import Any

from sweeps.driver.session import Session, begin, go_on
from sweeps.errors import StudyError, brief
from sweeps.members.counts import MAX_MEMBERS
from sweeps.members.population import MAX_SEED, baseline, gather, repeats, seeds_of
from sweeps.members.request import Request, described, refuse_changes
from sweeps.members.sampling import Sampling
from sweeps.results.lineage import best_schedule, is_evolved
from sweeps.results.results import Results, load
from sweeps.schedules import schedule as schedules
from sweeps.schedules.schedule import EarlyStopping, PBTReplay
from sweeps.store import chunks as store
from sweeps.store.durable import set_aside
from sweeps.trial import Study, fields


def confirmed(
    session: Session, request: Request, results: Results, count: int, out: str | Path | None
) -> Results:
    """The results with the winner and the baseline run on fresh seeds; as they are if none are wanted.

    The winner of population-based training is a schedule of hyperparameters, which is followed step by step.

    Args:
        session: where they are trained.
        request: the request of the run.
        results: of the run.
        count: how many fresh seeds.
        out: the run directory; None keeps all in memory.

    Raises:
        StudyError: there are not so many seeds above the study's.
    """
    if not count or session.signals.over:  # or there is no time left
        return results
    seeds = fresh_seeds(request.study, count)
    study = dataclasses.replace(request.study, space={**request.study.space, "seed": seeds})
    best, usual = results.best().config, baseline(study)
    schedule = _found(study, results, count) if is_evolved(results.manifest) else None
    # What ended by its own evaluations ends by them again; halving would have too few to choose among.
    stopping = request.schedule if isinstance(request.schedule, EarlyStopping) else None
    thinning = stopping if schedule is None else schedule
    others = [] if usual is None or (usual == best and schedule is None) else [usual]
    points = [best if schedule is None else best | schedule.values[0], *others]
    sampling = Sampling("grid", None, request.sampling.root_seed)
    population = gather(study, points, seeds, sampling.root_seed)
    asked = described(
        study,
        population,
        name=request.record["study"],
        samples=None,
        root_seed=sampling.root_seed,
        members=len(population),
        schedule=None if thinning is None else schedules.text(thinning),
        points=points,
    )
    if schedule is not None:
        asked["replayed"] = json.loads(json.dumps(schedule._asdict()))
    fresh = Request(study, population, sampling, thinning, asked, 0, request.checkpoint_minutes)
    options: dict[str, Any] = {"confirm": 0, "reference": None}
    if out is None:
        found = begin(session._replace(executor=None), fresh, None, None, options)
        return results if session.signals.over else dataclasses.replace(results, confirmation=found)
    folder = Path(out) / store.CONFIRMATION
    recorded = _recorded(folder, asked)
    if recorded is not None:
        go_on(session, folder, recorded, fresh)
    else:
        begin(session, fresh, folder, None, options)
    return results if session.signals.over else load(out)


def _recorded(folder: Path, asked: dict[str, Any]) -> dict[str, Any] | None:
    """The manifest of a confirmation that was begun; what cannot be read, or is another's, is set aside."""
    try:
        recorded = store.read_manifest(folder)
    except StudyError:
        if folder.exists():
            set_aside(folder.parent, folder)
        return None
    try:
        refuse_changes(recorded, asked)
    except StudyError:  # members that had failed are trained, and one of them has won
        kept = set_aside(folder.parent, folder)
        warnings.warn(
            f"the winner is another one than was confirmed: it is confirmed now, and what was found for the "
            f"other is in {kept}",
            stacklevel=4,
        )
        return None
    return recorded


def fresh_seeds(study: Study, count: int) -> range:
    """As many seeds as are wanted, above all of the study's.

    Args:
        study: the study.
        count: how many.

    Raises:
        StudyError: there are not so many, or a winner and a baseline with each would be too many members.
    """
    first = max(seeds_of(study)) + 1
    most = min(MAX_SEED + 1 - first, MAX_MEMBERS // (2 * repeats(study, 1)))
    if count > most:
        raise StudyError(
            f"`confirm <= {most:,}` must hold above the study's largest seed, {first - 1:,}, but got "
            f"{brief(count)}"
        )
    return range(first, first + count)


def _found(study: Study, results: Results, count: int) -> PBTReplay:
    """The schedule of hyperparameters that the best member was trained with, its ancestors' part included."""
    traced = [
        field.name for field in fields(study.trial.config) if field.traced and field.name in results.swept
    ]
    stages = best_schedule(results, results.configurations()[0], traced)
    values = tuple(
        {name: value for name, value in stage.values.items() if value is not None} for stage in stages
    )
    return PBTReplay(count, tuple(stage.step for stage in stages[1:]), values)
