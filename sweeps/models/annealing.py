"""Hyperparameters that change while a member is trained, such as a slope that falls to zero."""

import copy
import dataclasses
from typing import Annotated, Any

import jax.numpy as jnp

from sweeps.space.fields import classes_of, nested, traced


@dataclasses.dataclass(frozen=True)
class Constant:
    """One value all along: what the others are compared with.

    Args:
        value: the value.

    Example:
        >>> Constant(0.1).at(0.5)
        0.1
    """

    value: float

    def at(self, progress: Any) -> Any:
        """The value when a share `progress` of the steps is done, from 0 to 1."""
        return self.value


@dataclasses.dataclass(frozen=True)
class Linear:
    """From one value to another in a straight line: `start * (1 - p) + end * p`, `p` the share of steps done.

    The values are those of `optax.linear_schedule(start, end, steps)`: the first step has `start`, and what
    is evaluated after the last has exactly `end`.

    Args:
        start: the value at the first step.
        end: the value after the last step.

    Example:
        >>> Linear(0.3, 0.0).at(0.5)
        0.15
    """

    start: float
    end: float

    def at(self, progress: Any) -> Any:
        """The value when a share `progress` of the steps is done, from 0 to 1."""
        return _between(self.start, self.end, progress)


@dataclasses.dataclass(frozen=True)
class Cosine:
    """From one value to another, slowly at both ends: `Linear` in `(1 - cos(πp)) / 2`, `p` as there.

    The shape is that of Loshchilov and Hutter (2017), without restarts.

    Args:
        start: the value at the first step.
        end: the value after the last step.

    Example:
        >>> round(float(Cosine(0.3, 0.0).at(0.5)), 6)
        0.15
    """

    start: float
    end: float

    def at(self, progress: Any) -> Any:
        """The value when a share `progress` of the steps is done, from 0 to 1."""
        return _between(self.start, self.end, (1 - jnp.cos(jnp.pi * progress)) / 2)


@dataclasses.dataclass(frozen=True)
class Steps:
    """A staircase: `stages` stretches of equal length, whose values go from `start` to `end` evenly.

    Args:
        start: the value of the first stage.
        end: the value of the last.
        stages: how many; one has `start` all along.

    Raises:
        ValueError: there is no stage.

    Example:
        >>> [round(float(Steps(0.3, 0.0, 4).at(done)), 6) for done in (0.0, 0.25, 0.5, 0.75, 1.0)]
        [0.3, 0.2, 0.1, 0.0, 0.0]
    """

    start: float
    end: float
    stages: Annotated[int, traced] = 2

    def __post_init__(self):
        if self.stages < 1:
            raise ValueError(f"`1 <= stages` must hold, but got {self.stages}")

    def at(self, progress: Any) -> Any:
        """The value when a share `progress` of the steps is done, from 0 to 1."""
        last = self.stages - 1
        stage = jnp.minimum(jnp.floor(progress * self.stages), last)
        return _between(self.start, self.end, stage / jnp.maximum(last, 1))


Schedule = Constant | Linear | Cosine | Steps


def changes(config: type) -> bool:
    """Whether a configuration has a field that may change over time.

    Args:
        config: the dataclass.
    """
    return any(issubclass(own, Schedule) for own in classes_of(config))


def annealed(config: Any, step: Any, steps: int) -> Any:
    """The configuration at a step: every schedule in it gives way to its value there.

    Args:
        config: the configuration.
        step: how many steps are done; may be traced.
        steps: how many there are.
    """
    if not changes(type(config)):
        return config
    # A fill value without a dtype is weakly typed, as Python's numbers are, and an update keeps that.
    return _annealed(config, jnp.full((), 0.0).at[...].set(step / steps))


def _between(start: Any, end: Any, share: Any) -> Any:
    return start * (1 - share) + end * share


def _annealed(config: Any, progress: Any) -> Any:
    now = copy.copy(config)
    for name in nested(type(config)):
        inner = getattr(config, name)
        if inner is not None:
            value = inner.at(progress) if isinstance(inner, Schedule) else _annealed(inner, progress)
            object.__setattr__(now, name, value)
    return now
