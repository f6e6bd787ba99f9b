"""What is known of a failure: the error's own words, and what is at fault."""

import re
import traceback
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import numpy as np

from sweeps.engine.tracing import Checked, check
from sweeps.errors import StudyError, printable, unknown
from sweeps.members.population import Population, traced_columns
from sweeps.trial import Study

# What XLA says of a callback that raised ends in Python's own account of it.
CALLBACK = re.compile(r'^  File ".*\n(?: {4}.*\n)*(?=\S)', re.MULTILINE)


class Failure(NamedTuple):
    """Why members could not be trained.

    Attributes:
        error: the error, in one line.
        details: where it happened.
        memory: whether memory was short, so that fewer members at once may fit.
        group: whether the program of their static group cannot be built, so that none of it can be trained.
        fatal: whether it has nothing to do with members, such as a disk that is full.
    """

    error: str
    details: str = ""
    memory: bool = False
    group: bool = False
    fatal: bool = False


def describe(error: BaseException) -> Failure:
    """What an exception says.

    Args:
        error: the exception.

    Example:
        >>> describe(ValueError("40 is not a multiple of 16")).error
        'ValueError: 40 is not a multiple of 16'
    """
    said = str(error)
    *_, last = [None, *CALLBACK.finditer(said)]
    if last is not None:
        said = said[last.end() :]
    elif not isinstance(error, StudyError):  # whose message needs no name before it
        said = f"{type(error).__name__}: {said}"
    # The first is what XLA says of accelerators, the other of a CPU.
    memory = isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in said or "Out of memory" in said
    details = "".join(traceback.format_exception(error))
    return Failure(printable(said.strip().partition("\n")[0].rstrip()), details, memory)


def settle(devices: Iterable[Any]) -> None:
    """Runs a callback on devices, in place of one that has raised.

    When Python ends, JAX waits for the last callback of each device, and would tell then of one that failed.

    Args:
        devices: the devices.
    """
    for device in devices:
        jax.block_until_ready(_call_back(jax.device_put(np.int32(0), device)))


@jax.jit
def _call_back(value: jax.Array) -> jax.Array:
    return jax.pure_callback(lambda value: value, value, value)


def diagnose(error: Exception, study: Study, population: Population, group: int) -> Failure:
    """Why a chunk of a group failed, traced once more if that tells.

    Args:
        error: what was raised.
        study: the study.
        population: its members.
        group: the static group.
    """
    failure = describe(error)
    if failure.memory:
        return failure
    try:
        check_group(study, population, group)
    except Exception as cause:  # whatever the user's own functions raise
        return describe(cause)._replace(group=True)
    # No callback of the user's raises these here: it is the disk, the data or the terminal.
    return failure._replace(fatal=isinstance(error, StudyError | OSError))


def check_group(study: Study, population: Population, group: int) -> Checked:
    """Checks a static group by tracing it.

    Args:
        study: the study.
        population: its members.
        group: the group.

    Raises:
        StudyError: a function of the trial cannot be used, or the metric is not among those it reports.
    """
    member = np.flatnonzero(population.groups == group)[:1]
    values = traced_columns(population, member)
    checked = check(study, population.statics[group], values, population.membership)
    if study.metric not in checked.metrics:
        raise StudyError(unknown("The trial reports no metric", study.metric, checked.metrics))
    return checked
