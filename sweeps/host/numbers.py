"""Numbers and times as a line in a terminal shows them."""


def short(number: float | int) -> str:
    """Three figures: 12.3k, 4.56M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.3g}"


def clock(seconds: float | int | None) -> str:
    """A time as on a clock: 0:09, 12:34, 1:02:03, 2 d 03:04; a dash for None.

    Example:
        >>> clock(9.4), clock(3723), clock(2 * 86400 + 11040), clock(None)
        ('0:09', '1:02:03', '2 d 03:04', '–')
    """
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 24:
        return f"{hours // 24} d {hours % 24:02d}:{minutes:02d}"
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
