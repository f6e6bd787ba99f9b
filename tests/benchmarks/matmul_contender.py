"""The machine's matrix-product rate as a contender: one large float32 product per core."""

import time
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import sweeps
from tests.benchmarks.contenders import serve

SIZE = 2048


def main() -> None:
    sweeps.use_cpu_cores()
    devices = jax.devices()
    mesh, rows = Mesh(devices, ("core",)), PartitionSpec("core")
    each = jax.jit(
        jax.shard_map(jnp.matmul, mesh=mesh, in_specs=(rows, rows), out_specs=rows, check_vma=False)
    )
    shape = (len(devices), SIZE, SIZE)
    left, right = (
        jax.device_put(jax.random.normal(jax.random.key(n), shape), NamedSharding(mesh, rows)) for n in (0, 1)
    )

    def train(members: int) -> dict[str, Any]:
        times = []
        for _ in range(members):
            began = time.perf_counter()
            jax.block_until_ready(each(left, right))
            times.append(time.perf_counter() - began)
        return {"gflops": len(devices) * 2 * SIZE**3 / min(times) / 1e9}

    serve(train, 2)


if __name__ == "__main__":
    main()
