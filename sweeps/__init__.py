"""Whole populations of models trained as one XLA program."""

import importlib
from typing import TYPE_CHECKING, Any

from sweeps import data as data
from sweeps import linen as linen
from sweeps.cluster import ray as ray
from sweeps.devices import use_cpu_cores as use_cpu_cores
from sweeps.pooling import max_pool as max_pool
from sweeps.schedule import halving as halving
from sweeps.schedule import hyperband as hyperband
from sweeps.schedule import pbt as pbt
from sweeps.space import StudyError as StudyError
from sweeps.space import choice as choice
from sweeps.space import grid as grid
from sweeps.space import linspace as linspace
from sweeps.space import log_uniform as log_uniform
from sweeps.space import logspace as logspace
from sweeps.space import normal as normal
from sweeps.space import uniform as uniform
from sweeps.supervision import Dropout as Dropout
from sweeps.supervision import scaled_schedule as scaled_schedule
from sweeps.supervision import supervised as supervised
from sweeps.trial import Data as Data
from sweeps.trial import Study as Study
from sweeps.trial import Trial as Trial
from sweeps.trial import function as function
from sweeps.trial import static as static
from sweeps.trial import traced as traced

if TYPE_CHECKING:
    from sweeps.loop import resume as resume
    from sweeps.loop import run as run
    from sweeps.repetition import Replay as Replay
    from sweeps.repetition import replay as replay
    from sweeps.results import Best as Best
    from sweeps.results import Results as Results
    from sweeps.results import load as load

# What brings in pyarrow (and, where it is installed, pandas) is imported when it is first asked for.
_LATER = {
    "run": "loop",
    "resume": "loop",
    "Replay": "repetition",
    "replay": "repetition",
    "Best": "results",
    "Results": "results",
    "load": "results",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f"sweeps.{_LATER[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
