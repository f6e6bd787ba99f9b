"""Sets of images by name: what `--data KIND=PATH` puts in place of the digits."""

from pathlib import Path

from sweeps.data.files import cifar10, mnist, standardise
from sweeps.data.packaged import mnist_5k
from sweeps.errors import StudyError, quoted, unknown
from sweeps.trial import Data

KINDS = {"mnist": mnist, "fashion-mnist": mnist, "cifar10": cifar10}  # Fashion-MNIST comes in MNIST's format
PACKAGED = "mnist-5k"  # which needs no files


def read_images(word: str) -> Data:
    """The images that a person named, each channel standardised.

    Args:
        word: `KIND=PATH`, such as `mnist=~/mnist`: `mnist`, `fashion-mnist` or `cifar10`, and the folder of
            its files; or `mnist-5k`, which a package carries.

    Returns:
        Pairs (inputs, targets): float32 images of shape (n, height, width, channels), mean 0 and deviation 1
        in the training part, and int32 targets of shape (n,).

    Raises:
        StudyError: the kind is unknown, or the files cannot be read.
    """
    if word == PACKAGED:
        return mnist_5k(image=True)
    kind, equals, path = word.partition("=")
    if kind not in KINDS:
        raise StudyError(unknown("Unknown data", kind, [PACKAGED, *KINDS]))
    if not equals or not path:
        raise StudyError(f"Add the folder of its files to {quoted(word)}: {kind}=path/to/{kind}.")
    try:
        return standardise(KINDS[kind](Path(path).expanduser()), axis=(0, 1, 2))
    except (OSError, ValueError) as error:
        raise StudyError(" ".join(str(error).split())) from error
