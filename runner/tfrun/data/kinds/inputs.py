"""Numbers as a model gets them: filled and standardized, each in its place in `inputs["numbers"]`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from tfrun.data.targets import is_far_from_zero, spread_is_rounding

EPSILON = 1e-7  # Keras' own, the least standard deviation that its Normalization divides by
MOST_FLOAT32 = 1e38  # cells above it are infinite in float32


@dataclass(frozen=True)
class NumberInput:
    """A column of `inputs["numbers"]`: an empty cell becomes the median, then all are standardized.

    Attributes:
        name: what a model calls it, in its crosses for example.
        median: of the cells that aren't empty.
        mean, variance: with the median in the empty cells.
        deciles: inner decile boundaries of the standardized numbers, strictly increasing, at most 9.
        exact: False for a run of an earlier version, which standardized every column in float32.
    """

    name: str
    median: float
    mean: float
    variance: float
    deciles: tuple[float, ...]
    exact: bool = True

    @property
    def standard_deviation(self) -> float:
        return self.variance**0.5

    @property
    def is_constant(self) -> bool:
        """Whether all cells are one number, but for the rounding of float64."""
        return spread_is_rounding(self.mean, self.standard_deviation)

    @property
    def divisor(self) -> float:
        """What the cells' distance from the mean is divided by."""
        if not self.exact:
            return max(self.standard_deviation, EPSILON)
        return 1.0 if self.is_constant else self.standard_deviation

    @property
    def needs_float64(self) -> bool:
        """Whether float32 lacks the digits or the range to standardize the cells in: Unix seconds, for example."""
        if not self.exact:
            return False
        if self.is_constant:
            return abs(self.mean) > MOST_FLOAT32
        # a variance above 1e38 is infinite in float32
        in_range = EPSILON <= self.standard_deviation <= MOST_FLOAT32**0.5
        return not in_range or is_far_from_zero(self.mean, self.standard_deviation)

    @classmethod
    def of(cls, name: str, cells: np.ndarray, *, exact: bool = True) -> Self:
        """Learns the statistics of numbers.

        Args:
            name: the input's name.
            cells: (R,) float64 with nan for empty, of which at least one isn't; it is changed.
            exact: False for a run of an earlier version.
        """
        is_empty = np.isnan(cells)
        median = float(np.median(cells[~is_empty], overwrite_input=True))
        cells[is_empty] = median
        mean = float(cells.mean())
        variance = float(cells.var())
        edges = np.quantile(cells, np.linspace(0.1, 0.9, 9), overwrite_input=True)
        fitted = cls(name, median, mean, variance, (), exact)
        return replace(fitted, deciles=tuple(sorted(set(((edges - mean) / fitted.divisor).tolist()))))
