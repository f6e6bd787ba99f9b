"""What claims are quoted from, in full, and how to cite what was measured."""

import importlib.metadata
import re
from collections.abc import Collection

# By the first author and the year, as a claim's source names them.
SOURCES = {
    ("Bertoin", "2021"): (
        "D. Bertoin, J. Bolte, S. Gerchinovitz and E. Pauwels. Numerical influence of ReLU'(0) on "
        "backpropagation. NeurIPS, 2021. arXiv:2106.12915"
    ),
    ("Clevert", "2015"): (
        "D.-A. Clevert, T. Unterthiner and S. Hochreiter. Fast and accurate deep network learning "
        "by exponential linear units (ELUs). ICLR, 2016. arXiv:1511.07289"
    ),
    ("Glorot", "2011"): (
        "X. Glorot, A. Bordes and Y. Bengio. Deep sparse rectifier neural networks. AISTATS, 2011"
    ),
    ("Gulcehre", "2016"): (
        "C. Gulcehre, M. Moczulski, F. Visin and Y. Bengio. Mollifying networks. ICLR, 2017. arXiv:1608.04980"
    ),
    ("Hanin", "2018"): (
        "B. Hanin and D. Rolnick. How to start training: The effect of initialization and architecture. "
        "NeurIPS, 2018. arXiv:1803.01719"
    ),
    ("He", "2015"): (
        "K. He, X. Zhang, S. Ren and J. Sun. Delving deep into rectifiers: Surpassing human-level "
        "performance on ImageNet classification. ICCV, 2015. arXiv:1502.01852"
    ),
    ("He", "2016"): (
        "K. He, X. Zhang, S. Ren and J. Sun. Deep residual learning for image recognition. CVPR, 2016. "
        "arXiv:1512.03385"
    ),
    ("Karpathy", "2015"): (
        "A. Karpathy. CS231n: Convolutional neural networks for visual recognition, lecture notes. "
        "Stanford University, 2015"
    ),
    ("Lu", "2019"): (
        "L. Lu, Y. Shin, Y. Su and G. E. Karniadakis. Dying ReLU and initialization: Theory and "
        "numerical examples. 2019. arXiv:1903.06733"
    ),
    ("Maas", "2013"): (
        "A. L. Maas, A. Y. Hannun and A. Y. Ng. Rectifier nonlinearities improve neural network "
        "acoustic models. ICML Workshop on Deep Learning for Audio, Speech and Language Processing,"
        " 2013"
    ),
    ("Mishkin", "2017"): (
        "D. Mishkin, N. Sergievskiy and J. Matas. Systematic evaluation of convolution neural network "
        "advances on the ImageNet. Computer Vision and Image Understanding, 2017. arXiv:1606.02228"
    ),
    ("Xu", "2015"): (
        "B. Xu, N. Wang, T. Chen and M. Li. Empirical evaluation of rectified activations in "
        "convolutional network. 2015. arXiv:1505.00853"
    ),
    ("Yang", "2022"): (
        "G. Yang, E. J. Hu, I. Babuschkin et al. Tensor programs V: Tuning large neural networks via "
        "zero-shot hyperparameter transfer. 2022. arXiv:2203.03466"
    ),
    ("Zhang", "2022"): (
        "G. Zhang, A. Botev and J. Martens. Deep learning without shortcuts: Shaping the kernel with "
        "tailored rectifiers. ICLR, 2022. arXiv:2203.08120"
    ),
}
METHODS = (
    "D. J. Schuirmann. A comparison of the two one-sided tests procedure and the power approach for"
    " assessing the equivalence of average bioavailability. Journal of Pharmacokinetics and "
    "Biopharmaceutics 15, 1987",
    "J. Wittes and E. Brittain. The role of internal pilot studies in increasing the efficiency of "
    "clinical trials. Statistics in Medicine 9, 1990",
)


def references(sources: Collection[str]) -> list[str]:
    """What the sources of claims stand for, in full, by author.

    Args:
        sources: of claims.

    Example:
        >>> references(["Maas, Hannun and Ng, 2013", "common advice"])[0][:20]
        'A. L. Maas, A. Y. Ha'
    """
    known = [
        text
        for (author, year), text in SOURCES.items()
        if any(re.search(rf"\b{author}\b.*{year}", source) for source in sources)
    ]
    return sorted(known)


def bibtex(year: int) -> str:
    """The entry for this package.

    Args:
        year: of what is cited.
    """
    version = importlib.metadata.version("lrelu-jax")
    return (
        "@software{lrelu_jax,\n"
        "  title   = {lrelu-jax: exact rectifiers for JAX and Flax, and sweeps of whole populations},\n"
        "  author  = {{The lrelu-jax developers}},\n"
        f"  version = {{{version}}},\n"
        f"  year    = {{{year}}},\n"
        "  note    = {Claims about Leaky ReLU, measured with \\texttt{sweeps reproduce}}\n"
        "}\n"
    )
