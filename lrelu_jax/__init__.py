"""The rectifier family for JAX and Flax, with exact values and chosen derivatives at zero."""

from importlib.metadata import version as _version

from . import diagnostics as diagnostics
from . import export as export
from . import initializers as initializers
from . import linen as linen
from . import plotting as plotting
from .functions import elu as elu
from .functions import leaky_relu as leaky_relu
from .functions import prelu as prelu
from .functions import relu as relu
from .functions import rrelu as rrelu
from .modules import ELU as ELU
from .modules import Alpha as Alpha
from .modules import LeakyReLU as LeakyReLU
from .modules import PReLU as PReLU
from .modules import ReLU as ReLU
from .modules import RReLU as RReLU
from .modules import weight_decay_mask as weight_decay_mask

__version__ = _version("lrelu-jax")
