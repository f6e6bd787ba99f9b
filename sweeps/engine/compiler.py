"""What a population's programs are compiled with, and around."""

import functools
from typing import Any

import jax
from jax.sharding import Mesh

from sweeps.host.devices import cpu_cores

# jaxlib 0.10.2 to 0.12.0 at least compute wrongly in what XLA's CPU backend hands to the YNNPACK library: a
# batched product of matrices, one of them a broadcast, times something, summed (of any size), and, 0.10.2
# alone, a vmapped product of matrix and vector, squared and summed, from 32,769 rows of float32 on
# (https://github.com/jax-ml/jax/issues/39103). The fault is in sums that are fused into what comes before
# them. Where the library is handed convolutions alone, one by one, both are right, and those are fast.
YNN_FUSIONS = "xla_cpu_experimental_ynn_fusion_type"
CONVOLUTIONS = "LIBRARY_FUSION_TYPE_INDIVIDUAL_CONVOLUTION"


def compiler_options(mesh: Mesh) -> dict[str, Any]:
    """The options for programs on these devices.

    On a CPU they keep XLA from what it computes wrongly, and, where each core is a device, from cutting
    operations up for other cores.

    Args:
        mesh: the devices.
    """
    if mesh.devices.flat[0].platform != "cpu":
        return {}
    options: dict[str, Any] = {}
    for value in ("", CONVOLUTIONS):
        if is_known(YNN_FUSIONS, value):
            options[YNN_FUSIONS] = value
    if mesh.size >= cpu_cores():
        options["xla_disable_hlo_passes"] = "cpu-parallel-task-assigner"
    return options


@functools.cache
def is_known(option: str, value: str) -> bool:
    """Whether the installed jaxlib takes a compiler option; XLA's come and go.

    Args:
        option: its name.
        value: what it is set to.
    """
    try:
        jax.jit(lambda: 0, compiler_options={option: value}).lower().compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True
