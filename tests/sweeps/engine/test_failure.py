import dataclasses

import jax.numpy as jnp
import pytest

import sweeps
from sweeps.cli.main import main
from sweeps.engine import failure
from sweeps.errors import StudyError

SAID, SHOWN = "bad \x1b[31mred\x07", r"ValueError: bad \x1b[31mred\x07"


@dataclasses.dataclass(frozen=True)
class Config:
    width: int = 1


def step(config, state, batch, key):
    if config.width > 1:
        raise ValueError(SAID)
    return state, {"train/loss": state}


STUDY = sweeps.Study(
    sweeps.Trial(
        Config,
        None,
        lambda config, key: jnp.zeros(()),
        step,
        lambda config, state, _: {"test/loss": state},
    ),
    steps=2,
    metric="test/loss",
    space={"width": [1, 2]},
)


def test_an_error_reaches_no_terminal_raw(tmp_path, capsys, monkeypatch):
    results = sweeps.run(STUDY, out=tmp_path / "run")
    assert all(SHOWN in error for error in results.errors.values()) and len(results.errors) == 1
    with monkeypatch.context() as patched:  # as a run before this one wrote it
        patched.setattr(failure, "printable", lambda text: text)
        old = sweeps.run(STUDY, out=tmp_path / "old", progress=False)
    assert all(SAID in error for error in old.errors.values())
    for name in ("run", "old"):
        main(["status", str(tmp_path / name)])
        told = capsys.readouterr()
        assert SHOWN in told.out and "\x1b" not in told.out + told.err


def test_a_study_that_fails_as_a_whole_says_so_without_raw_characters(capsys, monkeypatch):
    def broken(options):
        raise StudyError(f"all members failed, the first with: {SAID}")

    monkeypatch.setattr("sweeps.cli.main.COMMANDS", {"list": broken})
    assert main(["list"]) == 2
    assert r"bad \x1b[31mred\x07" in capsys.readouterr().err
    whole = dataclasses.replace(STUDY, space={"width": [2]})
    with pytest.raises(StudyError, match=r"bad \\x1b\[31mred"):
        sweeps.run(whole, progress=False)
