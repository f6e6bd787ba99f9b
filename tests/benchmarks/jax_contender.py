"""Plain JAX as a contender: `jax_contender.py mlp once`, on one XLA device with all cores.

`once` compiles a whole run and calls it member after member, `steps` compiles one step and calls that,
`vmap` compiles `jit(vmap(run))` over all members. A third argument is the number of steps, if not the row's.
"""

import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tests.benchmarks import networks
from tests.benchmarks.contenders import serve


def main() -> None:
    work, mode = networks.WORK[sys.argv[1]], sys.argv[2]
    work = work._replace(steps=int(sys.argv[3])) if len(sys.argv) > 3 else work
    trial = networks.trial_of(work.plain, lowering=None)
    (inputs, targets), evaluation = jax.device_put(trial.data)
    per_epoch = len(inputs) // networks.BATCH
    epochs = -(-work.steps // per_epoch)
    keys = jax.random.split(jax.random.key(1), epochs)
    order = jax.vmap(lambda key: jax.random.permutation(key, len(inputs)))(keys)
    order = order[:, : per_epoch * networks.BATCH].reshape(-1, networks.BATCH)

    def init(alpha: Any, seed: jax.Array) -> Any:
        return trial.init(networks.Config(alpha), jax.random.key(seed))

    def step(alpha: Any, number: Any, state: Any) -> Any:
        batch = inputs[order[number]], targets[order[number]]
        return trial.step(networks.Config(alpha), state, batch, jax.random.key(0))[0]

    def evaluate(alpha: Any, state: Any) -> Any:
        return trial.evaluate(networks.Config(alpha), state, evaluation)

    def run(alpha: jax.Array, seed: jax.Array) -> Any:
        state = jax.lax.fori_loop(
            0, work.steps, lambda number, state: step(alpha, number, state), init(alpha, seed)
        )
        return evaluate(alpha, state)

    compiled = {
        "once": jax.jit(run),
        "vmap": jax.jit(jax.vmap(run)),
    }
    parts = jax.jit(init), jax.jit(step, donate_argnums=2), jax.jit(evaluate)

    def in_steps(alpha: jax.Array, seed: jax.Array) -> Any:
        state = parts[0](alpha, seed)
        for number in range(work.steps):
            state = parts[1](alpha, np.int32(number), state)
        return parts[2](alpha, state)

    alphas, seeds = np.meshgrid(
        np.linspace(0, 0.3, work.alphas, dtype=np.float32), np.arange(work.seeds), indexing="ij"
    )
    alphas, seeds = jnp.asarray(alphas.ravel()), jnp.asarray(seeds.ravel())

    def train(members: int) -> dict[str, Any]:
        if mode == "vmap":
            metrics = compiled["vmap"](alphas, seeds)
        else:
            one = in_steps if mode == "steps" else compiled["once"]
            each = [jax.block_until_ready(one(alphas[n], seeds[n])) for n in range(members)]
            metrics = jax.tree.map(lambda *rows: jnp.stack(rows), *each)
        return {
            "loss": float(np.mean(metrics["test/loss"])),
            "accuracy": float(np.mean(metrics["test/accuracy"])),
        }

    serve(train, 1)


if __name__ == "__main__":
    main()
