"""What a program needs: the shapes of what it carries, and the bytes that the compiler counts."""

from typing import Any

import jax
import numpy as np

from sweeps.engine.program import Carry, Members, Program


def carry_like(program: Program, root: Any, members: Members, example: Any) -> Carry:
    """The shapes, types and devices of what `init` makes, with nothing made.

    Args:
        program: the program.
        root: the root key.
        members: the members.
        example: a batch of the shape that steps will see.
    """
    shapes = jax.eval_shape(program.init, root, members, example)
    sharding = members.seeds.sharding

    def placed(leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding, weak_type=leaf.weak_type)

    return jax.tree.map(placed, shapes)


def program_bytes(
    program: Program, root: Any, members: Members, example: Any, train: Any, evaluation: Any
) -> int:
    """What a program needs on each device: arguments, results and temporaries, as the compiler counts them.

    The most that initialisation, a step or an evaluation needs; a step from the host is not counted.

    Args:
        program: the program.
        root: the root key.
        members: as many as it is asked for.
        example: a batch of the shape that steps will see.
        train: the training data.
        evaluation: the evaluation data.
    """
    carry = carry_like(program, root, members, example)
    evaluate = program.evaluate.lower(members, carry, evaluation, np.int32(0))
    parts = [program.init.lower(root, members, example), evaluate]
    if program.loop != "host":
        parts.append(program.advance.lower(root, members, carry, train, np.int32(0), np.int32(1)))
    return max(_bytes(part.compile().memory_analysis()) for part in parts)


def _bytes(found: Any) -> int:
    sizes = found.argument_size_in_bytes + found.output_size_in_bytes + found.temp_size_in_bytes
    return int(sizes - found.alias_size_in_bytes)
