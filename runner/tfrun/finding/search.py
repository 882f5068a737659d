"""Which batch sizes are tried: doubled until one doesn't fit, then between the last two."""

from __future__ import annotations

from collections.abc import Callable

PRECISION = 8  # the search ends when the size that doesn't fit is an eighth greater than the one that does


def largest(
    fits: Callable[[int], bool], first: int, *, unit: int, smallest: int, most: Callable[[], float]
) -> int | None:
    """Returns the largest size that was found to fit, None if not even the smallest one does.

    It is a whole multiple of `unit`, or `first` doubled or halved, or `most`. If a size doesn't fit, greater ones count
    as too large as well.

    Args:
        fits: tries a size.
        first: the size to begin with.
        unit: sizes between two that were tried are its multiples.
        smallest: no smaller size is tried.
        most: returns the greatest size to try, which may become known with the first try.
    """
    good, bad = None, None
    size = first
    while bad is None:
        if not fits(size):
            bad = size
            break
        good = size
        if size >= most():
            return good
        size = int(min(2 * size, most()))
    while good is None:
        size = _halved(bad, unit=unit, smallest=smallest)
        if size >= bad:
            return None
        if fits(size):
            good = size
        else:
            bad = size
    while bad - good > max(unit, good // PRECISION):
        middle = (good + bad) // 2 // unit * unit
        if middle <= good:
            break
        if fits(middle):
            good = middle
        else:
            bad = middle
    return good


def _halved(size: int, *, unit: int, smallest: int) -> int:
    """Returns about half a size, that is valid too: a multiple of `unit`, or below it one of `smallest`."""
    half = size // 2
    step = unit if half >= unit else smallest
    return max(half // step * step, smallest)
