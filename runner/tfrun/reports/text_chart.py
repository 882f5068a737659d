"""A curve as a few lines of text, as wide as the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

EIGHTHS = " ▁▂▃▄▅▆▇█"
HEIGHT = 8  # lines
MIN_WIDTH = 12  # columns of the curve
MARK = "▲"


def log_chart(
    log_x: Sequence[float] | np.ndarray,
    y: Sequence[float] | np.ndarray,
    *,
    top: float,
    width: int,
    mark: float | None = None,
) -> list[str]:
    """Returns the lines of a chart: y as columns of blocks, with powers of ten below them.

    Args:
        log_x: the decimal logarithms of x, increasing.
        y: the values, finite.
        top: the greatest value shown; a greater one is as high.
        width: the columns of the whole chart.
        mark: the logarithm to mark, if any.
    """
    low = float(np.min(y))
    labels = {0: f"{top:.3g}", HEIGHT - 1: f"{low:.3g}"}
    left = max(map(len, labels.values()))
    columns = max(width - left - 2, MIN_WIDTH)
    places = np.linspace(log_x[0], log_x[-1], columns)
    heights = (np.minimum(np.interp(places, log_x, y), top) - low) / ((top - low) or 1.0)
    eighths = 1 + np.round(heights * (8 * HEIGHT - 1)).astype(int)  # the least value is seen too
    lines = []
    for line in range(HEIGHT):
        below = 8 * (HEIGHT - 1 - line)
        blocks = "".join(EIGHTHS[min(max(height - below, 0), 8)] for height in eighths)
        lines.append(f"{labels.get(line, ''):>{left}} │{blocks}".rstrip())
    lines.append(f"{'':>{left}} └{_ticks(places, columns)}")
    if mark is not None:
        lines.append(" " * (left + 2 + _column(mark, places)) + MARK)
    return lines


def _ticks(places: np.ndarray, columns: int) -> str:
    """Returns the line below a chart, with as many powers of ten as have room."""
    powers = range(math.ceil(places[0] - 1e-9), math.floor(places[-1] + 1e-9) + 1)
    line = ["─"] * columns
    free = 0
    for power in powers:
        text, column = f"1e{power}", _column(power, places)
        if column >= free and column + len(text) <= columns:
            line[column : column + len(text)] = text
            free = column + len(text) + 2
    return "".join(line)


def _column(place: float, places: np.ndarray) -> int:
    return int(np.argmin(np.abs(places - place)))
