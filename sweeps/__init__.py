"""Whole populations of models trained as one XLA program."""

from sweeps import data as data
from sweeps import linen as linen
from sweeps.devices import use_cpu_cores as use_cpu_cores
from sweeps.loop import run as run
from sweeps.pooling import max_pool as max_pool
from sweeps.results import Best as Best
from sweeps.results import Results as Results
from sweeps.results import load as load
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
