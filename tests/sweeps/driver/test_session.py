"""What a run takes down of its study, and what it makes of that when it goes on."""

import dataclasses
import enum
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import sweeps
from sweeps.cli.main import main
from sweeps.engine.outline import report_plan
from sweeps.engine.plan import examine, prepare
from sweeps.errors import StudyError
from sweeps.members.population import config_of, populate
from sweeps.members.request import request_again
from sweeps.store import chunks as store
from tests.sweeps.population_of_mlps import MLP, small_study, small_trial


class Shape(enum.Enum):
    line = "straight"
    square = 2


class Word(enum.StrEnum):
    plus = "add"
    minus = "subtract"


@dataclasses.dataclass(frozen=True)
class Config:
    shape: Shape = Shape.line
    word: Word = Word.plus
    layers: tuple[int, ...] = (1,)
    bound: float = float("inf")
    x: float = 1.0


def value_of(config, key):
    assert isinstance(config.shape, Shape) and isinstance(config.word, Word)
    assert isinstance(config.layers, tuple)
    size = sum(config.layers) * (1 if config.shape is Shape.line else -1)
    moved = config.x + size if config.word is Word.plus else config.x - size
    return {"value": jnp.minimum(moved, config.bound)}


SPACE = {
    "shape": [Shape.square],
    "word": sweeps.choice(Word.minus),
    "layers": "grid((1, 2), (5,))",
    "bound": [4.0, float("inf")],
}
study = sweeps.Study(
    sweeps.function(value_of, config=Config), steps=1, metric="value", mode="max", space=SPACE
)


def expected(row):
    layers = {"(1, 2)": 3, "(5,)": 5}[row["layers"]]
    size = layers if row["shape"] == "line" else -layers
    return min(1 + size if row["word"] == "plus" else 1 - size, row["bound"])


def test_enumerations_tuples_and_infinities_through_tables_confirmation_and_resume(tmp_path):
    results = sweeps.run(study, samples=1, out=tmp_path / "run", confirm=2, progress=False)
    rows = results.members.to_pylist()
    assert [expected(row) for row in rows] == results.final().tolist()
    assert {row["shape"] for row in rows} == {"square"}
    found = results.best()
    assert found.confirmed and found.mean == max(results.final())
    assert results.filter(shape=Shape.square, layers=[(5,)]).members["layers"].unique().to_pylist() == [
        "(5,)"
    ]
    again = request_again(results.manifest, study)
    members = [config_of(again.population, member) for member in range(len(rows))]
    assert {config.shape for config in members} == {Shape.square}
    assert sweeps.resume(tmp_path / "run", study, progress=False).members.equals(results.members)


def test_a_search_learns_from_enumerations_and_tuples_of_an_earlier_run(tmp_path):
    pytest.importorskip("optuna")
    sweeps.run(study, samples=1, out=tmp_path / "first", progress=False)
    options = {"samples": 4, "progress": False}
    search = sweeps.tpe(points_per_batch=2, warm_start=tmp_path / "first")
    later = sweeps.run(study, out=tmp_path / "run", search=search, **options)
    assert [expected(row) for row in later.members.to_pylist()] == later.final().tolist()
    recorded = store.read_manifest(tmp_path / "run")
    assert len(recorded["history"]["points"]) == 4
    assert recorded["history"]["points"][0]["layers"] == "(1, 2)"
    # The second batch rests on what was told, now read back from JSON.
    for folder in store.committed(tmp_path / "run")[1:]:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
    assert sweeps.resume(tmp_path / "run", study, progress=False).members.equals(later.members)


