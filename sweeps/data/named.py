"""Sets by name: what `--data NAME` and `--data KIND=PATH` put in place of a study's own."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from sweeps.data.files import cifar10, mnist, standardise
from sweeps.data.packaged import breast_cancer, digits, mnist_1d, mnist_5k, wine
from sweeps.errors import StudyError, quoted, unknown
from sweeps.trial import Data

KINDS = {"mnist": mnist, "fashion-mnist": mnist, "cifar10": cifar10}  # Fashion-MNIST comes in MNIST's format
PACKAGED: dict[str, Callable[[], Data]] = {  # which need no files; the first two are of images
    "mnist-5k": partial(mnist_5k, image=True),
    "digits": partial(digits, image=True),
    "mnist-1d": mnist_1d,
    "breast-cancer": breast_cancer,
    "wine": wine,
}


def read_images(word: str) -> Data:
    """The set that a person named; of images, each channel standardised.

    Args:
        word: `KIND=PATH`, such as `mnist=~/mnist`: `mnist`, `fashion-mnist` or `cifar10`, and the folder of
            its files; or the name of one that a package carries, such as `mnist-5k`.

    Returns:
        Pairs (inputs, targets): float32 images of shape (n, height, width, channels), or other inputs of
        shape (n, features), mean 0 and deviation 1 in the training part, and int32 targets of shape (n,).

    Raises:
        StudyError: the kind is unknown, or the files cannot be read.
    """
    if word in PACKAGED:
        return PACKAGED[word]()
    kind, equals, path = word.partition("=")
    if kind not in KINDS:
        raise StudyError(unknown("Unknown data", kind, [*PACKAGED, *KINDS]))
    if not equals or not path:
        raise StudyError(f"Add the folder of its files to {quoted(word)}: {kind}=path/to/{kind}.")
    try:
        return standardise(KINDS[kind](Path(path).expanduser()), axis=(0, 1, 2))
    except (OSError, ValueError) as error:
        raise StudyError(" ".join(str(error).split())) from error
