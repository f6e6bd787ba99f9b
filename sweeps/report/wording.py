"""Numbers and configurations as a person reads them."""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from sweeps.results.ranking import Configuration
from sweeps.results.scoring import keeps_scores
from sweeps.space.values import own_values

# Whole words, in `testShare` too: a shared loss is no share.
WORD = r"(?:(?<![A-Za-z])|(?<=[a-z])(?=[A-Z]))(?i:{words})(?![a-z])"
SHARES = re.compile(
    r"(?i:accuracy|precision|recall|error_rate)|" + WORD.format(words="shares?|fractions?|dead")
)
SYMBOLS = {"alpha": "α"}
ACRONYMS = {
    "mse": "MSE",
    "mae": "MAE",
    "rmse": "RMSE",
    "auc": "AUC",
    "auroc": "AUROC",
    "f1": "F1",
    "r2": "R²",
}


def losses(row: Configuration) -> dict[str, int]:
    """How many members of a configuration ended without a finite score, by how, in words.

    Args:
        row: the configuration.
    """
    found = {
        "diverged": row.diverged - row.failed - row.unscored,
        "failed": row.failed,
        "had no finite score": row.unscored,
    }
    return {said: members for said, members in found.items() if members}


def is_share(name: str, values: np.ndarray) -> bool:
    """Whether a metric reads best in percent: its name says that it is a share, and its values are.

    Args:
        name: the metric's.
        values: those there are.

    Example:
        >>> is_share("test/accuracy", np.array([0.5, np.nan])), is_share("train/loss", np.array([0.5]))
        (True, False)
        >>> is_share("test/dead_units", np.array([0.5])), is_share("train/shared_loss", np.array([0.5]))
        (True, False)
    """
    finite = values[np.isfinite(values)]
    return bool(SHARES.search(name)) and len(finite) > 0 and bool(np.all((0 <= finite) & (finite <= 1)))


