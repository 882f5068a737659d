"""Numbers as a model gets them: filled and scaled, each in its place in `inputs["numbers"]`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np

from tfrun.data.targets import is_far_from_zero, spread_is_rounding

STATISTICS = ("medians", "means", "variances", "deciles")  # their names in preprocessing.json
NUM_QUANTILES = 101
EPSILON = 1e-7  # Keras' own, the least standard deviation that its Normalization divides by
MAX_FLOAT32 = 1e38  # cells above it are infinite in float32


@dataclass(frozen=True)
class NumberInput:
    """A column of `inputs["numbers"]`: an empty cell becomes the median, then (x - mean) / variance**0.5.

    Attributes:
        name: what a model calls it, in its crosses for example.
        median: of the cells that aren't empty, or what else an empty cell becomes.
        mean, variance: with the median in the empty cells; of robust scaling the median and the squared range of the
            middle half, and without scaling 0 and 1.
        deciles: inner decile boundaries of the scaled numbers, strictly increasing, at most 9.
        exact: False for a run of an earlier version, which standardized every column in float32.
        quantiles: pairs (x, y) with increasing x, if the scaled number is y at x and on straight lines between them
            instead.
    """

    name: str
    median: float
    mean: float
    variance: float
    deciles: tuple[float, ...]
    exact: bool = True
    quantiles: tuple[tuple[float, float], ...] = ()

    @property
    def standard_deviation(self) -> float:
        return self.variance**0.5

    @property
    def is_constant(self) -> bool:
        """Whether all cells are one number, except for the rounding of float64."""
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
            return abs(self.mean) > MAX_FLOAT32
        # a variance above 1e38 is infinite in float32
        in_range = EPSILON <= self.standard_deviation <= MAX_FLOAT32**0.5
        return not in_range or is_far_from_zero(self.mean, self.standard_deviation)

    @classmethod
    def of(
        cls,
        name: str,
        cells: np.ndarray,
        *,
        impute: float | Literal["median", "mean"] = "median",
        scale: Literal["standard", "robust", "quantile", "none"] = "standard",
        exact: bool = True,
    ) -> Self:
        """Learns the statistics of numbers.

        Args:
            name: the input's name.
            cells: (R,) float64 with nan for empty, of which at least one isn't; it is changed.
            impute: what an empty cell becomes.
            scale: how the numbers are scaled, see `tfrun.config.column_kinds.NumberKind`.
            exact: False for a run of an earlier version.
        """
        is_empty = np.isnan(cells)
        if impute == "mean":
            filled = float(cells[~is_empty].mean())
        else:
            filled = float(np.median(cells[~is_empty], overwrite_input=True)) if impute == "median" else float(impute)
        cells[is_empty] = filled
        mean, variance = float(cells.mean()), float(cells.var())
        if scale == "robust":
            low, mean, high = np.quantile(cells, [0.25, 0.5, 0.75]).tolist()
            variance = (high - low) ** 2
        elif scale == "none":
            mean, variance = 0.0, 1.0
        quantiles = _quantiles(cells) if scale == "quantile" else ()
        edges = np.quantile(cells, np.linspace(0.1, 0.9, 9), overwrite_input=True)
        fitted = cls(name, filled, mean, variance, (), exact, quantiles)
        return replace(fitted, deciles=tuple(sorted(set(fitted.scaled(edges).tolist()))))

    @classmethod
    def unscaled(cls, name: str, filled: float, deciles: tuple[float, ...]) -> Self:
        """Returns an input whose numbers a model gets as they are, for example 0 and 1."""
        return cls(name, filled, 0.0, 1.0, deciles)

    def scaled(self, numbers: np.ndarray) -> np.ndarray:
        """Returns numbers, none of them empty, as a model gets them."""
        if self.quantiles:
            places, values = zip(*self.quantiles, strict=True)
            return np.interp(numbers, places, values)
        return (numbers - self.mean) / self.divisor

    def to_json(self) -> dict[str, Any]:
        """Returns the statistics, by the names that a column of its own has in `preprocessing.json`."""
        return {
            "medians": self.median,
            "means": self.mean,
            "variances": self.variance,
            "deciles": list(self.deciles),
        }

    @classmethod
    def of_json(cls, name: str, statistics: Mapping[str, Any]) -> Self:
        """Returns the input of which `to_json` gave these."""
        medians, means, variances, deciles = (statistics[key] for key in STATISTICS)
        return cls(name, medians, means, variances, tuple(deciles))


@dataclass(frozen=True)
class FarInput(NumberInput):
    """A number that is always scaled in float64: seconds since 1970."""

    @property
    def needs_float64(self) -> bool:
        return True


def _quantiles(cells: np.ndarray) -> tuple[tuple[float, float], ...]:
    """Returns the percentiles of numbers, each with its place in a uniform distribution of mean 0 and deviation 1.

    Percentiles that are the same have the mean of their places.
    """
    shares = np.linspace(0, 1, NUM_QUANTILES)
    values, of_value = np.unique(np.quantile(cells, shares), return_inverse=True)
    means = np.bincount(of_value, shares) / np.bincount(of_value)
    return tuple(zip(values.tolist(), ((means - 0.5) * 12**0.5).tolist(), strict=True))
