"""What a run cannot be extended by, or is not extended at all: one message, and nothing written."""

import dataclasses
from typing import Any

import pytest

import sweeps
from sweeps.errors import StudyError
from sweeps.store import chunks as store
from sweeps.store.lock import locked
from tests.sweeps import plain

OPTIONS: dict[str, Any] = {"members_per_chunk": 4, "progress": False}
ALPHAS = [0.0, 0.1, 0.3]
TWO, FOUR = ({"alpha": ALPHAS, "seed": range(count)} for count in (2, 4))


def files(directory):
    """What is committed, byte for byte."""
    return {path: path.read_bytes() for path in (directory / "chunks").rglob("*") if path.is_file()}


@pytest.fixture
def run_of(tmp_path):
    """Starts a run in a new folder; returns it, and what is committed there."""

    def start(study, **options):
        sweeps.run(study, out=tmp_path / "run", **(OPTIONS | options))
        return tmp_path / "run", files(tmp_path / "run")

    return start


REFUSED = {
    "a seed is gone": ({"space": {"seed": range(1, 5)}}, r"seed keeps every value .* is without 0; name all"),
    "a level is gone": ({"space": {"alpha": [0.0, 0.2]}}, r"alpha keeps every value .* without 0\.1, 0\.3;"),
    "another domain": (
        {"space": {"alpha": sweeps.uniform(0, 1)}},
        "a field that is drawn stays as it is` must hold, but got alpha=uniform",
    ),
    "a new field": (
        {"space": {"learning_rate": [0.05, 0.1]}},
        r"a field of the run's space \(alpha\), or seed` must hold, but got learning_rate",
    ),
    "folds": (
        {"space": {"fold": sweeps.folds(2)}},
        "the folds are those of the run` must hold, but got fold",
    ),
    "an unknown field": ({"space": {"alhpa": [1.0]}}, "alhpa"),
    "nothing new": ({"space": {"seed": [1, 0]}}, "The run has these 6 members already"),
    "nothing": ({}, "The run has these 6 members already. Ask for more seeds"),
    "fewer steps": (
        {"steps": 11},
        "steps > 12` must hold for a run that has so many, but got 11; it says how",
    ),
    "as many steps": ({"steps": 12}, "steps > 12` must hold for a run that has so many, but got 12"),
    "steps without states": (
        {"steps": 24},
        r"states of all members at step 12 are kept` must hold, but got 6 members without \(keep_states="
        r"True.*costs 72 member-steps.* again=True \(--again\) does so",
    ),
    "states of no more steps": (
        {"space": FOUR, "keep_states": True},
        "more steps` must be asked for to keep states from now on, but got none: members that have come to",
    ),
    "samples of levels": ({"samples": 5}, "is for fields that are drawn"),
    "no number": ({"samples": 0}, "1 <= samples` must hold and be a whole number"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_extension_is_refused(run_of, case):
    arguments, message = REFUSED[case]
    directory, before = run_of(plain.study(space=TWO))
    said = (directory / "manifest.json").read_bytes()
    with pytest.raises(StudyError, match=message):
        sweeps.extend(directory, plain.study(space=TWO), progress=False, **arguments)
    assert files(directory) == before and (directory / "manifest.json").read_bytes() == said


def faster(config, state, batch, key):
    return plain.step(config, state, (batch[0] * 2, batch[1]), key)


OtherConfig = dataclasses.make_dataclass(
    "Config", [("alpha", float, 0.1), ("learning_rate", float, 0.07), ("width", int, 8)], frozen=True
)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 13}, "steps: 12, now 13"),
        ({"trial": plain.trial._replace(data=plain.data(60))}, "the data is what it was.*got other arrays"),
        ({"trial": plain.trial._replace(step=faster)}, "the study's code is what it was"),
        ({"space": {"alpha": [0.0, 0.1], "seed": range(2)}}, r"space.alpha: grid\(0.0, 0.1, 0.3\), now"),
    ],
)
def test_a_changed_study_is_refused(run_of, changes, message):
    directory, before = run_of(plain.study(space=TWO))
    said = (directory / "manifest.json").read_bytes()
    with pytest.raises(StudyError, match=message):
        sweeps.extend(directory, plain.study(**({"space": TWO} | changes)), space=FOUR, progress=False)
    assert files(directory) == before and (directory / "manifest.json").read_bytes() == said


