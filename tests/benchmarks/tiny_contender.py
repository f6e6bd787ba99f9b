"""Ten thousand 2-16-1 networks as contenders: `tiny_contender.py engine`, `optuna`, `tpe` or `ray`.

Optuna, without a database, draws at random (`optuna`, its cheapest sampler) or as it does by default (`tpe`),
and calls one jitted function per member;
Ray Tune runs the same function in its workers, one trial at a time on each core.
"""

import os
import sys
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

import sweeps
from tests.benchmarks.contenders import cores, serve
from tests.sweeps import tiny_networks

MEMBERS, STEPS = 10_000, 20


def one_run() -> Callable[..., Any]:
    """A member's whole training as one compiled function of slope and seed."""
    (batch, evaluation), rate = tiny_networks.xor(), tiny_networks.Config().learning_rate

    @jax.jit
    def train(alpha: Any, seed: Any) -> Any:
        config = tiny_networks.Config(alpha, rate)

        def step(_: Any, params: Any) -> Any:
            return tiny_networks.step(config, params, batch, None)[0]

        params = jax.lax.fori_loop(0, STEPS, step, tiny_networks.init(config, jax.random.key(seed)))
        return tiny_networks.evaluate(config, params, evaluation)["test/loss"]

    return train


def by_engine() -> Callable[[int], list[float]]:
    from tests.benchmarks.engine_contender import Engine

    sweeps.use_cpu_cores()
    engine = Engine(tiny_networks.study(MEMBERS))
    return lambda members: list(engine.train()["test/loss"])


def by_optuna(at_random: bool) -> Callable[[int], list[float]]:
    import optuna  # pyright: ignore[reportMissingImports]

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    train = one_run()

    def objective(trial: Any) -> float:
        return float(train(trial.suggest_float("alpha", 0, 0.5), trial.suggest_int("seed", 0, 9)))

    def optimize(members: int) -> list[float]:
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler() if at_random else None)
        study.optimize(objective, n_trials=members)
        return [float(trial.value or 0.0) for trial in study.trials]

    return optimize


def by_ray() -> Callable[[int], list[float]]:
    import ray  # pyright: ignore[reportMissingImports]
    from ray import tune  # pyright: ignore[reportMissingImports]

    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    ray.init(num_cpus=len(cores()), include_dashboard=False, log_to_driver=False)

    def objective(config: dict[str, Any]) -> dict[str, float]:
        return {"loss": float(one_run()(config["alpha"], config["seed"]))}

    def fit(members: int) -> list[float]:
        space = {"alpha": tune.uniform(0, 0.5), "seed": tune.randint(0, 10)}
        tuner = tune.Tuner(
            objective,
            param_space=space,
            tune_config=tune.TuneConfig(num_samples=members, reuse_actors=True),
            run_config=tune.RunConfig(verbose=0),
        )
        return [(result.metrics or {})["loss"] for result in tuner.fit()]

    return fit


def main() -> None:
    by_name = {
        "engine": by_engine,
        "optuna": lambda: by_optuna(True),
        "tpe": lambda: by_optuna(False),
        "ray": by_ray,
    }
    one_by_one = by_name[sys.argv[1]]()

    def train(members: int) -> dict[str, Any]:
        losses = one_by_one(members)
        return {"loss": float(np.mean(losses)), "members": len(losses)}

    serve(train, 4)


if __name__ == "__main__":
    main()
