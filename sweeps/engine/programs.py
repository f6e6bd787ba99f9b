"""Programs that this process has built, kept for a study that is run again."""

import threading
from typing import Any, NamedTuple

from jax.sharding import Mesh

from sweeps.engine import program as execute
from sweeps.engine.program import Program
from sweeps.trial import Study, Trial

KEPT = 16  # with what they compiled; groups come again when a population is searched or thinned out


class _Built(NamedTuple):
    """A program, and the trial whose functions it calls: as long as it is here, no other has their ids."""

    trial: Trial
    program: Program


_built: dict[tuple[Any, ...], _Built] = {}
_lock = threading.Lock()


def program_of(study: Study, statics: dict[str, Any], mesh: Mesh, loop: str, digest: str | None) -> Program:
    """The program of a static group; the one that was built before, if there is one.

    Functions that are the same objects may do other things than before, since they may look at what has
    changed around them. The digest is of what they do now.

    Args:
        study: the study.
        statics: the group's static values.
        mesh: the devices that share the members.
        loop: `scan`, `map` or `host`.
        digest: of the program of one member, as it was traced in this run; None if it was not.
    """
    functions = study.trial.init, study.trial.step, study.trial.evaluate, study.trial.diverged
    kind = (
        *map(id, (study.trial.config, *functions)), study.trial.batch_size, study.batches, digest,
        repr(sorted(statics.items(), key=str)), mesh,
    )  # fmt: skip
    with _lock:
        found = _built.pop((kind, loop), None)
        if found is None:
            program = execute.build(study, statics, mesh, loop)
            for (other, _), built in _built.items():
                if other == kind:  # which loop steps are in is nothing to these, so they are compiled once
                    program = program._replace(init=built.program.init, evaluate=built.program.evaluate)
            found = _Built(study.trial, program)
        _built[kind, loop] = found  # the last is the one that was used last
        while len(_built) > KEPT:
            del _built[next(iter(_built))]
    return found.program
