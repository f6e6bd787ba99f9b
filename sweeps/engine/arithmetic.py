"""How much arithmetic a traced program does, by which programs of one study are told apart."""

import math
from typing import Any

from jax.extend.core import jaxprs_in_params


def operations(jaxpr: Any) -> float:
    """How many operations there are, roughly: two per term of a product, one per element of all else.

    A loop counts as often as it runs, where that is known; of a branch the arm that has most.

    Args:
        jaxpr: the program.

    Example:
        >>> import jax
        >>> operations(jax.make_jaxpr(lambda x: x @ x + x)(jax.numpy.ones((8, 8))).jaxpr)
        1088.0
    """
    return float(sum(map(_of_equation, jaxpr.eqns)))


def _of_equation(equation: Any) -> float:
    parts = [*map(operations, jaxprs_in_params(equation.params))]
    if parts:
        inner = max(parts) if equation.primitive.name == "cond" else sum(parts)
        return inner * equation.params.get("length", 1)
    elements = sum(math.prod(getattr(made.aval, "shape", ())) for made in equation.outvars)
    return elements * _terms(equation)


def _terms(equation: Any) -> float:
    """The operations per element that an equation makes."""
    if equation.primitive.name == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        return 2.0 * math.prod(equation.invars[0].aval.shape[axis] for axis in contracted)
    if equation.primitive.name == "conv_general_dilated":
        kernel = equation.invars[1].aval.shape
        return 2.0 * math.prod(kernel) / kernel[equation.params["dimension_numbers"].rhs_spec[0]]
    return 1.0
