import json
import os
import subprocess
import sys

import numpy as np
import pytest

from sweeps.errors import StudyError
from sweeps.results.optuna_export import mirror
from sweeps.results.storage import connected
from sweeps.space.domains import choice, grid, linspace, log_uniform, logspace, normal, uniform
from sweeps.space.whole import int_log_uniform, int_uniform

optuna = pytest.importorskip("optuna")

SPACE = {
    "rate": log_uniform(1e-4, 1),
    "alpha": uniform(-1, 1),
    "shift": normal(1, 2),
    "slope": linspace(0, 1, 5),
    "decay": logspace(1e-3, 1, 4),
    "width": grid(16, 8),
    "depth": range(1, 9, 2),
    "bias": grid(True, False),
    "rule": choice("sgd", "adam"),
    "drop": choice(None, 0.5),
    "heads": int_uniform(1, 8),
    "units": int_log_uniform(8, 512),
}
POINT = {
    "rate": 0.1, "alpha": -0.5, "shift": 14.5, "slope": 0.25, "decay": 0.1, "width": 8, "depth": 3,
    "bias": False, "rule": "adam", "drop": None, "heads": 8, "units": 512,
}  # fmt: skip


@pytest.fixture
def storage(tmp_path):
    return f"sqlite:///{tmp_path}/optuna.db"


def write(storage, points, scores, numbers, **more):
    given = {"domains": SPACE, "mode": "max", "metric": "test/accuracy", "study_name": "digits"} | more
    return mirror(points, scores, storage=storage, numbers=numbers, **given)


def read(storage):
    """The study as another process sees it, without what this one may have kept in memory."""
    code = """
import json, optuna, sys
study = optuna.load_study(study_name=None, storage=sys.argv[1])
print(json.dumps({"direction": study.direction.name, "metrics": study.metric_names, "trials": [
    {"state": t.state.name, "value": t.value, "params": t.params, "user": t.user_attrs,
     "curve": t.intermediate_values} for t in study.trials]}))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, storage], capture_output=True, text=True, check=True, env=os.environ
    )
    return json.loads(done.stdout)


def test_everything_is_mirrored_as_it_was(storage):
    states = ["done", "stopped", "diverged", "failed", "running", "pending"]
    curves = [{50: 0.5, 100: 0.9}, {50: 0.3}, {50: 0.2, 75: np.nan}, {}, {50: 0.1}, {}]
    scores = [0.9, np.nan, np.nan, np.nan, np.nan, np.nan]
    assert write(storage, [POINT] * 6, scores, range(10, 16), states=states, intermediate=curves) == 4
    found = read(storage)
    assert found["direction"] == "MAXIMIZE" and found["metrics"] == ["test/accuracy"]
    done, stopped, diverged, failed = found["trials"]
    assert done["params"] == POINT and done["value"] == 0.9 and done["curve"] == {"50": 0.5, "100": 0.9}
    assert [trial["state"] for trial in found["trials"]] == ["COMPLETE", "PRUNED", "FAIL", "FAIL"]
    assert stopped["curve"] == {"50": 0.3} and diverged["curve"] == {"50": 0.2} and failed["curve"] == {}
    assert [trial["user"]["member"] for trial in found["trials"]] == [10, 11, 12, 13]
    assert diverged["user"]["status"] == "diverged"


def test_what_is_there_is_not_written_again(storage):
    assert write(storage, [POINT] * 3, [0.1, 0.2, 0.3], [0, 1, 2]) == 3
    assert write(storage, [POINT] * 5, np.asarray([0.1, 0.2, 0.3, 0.4, 0.5]), np.arange(5)) == 2
    assert write(storage, [POINT] * 2, [0.6, 0.6], [7, 7]) == 1
    assert [trial["value"] for trial in read(storage)["trials"]] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]


def test_a_member_that_went_on_is_written_when_it_ends(storage):
    assert write(storage, [POINT] * 2, [0.1, np.nan], [0, 1], states=["done", "running"]) == 1
    assert write(storage, [POINT] * 2, [0.1, 0.2], [0, 1], states=["done", "done"]) == 1
    assert [trial["user"]["member"] for trial in read(storage)["trials"]] == [0, 1]


def test_without_states_a_missing_score_is_a_diverged_member(storage):
    write(storage, [POINT] * 2, [np.nan, np.inf], [0, 1])
    assert [trial["state"] for trial in read(storage)["trials"]] == ["FAIL", "FAIL"]


def test_levels_of_numbers_are_axes_of_numbers(storage):
    write(storage, [POINT], [0.5], [0])
    with connected(storage) as opened:
        kinds = optuna.load_study(study_name="digits", storage=opened).trials[0].distributions
    assert kinds["slope"] == optuna.distributions.FloatDistribution(0, 1)
    assert kinds["decay"] == optuna.distributions.FloatDistribution(1e-3, 1, log=True)
    assert kinds["width"] == optuna.distributions.IntDistribution(8, 16)
    assert kinds["depth"] == optuna.distributions.IntDistribution(1, 7)
    assert kinds["bias"] == optuna.distributions.CategoricalDistribution((True, False))
    assert kinds["drop"] == optuna.distributions.CategoricalDistribution((None, 0.5))
    assert kinds["shift"] == optuna.distributions.FloatDistribution(-15, 17)


def test_the_best_of_a_mirrored_study_is_the_best(storage):
    write(storage, [POINT, POINT | {"rate": 0.01}], [0.5, 0.2], [0, 1], mode="min")
    with connected(storage) as opened:
        study = optuna.load_study(study_name="digits", storage=opened)
        assert study.best_value == 0.2 and study.best_params["rate"] == 0.01


def test_nothing_is_said_about_it(storage, capfd):
    before = optuna.logging.get_verbosity()
    write(storage, [POINT], [0.5], [0])
    assert capfd.readouterr() == ("", "")
    assert optuna.logging.get_verbosity() == before


def test_another_mode_or_space_is_refused(storage):
    write(storage, [POINT], [0.5], [0])
    with pytest.raises(
        StudyError, match="`a study of mode 'min'` must hold .* 'digits', which is to maximize"
    ):
        write(storage, [POINT], [0.5], [1], mode="min")
    with pytest.raises(StudyError, match="`the study 'digits' in .* has this space` must hold.*another name"):
        write(storage, [POINT], [0.5], [1], domains=SPACE | {"width": choice(16, 8)})


@pytest.mark.parametrize("url", ["nowhere://x", "sqlite:////nowhere/at/all/optuna.db", "optuna.db"])
def test_a_storage_that_cannot_be_opened_is_refused(url):
    with pytest.raises(StudyError, match="`storage is the URL of a database that can be opened` must hold"):
        write(url, [POINT], [0.5], [0])


def test_without_optuna_the_extra_is_named(monkeypatch, storage):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(StudyError, match=r"pip install 'lrelu-jax\[optuna\]'"):
        write(storage, [POINT], [0.5], [0])