def figures(
    mean: float,
    low: float,
    high: float,
    *,
    percent: bool = False,
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> str:
    """A mean and half the width of its interval, to the digits that the interval supports.

    Where the interval is cut at what the metric cannot pass, its two ends are given in brackets.

    Args:
        mean: the mean.
        low: the lower bound of a symmetric interval, NaN if there is none.
        high: the upper bound.
        percent: whether to give it in percent.
        bounds: what the metric cannot pass.

    Example:
        >>> figures(0.9781, 0.9763, 0.9799, percent=True), figures(0.25, math.nan, math.nan)
        ('97.8 ± 0.2 %', '0.25')
        >>> figures(0.998, 0.993, 1.003, percent=True, bounds=(0.0, 1.0))
        '99.8 [99.3 to 100] %'
    """
    if math.isnan(mean):
        return "no value"
    scale, unit = (100.0, " %") if percent else (1.0, "")
    mean, half = scale * mean, scale * (high - low) / 2
    if math.isnan(half):
        return f"{mean:.4g}{unit}"
    if half == 0:
        return f"{mean:.4g} ± 0{unit}"
    exponent = math.floor(math.log10(half))
    decimals = -exponent + (half < 1.5 * 10.0**exponent)
    largest = max(abs(mean), half)
    if decimals > 6 or largest >= 1e6:
        digits = max(0, math.floor(math.log10(largest)) - exponent)
        return f"{mean:.{digits}e} ± {half:.1g}{unit}"
    decimals = max(0, decimals)
    least, most = scale * bounds[0], scale * bounds[1]
    if mean - half < least or mean + half > most:
        ends = (
            f"{end:.4g}" if end in (least, most) else f"{end:.{decimals}f}"
            for end in (max(least, mean - half), min(most, mean + half))
        )
        return f"{mean:.{decimals}f} [{' to '.join(ends)}]{unit}"
    return f"{mean:.{decimals}f} ± {half:.{decimals}f}{unit}"


def difference(mean: float, low: float, high: float, *, percent: bool = False) -> str:
    """A difference with its interval: `−1.2 (−2.0 to −0.4)`, in points where the metric is in percent.

    Args:
        mean: the difference.
        low: the lower bound of its interval, NaN if there is none.
        high: the upper bound.
        percent: whether the metric is given in percent.

    Example:
        >>> difference(-0.012, -0.02, -0.004, percent=True), difference(0.5, math.nan, math.nan)
        ('−1.2 (−2.0 to −0.4)', '+0.500')
        >>> difference(-0.24, -0.478, -0.002)
        '−0.240 (−0.478 to −0.002)'
        >>> difference(-0.4, -2.0, 1.2), difference(1e-17, -2.0, 2.0), difference(0.0, math.nan, math.nan)
        ('−0.4 (−2.0 to +1.2)', '0 (−2 to +2)', '0')
    """
    if math.isnan(mean):
        return "–"
    if mean == low == high == 0:
        return "0"
    scale = 100.0 if percent else 1.0
    mean, low, high = scale * mean, scale * low, scale * high
    if math.isnan(low) or high == low or not 1e-6 < (high - low) / 2 < 1e6:
        ends = "" if math.isnan(low) else f" ({low:+.2g} to {high:+.2g})"
        return f"{f'{mean:+#.3g}'.removesuffix('.') if mean else 0}{ends}".replace("-", "−")
    half = (high - low) / 2
    mean = 0.0 if abs(mean) < 1e-9 * half else mean  # what rounding leaves of nothing
    exponent = math.floor(math.log10(half))
    decimals = max(0, -exponent + (half < 1.5 * 10.0**exponent))
    for _ in range(2):  # what lies on one side of zero is not shown as a zero
        decimals += any(each and not round(each, decimals) for each in (mean, low, high))
    mean = round(mean, decimals) + 0.0  # no "−0.0"
    said = f"{mean:+.{decimals}f}" if mean else "0"
    return f"{said} ({low:+.{decimals}f} to {high:+.{decimals}f})".replace("-", "−")


def in_words(metric: str) -> str:
    """A metric as a person says it.

    Args:
        metric: its name.

    Example:
        >>> in_words("test/accuracy"), in_words("test/r2"), in_words("train/dead_units/1")
        ('test accuracy', 'test R²', 'train dead units 1')
    """
    words = re.split(r"[/_\s]+", metric.strip("/_ "))
    return " ".join(ACRONYMS.get(word.lower(), word) for word in words)


def title(metric: str) -> str:
    """A metric as the title of an axis: `Test accuracy`.

    Args:
        metric: its name.
    """
    said = in_words(metric)
    return said[:1].upper() + said[1:]


def number(value: Any) -> str:
    """A field's value as text.

    Args:
        value: a number, a text, a boolean or None.
    """
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def cells(config: Mapping[str, Any]) -> list[str]:
    """A configuration's values as a row of a table has them, a dash for each field that its classes have not.

    Args:
        config: fields and values.

    Example:
        >>> cells({"optimizer": "Adam", "optimizer.momentum": None, "decay": None})
        ['Adam', '–', 'None']
    """
    own = own_values(config)
    return [number(own[name]) if name in own else "–" for name in config]


def point(config: Mapping[str, Any], *, symbols: bool = False) -> str:
    """A configuration as text: `alpha = 0.1, width = 64`.

    Args:
        config: fields and values.
        symbols: whether a field goes by its symbol, where it has one.
    """
    config = own_values(config)
    named = {SYMBOLS.get(name, name) if symbols else name: value for name, value in config.items()}
    return ", ".join(f"{name} = {number(value)}" for name, value in named.items()) or "the one configuration"


def scored_at(manifest: Mapping[str, Any]) -> str:
    """Which evaluation the figures of a member are of.

    Args:
        manifest: what the run was.

    Example:
        >>> scored_at({"select": "best"}), scored_at({"schedule": "halving"})
        ('at the best of its evaluations, so optimistic', 'at the last step')
    """
    if manifest.get("select") == "best":
        return "at the best of its evaluations, so optimistic"
    return "at its last evaluation" if keeps_scores(manifest) else "at the last step"


def count(amount: int, noun: str) -> str:
    """A number of things: `1 seed`, `8 seeds`, `1,024 members`.

    Args:
        amount: how many.
        noun: what, in the singular.
    """
    return f"{amount:,} {noun}{'' if amount == 1 else 's'}"


def over(row: Any, noun: str = "seed") -> str:
    """What a mean is over: `8 seeds`, `5 folds`, `5 folds of 3 seeds`.

    Args:
        row: its `seeds` and `folds`.
        noun: what is counted as a seed.
    """
    if not row.folds:
        return count(row.seeds, noun)
    return count(row.folds, "fold") + f" of {count(row.seeds, noun)}" * (row.seeds > 1)


def duration(seconds: float | int) -> str:
    """A time in the unit that reads best, to three digits.

    Args:
        seconds: how long.

    Example:
        >>> duration(0.01234), duration(9.0), duration(200), duration(9000)
        ('12.3 ms', '9 s', '3.33 min', '2.5 h')
    """
    units = (("h", 3600.0, 7200.0), ("min", 60.0, 120.0), ("s", 1.0, 0.1), ("ms", 1e-3, 0.0))
    unit, size = next((unit, size) for unit, size, least in units if seconds >= least)
    return f"{seconds / size:.3g} {unit}"


def listing(names: Iterable[str], last: str = "and") -> str:
    """Names in a row: `alpha, width and depth`.

    Args:
        names: at least one.
        last: the word before the last.
    """
    *others, final = names
    return f"{', '.join(others)} {last} {final}" if others else final


def compact(values: Any, digits: int = 6) -> list[float | int | None]:
    """Numbers for JSON, rounded to so many digits; None where one is not finite.

    Args:
        values: numbers.
        digits: how many.

    Example:
        >>> compact(np.array([1 / 3, np.nan, 2.0]))
        [0.333333, None, 2]
    """
    return [
        None if not math.isfinite(value) else int(value) if value == int(value) else value
        for value in (float(f"{value:.{digits}g}") for value in np.asarray(values, dtype=np.float64).tolist())
    ]