def test_enumerations_and_tuples_on_the_command_line_and_in_toml(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("toml_study.toml").write_text(
        f'study = "{__file__}:study"\nsamples = 2\n'
        '[space]\nshape = "square"\nlayers = [[1, 2]]\nword = "choice(plus)"\nbound = inf\n'
    )
    narrow = ["--members-per-chunk", "2", "--quiet"]  # so that nothing is planned
    assert main(["run", "toml_study.toml", "--out", "a", *narrow]) == 0
    words = [
        "shape=square",
        "layers=[(1, 2)]",
        "word=choice(plus)",
        "bound=inf",
        "--samples",
        "2",
    ]
    assert main(["run", f"{__file__}:study", *words, "--out", "b", *narrow]) == 0
    first, second = (sweeps.load(path) for path in ("a", "b"))
    assert first.members.equals(second.members) and first.metrics.equals(second.metrics)
    assert [expected(row) for row in first.members.to_pylist()] == first.final().tolist()
    assert main(["run", f"{__file__}:study", "shape=sqare", "--samples", "2", "--quiet"]) == 2
    assert 'Did you mean "square"' in capsys.readouterr().err


@dataclasses.dataclass(frozen=True)
class Sized:
    x: float = 1.0
    rate: float = 0.25
    width: int = 0


def sized(scale=2.0, last=2.0, asks=10, **changes):
    """Ten groups; the last has a factor of its own, and those from `asks` on ask for the value of `rate`."""

    def value(config, key):
        factor = scale if config.width < 9 else last
        if config.width >= asks and config.rate > 0.5:
            factor = 0.0
        return {"value": factor * config.x + config.rate}

    arguments = {"steps": 1, "metric": "value", "mode": "max", "space": {"width": range(10), "x": [1.0, 2.0]}}
    return sweeps.Study(sweeps.function(value, config=Sized), **(arguments | changes))


def lose(directory, group):
    """Takes a group's chunk away, so that there is something to train again."""
    (folder,) = [path for path in store.committed(directory) if path.name.startswith(f"{group}-")]
    shutil.rmtree(folder)


def test_other_code_is_noticed_in_every_group_before_any_of_it_is_trained(tmp_path):
    whole = sweeps.run(sized(), out=tmp_path / "run", progress=False)
    lose(tmp_path / "run", 9)
    for changed, where in ((sized(last=3.0), "width=9"), (sized(scale=3.0), "width=0")):
        with pytest.raises(StudyError, match=f"code is what it was.*another program for {where}: the model"):
            sweeps.resume(tmp_path / "run", changed, progress=False)
        assert len(store.committed(tmp_path / "run")) == 9
    (tmp_path / "run" / "programs" / f"9-jax-{jax.__version__}").write_text("damaged")
    again = sweeps.resume(tmp_path / "run", sized(), progress=False)
    assert again.metrics.equals(whole.metrics)


@pytest.mark.parametrize("asks", [0, 9])
def test_a_field_left_out_whose_value_the_model_asks_for_is_static(asks):
    results = sweeps.run(sized(asks=asks), progress=False)
    assert results.final().tolist() == [2.25, 4.25] * 10
    swept = sized(asks=asks, space={"width": [9], "rate": [0.25, 0.75]})
    with pytest.raises(
        StudyError, match="no Python branch on a traced field` must hold, but got one on rate"
    ):
        sweeps.run(swept, progress=False)


def test_a_plan_says_which_fields_are_static_for_the_study():
    study = sized(asks=0, space={"width": [0], "x": [1.0, 2.0]})
    prepared = prepare(examine(study, populate(study, None, 0)), 0, members_per_chunk=2, remember=False)
    said = dict(report_plan(prepared, 2, 2))
    assert said["static rate"] == "0.25: the model asks for its value, and the space leaves it out"


def test_dropout_of_flax_takes_a_rate_that_is_left_out():
    class Dropped(MLP):
        def __init__(self, config, rngs):
            super().__init__(config, rngs)
            self.dropout = nnx.Dropout(config.alpha, rngs=rngs)

        def __call__(self, inputs):
            return self.logits(self.dropout(self.hidden(inputs)))

    trial = small_trial(model=Dropped, optimizer=lambda config: optax.sgd(config.learning_rate))
    study = small_study(trial=trial, space={"learning_rate": [0.05, 0.1]})
    examined = examine(study, populate(study, None, 0))
    assert examined.study.trial.static == ("alpha",)
    assert examined.population.statics == ({"width": 8, "alpha": 0.1},)


def test_what_post_init_made_of_a_traced_field_is_named_where_it_is_used():
    def double(self):
        object.__setattr__(self, "twice", 2 * self.x)

    config = dataclasses.make_dataclass(
        "Doubled", [("x", float, 1.0)], frozen=True, namespace={"__post_init__": double}
    )
    trial = sweeps.function(lambda config, key: {"value": config.twice}, config=config)
    with pytest.raises(StudyError, match=r"Doubled.twice depends on no traced field.*test_session.py, line"):
        sweeps.run(
            sweeps.Study(trial, steps=1, metric="value", mode="max", space={"x": [1.0]}), progress=False
        )


def test_other_settings_of_jax_are_refused_in_words(tmp_path):
    study = sized(space={"width": range(2)})
    sweeps.run(study, out=tmp_path / "run", progress=False)
    lose(tmp_path / "run", 1)
    for context, message in (
        (
            jax.enable_x64(True),
            r"jax_enable_x64: False, now True; jax.config.update\('jax_enable_x64', False\)",
        ),
        (jax.threefry_partitionable(False), "jax_threefry_partitionable: True, now False"),
        (jax.default_matmul_precision("highest"), "jax_default_matmul_precision: nothing, now highest"),
        (jax.default_prng_impl("rbg"), "jax_default_prng_impl: threefry2x32, now rbg"),
    ):
        with context, pytest.raises(StudyError, match=f"JAX's settings are those.*{message}.*new run"):
            sweeps.resume(tmp_path / "run", study, progress=False)
    (setting, *_) = [store.read_setting(folder) for folder in store.committed(tmp_path / "run")]
    assert setting["jax_enable_x64"] is False
    assert len(sweeps.resume(tmp_path / "run", study, progress=False).metrics) == 2


def with_data(size):
    data = sweeps.Data(None, np.ones(size))
    study = sized(space={"width": range(2)})
    return dataclasses.replace(study, trial=study.trial._replace(data=data))


def test_another_version_of_jax_does_not_hide_that_the_data_changed(tmp_path):
    whole = sweeps.run(with_data(3), out=tmp_path / "run", progress=False)
    lose(tmp_path / "run", 1)
    recorded = store.read_manifest(tmp_path / "run")
    recorded["versions"]["jax"] = "0.0.1"
    recorded["digests"]["programs"] = ["in other words"] * 2
    del recorded["jax_settings"]  # an earlier version did not take them down
    store.write_manifest(tmp_path / "run", recorded)
    with pytest.raises(StudyError, match="the data is what it was when this run began.*other arrays"):
        sweeps.resume(tmp_path / "run", with_data(4), progress=False)
    assert sweeps.resume(tmp_path / "run", with_data(3), progress=False).metrics.equals(whole.metrics)


def diverging_above(limit):
    study = sized(space={"width": range(2)})
    trial = study.trial._replace(diverged=lambda config, state, metrics: config.width > limit)
    return dataclasses.replace(study, trial=trial)


def test_another_rule_of_divergence_is_another_run(tmp_path):
    run = tmp_path / "run"
    sweeps.run(diverging_above(5), out=run, progress=False)
    lose(run, 1)
    said = "`members diverge by the rule that this run began with` must hold"
    with pytest.raises(StudyError, match=said):
        sweeps.resume(run, diverging_above(0), progress=False)
    sweeps.extend(run, diverging_above(5), space={"width": range(3)}, progress=False)
    with pytest.raises(StudyError, match=said):
        sweeps.extend(run, diverging_above(1), space={"width": range(4)}, progress=False)
    recorded = store.read_manifest(run)
    assert len(recorded["digests"].pop("divergence")) == 3
    store.write_manifest(run, recorded)  # as an earlier version wrote it
    sweeps.extend(run, diverging_above(1), space={"width": range(4)}, progress=False)
    assert "divergence" not in store.read_manifest(run)["digests"]


PRINTED = """
from tests.sweeps.driver.test_session import sized
from sweeps.engine import tracing
from sweeps.engine.failure import check_group
from sweeps.members.population import populate

study = sized(space={"width": [0]})
population = populate(study, None, 0)
traced, text = [], tracing._text
tracing._text = lambda program: traced.append(program) or text(program)
checked = check_group(study, population, 0)
program, divergence = traced
print(checked.digest, tracing._digest(str(program), program), "\\x1b[" in str(program))
"""


@pytest.mark.durable
def test_a_run_begun_on_a_terminal_goes_on_without_one(tmp_path):
    study = sized(space={"width": [0]})
    sweeps.run(study, out=tmp_path / "run", progress=False)
    (plain,) = store.read_manifest(tmp_path / "run")["digests"]["programs"]
    try:
        theirs, ours = pty.openpty()
    except OSError:
        pytest.skip("this system has no terminals")
    environment = {**os.environ, "TERM": "xterm-256color", "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-c", PRINTED], stdout=ours, env=environment, check=True)
    digest, coloured, colours = os.read(theirs, 1000).decode().split()
    for end in (theirs, ours):
        os.close(end)
    assert colours == "True" and digest == plain != coloured
    recorded = store.read_manifest(tmp_path / "run")
    recorded["digests"]["programs"] = [coloured]  # as earlier versions took it down on a terminal
    store.write_manifest(tmp_path / "run", recorded)
    lose(tmp_path / "run", 0)
    sweeps.resume(tmp_path / "run", study, progress=False)