def test_another_default_is_refused(run_of):
    study = plain.study(space=TWO)
    directory, before = run_of(study)
    other = dataclasses.replace(study, trial=plain.trial._replace(config=OtherConfig))
    with pytest.raises(StudyError, match=r"members have the values .* learning_rate: 0.05, now 0.07"):
        sweeps.extend(directory, other, space=FOUR, progress=False)
    assert files(directory) == before


@pytest.mark.parametrize("more", [{"space": FOUR}, {"steps": 24, "again": True}])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"schedule": "halving(eta=2, min_steps=4)"},
            "a run without a schedule` must hold, but got .*halving",
        ),
        ({"schedule": "early_stopping(patience=1)"}, "a run without a schedule` must hold, but got .*early"),
        ({"confirm": 2}, "a run without confirm` must hold, but got one whose winner is confirmed on 2"),
    ],
)
def test_runs_that_have_chosen_are_refused(run_of, options, message, more):
    directory, _ = run_of(plain.study(space=TWO), **options)
    with pytest.raises(StudyError, match=message):
        sweeps.extend(directory, plain.study(space=TWO), progress=False, **more)


@dataclasses.dataclass(frozen=True)
class Annealed:
    learning_rate: sweeps.Schedule = sweeps.Linear(0.1, 0.0)
    alpha: float = 0.1
    width: int = 8


def test_values_that_change_over_all_steps_are_refused_more(run_of):
    study = plain.study(space=TWO, trial=plain.trial._replace(config=Annealed))
    directory, before = run_of(study, keep_states=True)
    with pytest.raises(StudyError, match="a configuration that stays as it is` must hold, but got one with"):
        sweeps.extend(directory, study, steps=24, progress=False)
    assert files(directory) == before and "earlier" not in store.read_manifest(directory)


def test_a_search_that_learned_from_scores_is_refused_more_steps(run_of):
    pytest.importorskip("optuna")
    study = plain.study(space={"alpha": sweeps.uniform(0, 0.4)})
    directory, _ = run_of(study, search=sweeps.tpe(points_per_batch=2), samples=4, keep_states=True)
    with pytest.raises(
        StudyError, match="a search that does not learn` must hold for more steps, but got tpe"
    ):
        sweeps.extend(directory, study, steps=24, progress=False)


def test_states_are_kept_on_the_disk_alone():
    with pytest.raises(StudyError, match="`out` must be given to keep states, but got keep_states=True"):
        sweeps.run(plain.study(space=TWO), keep_states=True, **OPTIONS)


def test_a_study_begins_with_no_steps_of_the_future():
    for earlier in ((12,), (3, 2), (0,), (4, 4)):
        with pytest.raises(StudyError, match="earlier_steps ascend and are fewer than steps=12` must hold"):
            plain.study(earlier_steps=earlier)
    assert plain.study(earlier_steps=(4, 8)).evaluation_steps[-1] == 12


def test_searches_keep_their_points(run_of):
    study = plain.study(space={"alpha": ALPHAS, "learning_rate": sweeps.uniform(0.01, 0.1)})
    directory, _ = run_of(study, search="sobol", samples=4)
    with pytest.raises(StudyError, match="samples or seed` must be what grows with search='sobol'"):
        sweeps.extend(directory, study, space={"alpha": [*ALPHAS, 0.4]}, progress=False)
    with pytest.raises(
        StudyError, match="samples >= 4` must hold for a run that has so many, but got samples=2"
    ):
        sweeps.extend(directory, study, samples=2, progress=False)


def test_a_run_that_is_held_is_refused(run_of):
    directory, _ = run_of(plain.study(space=TWO))
    with locked(directory), pytest.raises(StudyError, match="process"):
        sweeps.extend(directory, plain.study(space=TWO), space=FOUR, progress=False)
    assert "earlier" not in store.read_manifest(directory)
