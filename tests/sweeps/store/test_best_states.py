import numpy as np
import pytest

from sweeps.store import best_states, durable, repair


def keep(directory, values, count=2, mode="max"):
    members = np.arange(len(values))
    leaves = [np.arange(len(values), dtype=np.float32)]
    best_states.keep(directory, count, mode, members, np.asarray(values, float), leaves)


def names(directory):
    return sorted(path.name for path in (directory / best_states.KEPT).iterdir())


def test_the_best_are_kept_ties_go_to_the_smaller_id_and_diverged_ones_never(tmp_path):
    keep(tmp_path, [0.5, np.nan, 0.9, 0.5])
    assert names(tmp_path) == ["0", "2"] and best_states.kept_members(tmp_path, "max") == [2, 0]
    keep(tmp_path / "least", [0.5, np.nan, 0.9, 0.5], mode="min")
    assert names(tmp_path / "least") == ["0", "3"]


def test_what_is_no_longer_among_the_best_goes(tmp_path):
    keep(tmp_path, [0.5, 0.6])
    best_states.keep(tmp_path, 2, "max", np.asarray([2]), np.asarray([0.55]), [np.zeros(1, np.float32)])
    assert names(tmp_path) == ["0", "1", "2"]
    best_states.prune(tmp_path, 2, "max")
    assert names(tmp_path) == ["1", "2"]


def test_a_process_that_dies_while_it_prunes_leaves_no_part_of_a_state(tmp_path, monkeypatch):
    keep(tmp_path, [0.5, 0.6, 0.7], count=3)

    def dies(folder):
        (folder / best_states.RECORD).unlink()
        raise KeyboardInterrupt("died")

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt, match="died"):
        patched.setattr(durable.shutil, "rmtree", dies)
        best_states.prune(tmp_path, 2, "max")
    assert [name for name in names(tmp_path) if name[0] != "."] == ["1", "2"]
    repair.remove_unfinished(tmp_path)
    assert names(tmp_path) == ["1", "2"]


def test_a_part_of_a_state_that_an_earlier_version_left_is_removed(tmp_path):
    keep(tmp_path, [0.5, 0.6, 0.7])
    (tmp_path / best_states.KEPT / "2" / best_states.RECORD).unlink()
    best_states.prune(tmp_path, 2, "max")
    assert names(tmp_path) == ["1"]
