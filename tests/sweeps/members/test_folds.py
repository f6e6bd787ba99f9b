import numpy as np
import pytest
from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

import sweeps
from sweeps.errors import StudyError
from sweeps.members import folds
from sweeps.members.population import gather, populate, repeats
from tests.reference import folds as reference
from tests.sweeps import plain


def study_of(targets, fold, **changes):
    """A study of examples with these targets; the inputs are their places."""
    inputs = np.arange(len(targets), dtype=np.float32)
    trial = plain.trial._replace(data=sweeps.Data((inputs, np.asarray(targets)), None))
    return plain.study(**({"trial": trial, "space": {"fold": fold}} | changes))


def membership(study, root_seed):
    found = folds.membership(study, root_seed)
    assert found is not None
    return found


def sizes(found, classes, count):
    """How many examples of each class every fold has."""
    table = np.zeros((count, classes.max() + 1), int)
    np.add.at(table, (found, classes), 1)
    return table


def held_out(splits, count):
    found = np.zeros(count, int)
    for fold, (_, held) in enumerate(splits):
        found[held] = fold
    return found


CLASSES = {
    "three of unequal size": np.random.default_rng(0).permutation(np.repeat([0, 1, 2], (41, 23, 7))),
    "sorted": np.repeat([0, 1], (31, 30)),
    "one": np.zeros(17, int),
}


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("count", [2, 5, 7])
def test_folds_are_stratified_as_those_of_scikit_learn(name, count):
    classes = CLASSES[name]
    found = membership(study_of(classes, sweeps.folds(count)), 3)
    assert found.dtype == np.int32
    table, total = sizes(found, classes, count), np.bincount(found, minlength=count)
    assert np.ptp(table, axis=0).max() <= 1 and np.ptp(total) <= 1
    theirs = held_out(StratifiedKFold(count).split(classes, classes), len(classes))
    assert np.array_equal(np.sort(table, axis=0), np.sort(sizes(theirs, classes, count), axis=0))
    assert found.tolist() == reference.stratified(classes, count, 3).tolist()


def test_folds_of_numbers_are_of_one_size():
    found = membership(study_of(np.linspace(0, 1, 23), sweeps.folds(4)), 0)
    theirs = held_out(KFold(4).split(np.zeros(23)), 23)
    assert sorted(np.bincount(found)) == sorted(np.bincount(theirs)) == [5, 6, 6, 6]
    assert found.tolist() == reference.stratified(np.zeros(23, int), 4, 0).tolist()


@pytest.mark.parametrize("seed", range(4))
def test_groups_stay_together_and_are_balanced_as_those_of_scikit_learn(seed):
    random = np.random.default_rng(seed)
    groups = random.integers(0, 30, 400)
    alike = np.zeros(400, int)
    found = membership(study_of(random.normal(size=400), sweeps.folds(5, groups=groups)), seed)
    assert all(len(np.unique(found[groups == group])) == 1 for group in np.unique(groups))
    theirs = held_out(GroupKFold(5).split(alike, alike, groups), 400)
    # Both put the largest group that is left into the smallest fold.
    assert sorted(np.bincount(found)) == sorted(np.bincount(theirs))
    assert found.tolist() == reference.grouped(alike, groups, 5, seed).tolist()


@pytest.mark.parametrize("seed", range(4))
def test_groups_are_shared_out_by_class(seed):
    random = np.random.default_rng(seed)
    kind = random.permutation(np.repeat([0, 0, 1], 20))  # of each of 60 groups, a third of the rare class
    groups = np.repeat(np.arange(60), random.integers(2, 9, 60))
    classes = kind[groups]
    found = membership(study_of(classes, sweeps.folds(5, groups=groups)), seed)
    assert all(len(np.unique(found[groups == group])) == 1 for group in range(60))
    share = sizes(found, classes, 5) / np.bincount(classes)
    theirs = held_out(StratifiedGroupKFold(5).split(classes, classes, groups), len(groups))
    assert np.abs(share - 0.2).max() <= max(
        0.06, np.abs(sizes(theirs, classes, 5) / np.bincount(classes) - 0.2).max()
    )
    assert found.tolist() == reference.grouped(classes, groups, 5, seed).tolist()


def test_folds_depend_on_the_root_seed_alone():
    classes = CLASSES["three of unequal size"]
    first = membership(study_of(classes, sweeps.folds(5)), 0)
    other = study_of(
        classes, "folds(5)", space={"alpha": [0.0, 0.1], "seed": range(4, 9), "fold": "folds(5)"}, steps=3
    )
    assert np.array_equal(first, membership(other, 0))
    assert not np.array_equal(first, membership(other, 1))
    assert folds.membership(plain.study(), 0) is None


def test_folds_cross_with_seeds_and_points_the_folds_innermost():
    space = {"fold": sweeps.folds(3), "alpha": [0.0, 0.1], "seed": [4, 7]}
    study = plain.study(space=space)
    population = populate(study, None, 0)
    assert population.swept == ("alpha",) and repeats(study) == 6 and len(population) == 12
    assert population.columns["alpha"].tolist() == [0.0] * 6 + [0.1] * 6
    assert population.seeds.tolist() == [4, 4, 4, 7, 7, 7] * 2
    assert population.folds is not None and population.folds.tolist() == [0, 1, 2] * 4
    assert len(population.statics) == 1  # all folds are in one program
    again = gather(study, [{"alpha": 0.0}, {"alpha": 0.1}], [4, 7], 0)
    for name in ("seeds", "folds", "membership", "groups"):
        assert np.array_equal(getattr(population, name), getattr(again, name)), name


class Loader:
    """Batches, one after the other."""

    def __iter__(self):
        return iter([plain.data().train])


RARE = np.repeat([0, 1], (20, 3))
WRONG = [
    (
        study_of(RARE, "folds(4)"),
        "folds <= 3, the examples of the smallest class.*4 folds, and class 1 has 3",
    ),
    (study_of(np.ones(3), "folds(4)"), "folds <= 3, the training examples"),
    (study_of(RARE, sweeps.folds(2, groups=range(22))), "got 22 labels for 23 examples"),
    (study_of(RARE, sweeps.folds(3, groups=RARE)), "folds <= groups.*3 folds of 2 groups"),
    (study_of(RARE, "folds(2)", trial=plain.trial._replace(data=None)), "data.train is arrays.*got none"),
    (
        study_of(RARE, "folds(2)", trial=plain.trial._replace(data=sweeps.Data(Loader(), None))),
        "data.train is arrays.*with folds.*a Loader",
    ),
    (
        study_of(RARE, "folds(2)", trial=plain.trial._replace(data=sweeps.Data(iter(()), None))),
        "data.train is arrays.*with folds",
    ),
    (
        plain.study(trial=plain.shuffled._replace(batch_size=26), space={"fold": "folds(2)"}),
        "batch_size <= 25, the examples that the largest fold leaves.*got 26",
    ),
]


@pytest.mark.parametrize(("study", "message"), WRONG)
def test_data_that_cannot_be_cut_is_refused_before_anything_is_written(study, message, tmp_path):
    with pytest.raises(StudyError, match=message):
        sweeps.run(study, out=tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_a_state_is_not_handed_to_what_holds_out_what_it_has_seen():
    space = {"alpha": sweeps.uniform(0, 1), "fold": "folds(2)"}
    with pytest.raises(StudyError, match="no population-based training.*with folds"):
        sweeps.run(plain.study(space=space), samples=8, schedule="pbt(every=5)", progress=False)
