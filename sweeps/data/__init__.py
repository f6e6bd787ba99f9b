"""Data sets: those that packages carry, local files, named image sets, Hugging Face `datasets`, streams."""

from sweeps.data.files import cifar10 as cifar10
from sweeps.data.files import classes as classes
from sweeps.data.files import huggingface as huggingface
from sweeps.data.files import idx as idx
from sweeps.data.files import image_shape as image_shape
from sweeps.data.files import mnist as mnist
from sweeps.data.files import npz as npz
from sweeps.data.files import standardise as standardise
from sweeps.data.packaged import breast_cancer as breast_cancer
from sweeps.data.packaged import digits as digits
from sweeps.data.packaged import mnist_1d as mnist_1d
from sweeps.data.packaged import mnist_5k as mnist_5k
from sweeps.data.packaged import wine as wine
