"""Whole populations of models trained as one XLA program."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweeps import data as data
    from sweeps import linen as linen
    from sweeps.driver.extension import extend as extend
    from sweeps.driver.loop import resume as resume
    from sweeps.driver.loop import run as run
    from sweeps.driver.replay import Replay as Replay
    from sweeps.driver.replay import replay as replay
    from sweeps.errors import StudyError as StudyError
    from sweeps.executors.ray_cluster import ray as ray
    from sweeps.host.devices import use_cpu_cores as use_cpu_cores
    from sweeps.models.annealing import Constant as Constant
    from sweeps.models.annealing import Cosine as Cosine
    from sweeps.models.annealing import Linear as Linear
    from sweeps.models.annealing import Schedule as Schedule
    from sweeps.models.annealing import Steps as Steps
    from sweeps.models.supervised import supervised as supervised
    from sweeps.models.traced import Dropout as Dropout
    from sweeps.models.traced import scaled_schedule as scaled_schedule
    from sweeps.ops.pooling import max_pool as max_pool
    from sweeps.results.comparison import compare as compare
    from sweeps.results.results import Best as Best
    from sweeps.results.results import Results as Results
    from sweeps.results.results import load as load
    from sweeps.schedules.schedule import early_stopping as early_stopping
    from sweeps.schedules.schedule import halving as halving
    from sweeps.schedules.schedule import hyperband as hyperband
    from sweeps.schedules.schedule import pbt as pbt
    from sweeps.search.adaptive import gp as gp
    from sweeps.search.adaptive import tpe as tpe
    from sweeps.space.domains import choice as choice
    from sweeps.space.domains import grid as grid
    from sweeps.space.domains import linspace as linspace
    from sweeps.space.domains import log_uniform as log_uniform
    from sweeps.space.domains import logspace as logspace
    from sweeps.space.domains import normal as normal
    from sweeps.space.domains import uniform as uniform
    from sweeps.space.folds import folds as folds
    from sweeps.space.whole import int_log_uniform as int_log_uniform
    from sweeps.space.whole import int_uniform as int_uniform
    from sweeps.trial import Data as Data
    from sweeps.trial import Study as Study
    from sweeps.trial import Trial as Trial
    from sweeps.trial import function as function
    from sweeps.trial import static as static
    from sweeps.trial import traced as traced

# All is imported when it is first asked for: the `sweeps` command hears Ctrl-C before JAX is there, and what
# brings in pyarrow (and, where it is installed, pandas) is not always needed.
_MODULES = ("data", "linen")
_LATER = {
    "extend": "driver.extension",
    "resume": "driver.loop",
    "run": "driver.loop",
    "Replay": "driver.replay",
    "replay": "driver.replay",
    "StudyError": "errors",
    "ray": "executors.ray_cluster",
    "use_cpu_cores": "host.devices",
    "Constant": "models.annealing",
    "Cosine": "models.annealing",
    "Linear": "models.annealing",
    "Schedule": "models.annealing",
    "Steps": "models.annealing",
    "supervised": "models.supervised",
    "Dropout": "models.traced",
    "scaled_schedule": "models.traced",
    "max_pool": "ops.pooling",
    "compare": "results.comparison",
    "Best": "results.results",
    "Results": "results.results",
    "load": "results.results",
    "halving": "schedules.schedule",
    "hyperband": "schedules.schedule",
    "pbt": "schedules.schedule",
    "gp": "search.adaptive",
    "tpe": "search.adaptive",
    "choice": "space.domains",
    "grid": "space.domains",
    "linspace": "space.domains",
    "log_uniform": "space.domains",
    "logspace": "space.domains",
    "normal": "space.domains",
    "uniform": "space.domains",
    "int_uniform": "space.whole",
    "int_log_uniform": "space.whole",
    "early_stopping": "schedules.schedule",
    "folds": "space.folds",
    "Data": "trial",
    "Study": "trial",
    "Trial": "trial",
    "function": "trial",
    "static": "trial",
    "traced": "trial",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"sweeps.{name}")
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f"sweeps.{_LATER[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES, *_LATER})
