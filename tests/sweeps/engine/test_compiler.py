import platform
import re
from importlib.metadata import version
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sweeps
from sweeps.engine import compiler
from sweeps.engine import program as execute
from sweeps.members.population import populate, traced_columns
from tests.sweeps.population_of_mlps import small_trial

ROWS, MATRIX = np.arange(3 * 32_769, dtype=np.float32).reshape(-1, 3) / 1e5, np.eye(3, dtype=np.float32)
BATCH = np.random.default_rng(0).normal(size=(5, 60, 60)).astype(np.float32)


def squares(rows):
    return jax.vmap(lambda row: jnp.sum((MATRIX @ row) ** 2))(rows)


def weighted(batch):
    return jnp.sum((batch @ jnp.full_like(batch, 0.37)) * batch, axis=-1)


# What is computed, from what, and what comes out by NumPy.
SQUARES = squares, ROWS, (ROWS.astype(float) ** 2).sum(axis=1)
WEIGHTED = weighted, BATCH, 0.37 * BATCH.astype(float).sum(axis=2) ** 2
# What was seen to be wrong on x86-64; a newer jaxlib may be right, and then needs no option.
WRONG = {"0.10.2": [squares, weighted], "0.12.0.1": [weighted]}


def error(found, expected):
    return np.max(np.abs(np.asarray(found) - expected)) / np.max(np.abs(expected))


@pytest.mark.parametrize(("function", "argument", "expected"), [SQUARES, WEIGHTED])
def test_what_xla_computes_wrongly_and_what_cures_it(function, argument, expected):
    plain = error(jax.jit(function)(argument), expected)
    if platform.machine() == "x86_64" and function in WRONG.get(version("jaxlib"), []):
        assert not plain < 1e-3
    options = compiler.compiler_options(execute.make_mesh(jax.devices()[:1]))
    assert error(jax.jit(function, compiler_options=options)(argument), expected) < 1e-6


def test_what_readers_are_told_to_compile_with_cures_it():
    page = (Path(sweeps.__file__).parent / "README.md").read_text()
    (block,) = [code for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "around =" in code]
    scope = {}
    exec(block, scope)
    assert scope["around"] == {compiler.YNN_FUSIONS: compiler.CONVOLUTIONS}
    assert error(scope["squares"](ROWS), SQUARES[2]) < 1e-6


@pytest.mark.parametrize("loop", ["scan", "map", "host"])
def test_the_programs_of_a_population_compute_it_right(loop):
    arguments, expected = (ROWS, BATCH), (SQUARES[2], WEIGHTED[2])

    zeros = tuple(jnp.zeros(each.shape) for each in expected)

    def both(arguments):
        return squares(arguments[0]), weighted(arguments[1])

    trial = sweeps.Trial(
        config=small_trial().config,
        data=sweeps.Data(arguments, arguments),
        init=lambda config, key: (both(list(map(jnp.asarray, arguments))), zeros),
        step=lambda config, state, batch, key: ((state[0], both(batch)), {}),
        evaluate=lambda config, state, data: {"last": both(data)[0][-1], "first": both(data)[1][0, 0]},
    )
    study = sweeps.Study(trial, steps=1, metric="last", mode="max", space={"seed": range(2)})
    population, mesh = populate(study, None, 0), execute.make_mesh(jax.devices()[:2])
    program = execute.build(study, population.statics[0], mesh, loop)
    members = execute.place_members(mesh, traced_columns(population, np.arange(2)), population.seeds)
    root, data = execute.place_data(mesh, (jax.random.key(0, impl="threefry2x32"), arguments))
    carry = program.advance(root, members, program.init(root, members, arguments), data, 0, 1)
    for made in carry.state:  # by initialisation, and by the step
        for found, right in zip(made, expected, strict=True):
            assert error(found, np.stack([right, right])) < 1e-6
    metrics = program.evaluate(members, carry, data, 1)[0]
    assert (
        error(metrics["last"], expected[0][-1]) < 1e-6 and error(metrics["first"], expected[1][0, 0]) < 1e-6
    )


def test_convolutions_go_to_the_fast_library_and_come_out_right():
    images, kernel = (
        BATCH[:, :20, :20, None],
        np.linspace(-1, 1, 9 * 32, dtype=np.float32).reshape(3, 3, 1, 32),
    )

    def weighted(images, kernel):
        layers = jax.lax.conv_general_dilated(
            images, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return jnp.sum(layers**2, axis=(1, 2))

    options = compiler.compiler_options(execute.make_mesh(jax.devices()[:1]))
    compiled = jax.jit(weighted, compiler_options=options).lower(images, kernel).compile()
    if platform.machine() == "x86_64" and version("jaxlib") in WRONG:
        assert "__ynn_fusion" in str(compiled.as_text())
    windows = np.lib.stride_tricks.sliding_window_view(images[..., 0].astype(float), (3, 3), axis=(1, 2))
    layers = np.einsum("nijkl,klo->nijo", windows, kernel[:, :, 0].astype(float))
    assert error(compiled(images, kernel), (layers**2).sum(axis=(1, 2))) < 1e-6


def test_an_option_that_this_jaxlib_does_not_know_is_not_passed(monkeypatch):
    mesh = execute.make_mesh(jax.devices()[:1])
    assert not compiler.is_known("xla_cpu_no_such_option", "")
    monkeypatch.setattr(compiler, "CONVOLUTIONS", "NO_SUCH_VALUE")
    assert compiler.compiler_options(mesh).get(compiler.YNN_FUSIONS, "") == ""
    monkeypatch.setattr(compiler, "YNN_FUSIONS", "xla_cpu_no_such_option")
    assert "xla_cpu_no_such_option" not in compiler.compiler_options(mesh)


@pytest.mark.parametrize(("cores", "shared"), [(2, False), (64, True)])
def test_where_each_core_is_a_device_no_operation_is_cut_up_for_others(cores, shared, monkeypatch):
    monkeypatch.setattr(compiler, "cpu_cores", lambda: cores)
    options = compiler.compiler_options(execute.make_mesh(jax.devices()[:2]))

    def step(x):
        return jnp.sin(x) + jnp.tanh(x)

    compiled = jax.jit(step, compiler_options=options).lower(jnp.ones((2, 256, 512))).compile()
    assert ('"outer_dimension_partitions":["' in str(compiled.as_text())) == shared
