"""Where a run is kept: links, folders that were there before, and two who want the same one."""

import dataclasses
import threading
from pathlib import Path

import jax.numpy as jnp
import pytest

import sweeps
from sweeps.errors import StudyError
from sweeps.store import chunks as store
from tests.sweeps import tiny_networks


@dataclasses.dataclass(frozen=True)
class Config:
    alpha: float = 0.5


def study() -> sweeps.Study:
    return dataclasses.replace(tiny_networks.study(10), steps=2, space={"seed": range(2)})


def too_large() -> sweeps.Study:
    """A study that can be traced, and no member of which fits into any memory."""
    trial = sweeps.Trial(
        Config,
        None,
        init=lambda config, key: jnp.zeros(2**42),
        step=lambda config, state, batch, key: (state + config.alpha, {"train/loss": state[0]}),
        evaluate=lambda config, state, data: {"test/loss": state[0]},
    )
    return sweeps.Study(trial, steps=2, metric="test/loss")


def fails_in_planning(out: Path) -> None:
    with pytest.raises(StudyError, match="one member fits into the device's memory` must hold"):
        sweeps.run(too_large(), out=out, progress=False)


def test_a_link_to_a_folder_is_that_folder(tmp_path):
    (tmp_path / "disk").mkdir()
    link = tmp_path / "link"
    link.symlink_to("disk")
    fails_in_planning(link)
    assert link.is_symlink() and list((tmp_path / "disk").iterdir()) == []
    sweeps.run(study(), out=link, progress=False)
    assert link.is_symlink() and len(sweeps.load(tmp_path / "disk").members) == 2
    assert len(sweeps.resume(link, study(), progress=False).members) == 2
    with pytest.raises(StudyError, match=r"link, which holds a run; name another"):
        sweeps.run(study(), out=link, progress=False)


@pytest.mark.parametrize("out", ["link", "link/run"])
def test_a_link_to_nothing_is_refused_and_stays(tmp_path, out):
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(StudyError, match=r"`out .* must hold, but got .*link"):
        sweeps.run(study(), out=tmp_path / out, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["link"] and (tmp_path / "link").is_symlink()


def test_what_was_there_before_stays_and_what_was_made_goes(tmp_path):
    there = tmp_path / "there"
    there.mkdir(mode=0o750)
    before = there.stat()
    fails_in_planning(there)
    after = there.stat()
    assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode) and list(there.iterdir()) == []
    fails_in_planning(there / "some" / "new" / "run")
    assert list(there.iterdir()) == []
    (there / "notes.txt").write_text("mine")
    fails_in_planning(there / "run")
    assert [path.name for path in there.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("name", ["a" * 300, "new/" + "a" * 300, "a\0b"])
def test_a_name_that_no_file_has_is_refused_and_nothing_is_made(tmp_path, name):
    with pytest.raises(StudyError, match=r"`out .*must hold, but got "):
        sweeps.run(study(), out=tmp_path / name, progress=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("there", [False, True])
def test_of_two_threads_one_has_the_folder_and_the_other_is_told(tmp_path, monkeypatch, there):
    out, found, real = tmp_path / "run", [], store.standing
    if there:
        out.mkdir()
    barrier = threading.Barrier(2, timeout=60)

    def together(directory):
        barrier.wait()  # both have seen that the folder is new, and both are about to make it
        return real(directory)

    def attempt():
        try:
            found.append(sweeps.run(study(), out=out, progress=False))
        except BaseException as error:
            found.append(error)

    monkeypatch.setattr(store, "standing", together)
    threads = [threading.Thread(target=attempt) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (told,) = [each for each in found if isinstance(each, StudyError)]
    (results,) = [each for each in found if isinstance(each, sweeps.Results)]
    assert "out is a new or empty folder` must hold" in str(told) and "name another" in str(told)
    assert len(results.members) == 2 and sweeps.load(out).members.equals(results.members)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"confirm": 2**32}, r"`confirm <= 5,000,000` must hold above the study's largest seed, 1,"),
        ({"confirm": 10**400}, r"`confirm <= 5,000,000` must hold.*but got 10+…$"),
        (
            {"checkpoint_minutes": float("nan")},
            "0 < checkpoint_minutes` must hold and be a finite number.*nan",
        ),
        (
            {"checkpoint_minutes": float("inf")},
            "0 < checkpoint_minutes` must hold and be a finite number.*inf",
        ),
        ({"search": ""}, 'Unknown search "". Choose grid, random, sobol, tpe or gp.'),
        (
            {"schedule": 3},
            "schedule is halving, hyperband, pbt, early_stopping or None` must hold, but got 3",
        ),
        ({"samples": 10**400}, r"at most 10,000,000 members.* samples more than 10\*\*15 x seed 2 = more"),
    ],
)
def test_what_can_never_be_is_refused_before_anything_is_made(tmp_path, options, message):
    with pytest.raises(StudyError, match=message):
        sweeps.run(study(), out=tmp_path / "run", progress=False, **options)
    assert list(tmp_path.iterdir()) == []


def test_all_the_fresh_seeds_there_are_can_be_had():
    last = dataclasses.replace(study(), space={"seed": [2**32 - 3]})
    assert len(sweeps.run(last, confirm=2, progress=False).fresh) == 1
    with pytest.raises(
        StudyError, match="`confirm <= 2` must hold above the study's largest seed, 4,294,967,293"
    ):
        sweeps.run(last, confirm=3, progress=False)
