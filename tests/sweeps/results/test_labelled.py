import math
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pytest

from sweeps.errors import StudyError
from sweeps.results.results import Results

MANIFEST = {"study": "own", "swept": ["alpha", "width"], "metric": "test/loss", "mode": "min", "steps": 20}
STEPS = [10, 20]


def crossed(**columns):
    """Two alphas x three widths x two seeds; the loss at a step is the id + step / 100."""
    members = pa.table(
        {
            "member": range(12),
            "seed": pa.array([3, 5] * 6, pa.uint32()),
            "group": pa.array([0, 0, 1, 1, 2, 2] * 2, pa.int32()),
            "status": ["done"] * 12,
            "diverged_at": pa.nulls(12, pa.int32()),
            "stopped_at": pa.nulls(12, pa.int32()),
            "alpha": np.repeat([0.3, 0.1], 6),
            "decay": [0.5] * 12,
            "width": np.tile(np.repeat([8, 16, 32], 2), 2),
        }
        | columns
    )
    ids = np.repeat(np.arange(12), 2)
    loss = (ids + np.tile(STEPS, 12) / 100).astype(np.float32)
    return members, pa.table({"member": ids, "step": STEPS * 12, "test/loss": loss, "train/loss": loss / 2})


def results_of(members, metrics, **manifest):
    return Results(MANIFEST | manifest, tables=(members, metrics))


def test_a_full_grid_has_its_fields_as_axes():
    data = results_of(*crossed()).to_xarray()
    assert data["test/loss"].dims == ("alpha", "width", "seed", "step")
    assert data.alpha.values.tolist() == [0.3, 0.1] and data.width.values.tolist() == [8, 16, 32]
    assert data.seed.values.tolist() == [3, 5] and data.step.values.tolist() == STEPS
    # The members were numbered seeds first, then widths, then alphas.
    expected = np.arange(12).reshape(2, 3, 2)[..., None] + np.array(STEPS) / 100
    assert (data["test/loss"].values == expected.astype(np.float32)).all()
    assert (data["train/loss"].values == expected.astype(np.float32) / 2).all()
    assert data["test/loss"].dtype == np.float32
    assert (data.member.values == np.arange(12).reshape(2, 3, 2)).all()
    assert float(data["test/loss"].sel(alpha=0.1, width=16, seed=5, step=10)) == np.float32(9.1)
    assert data.decay.values == 0.5 and data.decay.dims == ()
    assert data.attrs == {"study": "own", "metric": "test/loss", "mode": "min", "steps": 20}


def test_rows_in_any_order_of_the_axes_find_their_cells():
    order = np.random.default_rng(0).permutation(12)
    columns = {name: crossed()[0][name].take(order) for name in ("alpha", "width", "seed")}
    shuffled = results_of(*crossed(**columns)).to_xarray()
    for place, member in enumerate(order):
        at = {name: columns[name][place].as_py() for name in columns}
        assert int(shuffled.member.sel(at)) == place
        assert float(shuffled["test/loss"].sel(at | {"step": 20})) == np.float32(place + 0.2)
        assert (at["alpha"], at["width"]) == ([0.3, 0.1][member // 6], [8, 16, 32][member % 6 // 2])


def test_stopped_and_diverged_members_leave_the_grid_whole():
    status = ["done"] * 12
    status[4], status[7] = "diverged", "stopped"
    at = [None] * 12
    members, metrics = crossed(
        status=status,
        diverged_at=pa.array([*at[:4], 7, *at[5:]], pa.int32()),
        stopped_at=pa.array([*at[:7], 10, *at[8:]], pa.int32()),
    )
    late = np.isin(metrics["member"].to_numpy(), [4, 7]) & (metrics["step"].to_numpy() == 20)
    data = results_of(members, metrics.filter(pa.array(~late))).to_xarray()
    diverged, stopped = (data.sel(alpha=0.3, width=32, seed=3), data.sel(alpha=0.1, width=8, seed=5))
    assert diverged.status.values == "diverged" and stopped.status.values == "stopped"
    assert data.status.dims == ("alpha", "width", "seed")
    assert diverged.diverged_at == 7 and stopped.stopped_at == 10
    assert int(data.diverged_at.isnull().sum()) == int(data.stopped_at.isnull().sum()) == 11
    for one, first in ((diverged, 4.1), (stopped, 7.1)):
        assert one["test/loss"].values.tolist() == pytest.approx([first, math.nan], nan_ok=True)
    assert int(data["test/loss"].isnull().sum()) == 2


def test_without_a_full_grid_members_are_the_axis():
    members, metrics = crossed()
    ragged = results_of(members, metrics).filter(member=[0, 1, 2, 5, 6, 11])
    doubled = results_of(*crossed(alpha=[0.3] * 12))
    # As many members as combinations, but the second is the first again.
    swapped = results_of(*crossed(seed=pa.array([3, 3] + [3, 5] * 5, pa.uint32())))
    sampled = results_of(members, metrics, samples=6)
    for results in (ragged, doubled, swapped, sampled):
        data = results.to_xarray()
        assert data["test/loss"].dims == ("member", "step") and data.status.dims == ("member",)
        assert data.member.values.tolist() == results.members["member"].to_pylist()
        for name in ("alpha", "width", "seed"):
            assert data[name].dims == ("member",) and name in data.coords
            assert data[name].values.tolist() == results.members[name].to_pylist()
        assert data["test/loss"].sel(step=20).values.tolist() == results.final().tolist()


def test_a_filter_that_leaves_a_grid_leaves_its_axes():
    data = results_of(*crossed()).filter(width=[8, 32], alpha=0.1).to_xarray()
    assert dict(data.sizes) == {"alpha": 1, "width": 2, "seed": 2, "step": 2}
    assert data["test/loss"].sel(step=10).values.ravel().tolist() == pytest.approx([6.1, 7.1, 10.1, 11.1])


def test_a_run_that_sweeps_nothing_has_its_seeds():
    results = results_of(*crossed(seed=pa.array(range(12), pa.uint32())), swept=[])
    data = results.to_xarray()
    assert dict(data.sizes) == {"seed": 12, "step": 2}
    # Fields that differ although they are not swept, as a schedule may change them, go along the members.
    assert data.alpha.dims == ("seed",) and data.decay.dims == ()


def test_values_that_are_not_set_have_a_label():
    columns = {
        "alpha": pa.array([None] * 6 + [0.5] * 6, pa.float64()),
        "width": [None, None, "small", "small", "large", "large"] * 2,
        "decay": [True, None] + [False] * 10,
    }
    data = results_of(*crossed(**columns)).to_xarray()
    assert math.isnan(data.alpha.values[0]) and data.alpha.values[1] == 0.5
    assert data.width.values.tolist() == ["None", "small", "large"]
    assert data.decay.values[0, 0].tolist() == ["True", "None"] and data.decay.values[1, 2, 1] == "False"
    assert data.member.isel(alpha=1).sel(width="None").values.tolist() == [6, 7]


def test_members_that_wait_have_no_metrics():
    members, metrics = crossed(status=["pending"] * 11 + ["done"])
    last = metrics.slice(22)
    data = results_of(members, last).to_xarray()
    assert int(data["test/loss"].notnull().sum()) == 2 and float(data["test/loss"].max()) == np.float32(11.2)
    nothing = results_of(members, metrics.slice(24)).to_xarray()
    assert nothing["test/loss"].shape == (2, 3, 2, 0) and nothing.status.shape == (2, 3, 2)


def test_a_metric_with_the_name_of_a_column_keeps_both():
    members, metrics = crossed()
    metrics = metrics.append_column("alpha", pa.array(range(24), pa.int64()))
    data = results_of(members, metrics).to_xarray()
    assert data.alpha.values.tolist() == [0.3, 0.1]
    assert data["metric/alpha"].values.ravel().tolist() == list(range(24))
    frame = results_of(members, metrics).to_pandas()
    assert frame["alpha"].tolist() == [0.3] * 12 + [0.1] * 12
    assert frame["metric/alpha"].tolist() == list(range(24))


def test_a_field_named_step_is_refused():
    results = results_of(*crossed(step=range(12)))
    for view in (results.to_xarray, results.to_pandas):
        with pytest.raises(StudyError, match="`no field is named step` must hold"):
            view()


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_one_long_table(kind):
    pytest.importorskip(kind, reason=f"{kind} is not installed")
    members, metrics = crossed(status=["done"] * 3 + ["pending"] + ["done"] * 8)
    evaluated = metrics.filter(pa.array(metrics["member"].to_numpy() != 3))
    results = results_of(members, evaluated)
    frame = results.to_pandas() if kind == "pandas" else results.to_polars()
    assert type(frame).__module__.partition(".")[0] == kind
    assert list(frame.columns) == [*members.column_names, "step", "test/loss", "train/loss"]
    assert list(frame["member"]) == sorted([*range(12), *(set(range(12)) - {3})])
    columns = {
        name: np.asarray(frame[name], dtype=float) for name in ("member", "step", "test/loss", "width")
    }
    assert np.isnan(columns["step"]).tolist() == [member == 3 for member in frame["member"]]
    # float32 against float64: half a unit in the last place of numbers below 16.
    expected = columns["member"] + columns["step"] / 100
    np.testing.assert_allclose(columns["test/loss"], expected, rtol=0, atol=5e-7)
    assert columns["width"][6:8].tolist() == [16, 32] and list(frame["status"])[6] == "pending"


@pytest.mark.parametrize(
    ("package", "view", "line"),
    [
        ("xarray", "to_xarray", r"`xarray is installed` must hold.*pip install 'lrelu-jax\[sweeps\]'"),
        ("pandas", "to_pandas", "`pandas is installed` must hold, but it is not: pip install pandas"),
        ("polars", "to_polars", "`polars is installed` must hold, but it is not: pip install polars"),
    ],
)
def test_a_missing_package_is_named_with_its_pip_line(monkeypatch, package, view, line):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(StudyError, match=line):
        getattr(results_of(*crossed()), view)()


def test_importing_sweeps_imports_none_of_them():
    # pyarrow.dataset imports pandas where it is installed.
    code = "import sys, sweeps; print({'xarray', 'polars', 'duckdb', 'h5netcdf', 'h5py'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "set()\n", done.stderr


def test_ten_thousand_members_take_less_than_a_second():
    alphas, seeds, steps = 1000, 10, 10
    count = alphas * seeds
    members = pa.table(
        {
            "member": range(count),
            "seed": list(range(seeds)) * alphas,
            "status": ["done"] * count,
            "alpha": np.repeat(np.linspace(0, 1, alphas), seeds),
        }
    )
    values = np.random.default_rng(0).normal(size=(count, steps)).astype(np.float32)
    metrics = pa.table(
        {
            "member": np.repeat(np.arange(count), steps),
            "step": list(range(1, steps + 1)) * count,
            "test/loss": values.ravel(),
        }
    )
    crossed, ragged = results_of(members, metrics, swept=["alpha"]), results_of(members, metrics, samples=1)
    ragged.to_xarray()  # imports xarray
    start = time.process_time()
    data, rows, frame = crossed.to_xarray(), ragged.to_xarray(), crossed.filter(seed=range(5)).to_xarray()
    assert time.process_time() - start < 1
    assert (data["test/loss"].values.reshape(values.shape) == values).all()
    assert (rows["test/loss"].values == values).all() and frame.sizes["seed"] == 5
