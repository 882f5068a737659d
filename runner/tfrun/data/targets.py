"""Targets: the unit that each is trained in, its classes, and the model output that predicts it. No TensorFlow here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from tfrun.data.labels import as_number, label, shortened
from tfrun.errors import DataError
from tfrun.protocols import MAIN_OUTPUT

MAX_CLASSES = 1000
EXACT_KEY = "exact_offsets"  # in preprocessing.json; missing in the folders of earlier versions
FAR = 256  # standard deviations from 0; float32 keeps 2⁻²⁴ of a number, there 2⁻¹⁶ of a standard deviation


def is_far_from_zero(mean: float, standard_deviation: float) -> bool:
    """Returns whether numbers lie so far from 0 that float32 loses digits of their differences."""
    return abs(mean) > FAR * standard_deviation


def spread_is_rounding(mean: float, standard_deviation: float) -> bool:
    """Returns whether a standard deviation is 0, or no more than the rounding of the mean in float64."""
    return standard_deviation <= abs(mean) * 2**-44


@dataclass(frozen=True)
class TargetScale:
    """How a target was standardized for training; metrics are computed in the target's own unit.

    Attributes:
        exact: False for a run of an earlier version, whose metrics are computed in float32 however far from 0.
    """

    mean: float = 0.0
    standard_deviation: float = 1.0
    exact: bool = True

    @property
    def is_far(self) -> bool:
        """Whether float32 loses digits of the differences between numbers in the target's own unit."""
        return is_far_from_zero(self.mean, self.standard_deviation)

    @property
    def needs_float64(self) -> bool:
        """Whether metrics are computed in float64."""
        return self.exact and self.is_far

    @property
    def is_plain(self) -> bool:
        """Whether the target wasn't scaled, in a run of this version."""
        return self == TargetScale()

    def restore(self, values: Any) -> Any:
        """Returns standardized targets or predictions in the target's own unit and in the type that they have.

        Args:
            values: floats, to be float64 if the scale needs it.
        """
        if (self.mean, self.standard_deviation) == (0.0, 1.0):
            return values
        if self.exact and values.dtype == "float64":
            return values * self.standard_deviation + self.mean
        return values * float(np.float32(self.standard_deviation)) + float(np.float32(self.mean))


@dataclass(frozen=True)
class FittedTarget:
    """A target's task, its classes in the order of their ids, and the scale it is trained on.

    Attributes:
        horizon: the number of rows whose target is predicted, of windows of a series; 1 otherwise.
    """

    task: str
    classes: list[str] = field(default_factory=list)
    mean: float = 0.0
    standard_deviation: float = 1.0
    spelt_as_read: bool = True  # False for runs of versions that read the class 007 as the number 7
    exact: bool = True
    horizon: int = 1

    @classmethod
    def fit(cls, values: np.ndarray, task: str, *, scale: bool, where: str, exact: bool = True) -> Self:
        """Learns a target from its values in the training rows.

        Args:
            values: (R,) float64 numbers, or labels of classes.
            task: "regression" or "classification".
            scale: whether numbers are standardized.
            where: the target, for messages.
            exact: False for a run of an earlier version, see `TargetScale` and `spelt_as_read`.

        Raises:
            DataError: too few or too many classes.
        """
        if task == "classification":
            classes = [label(value) for value in sorted(set(values.tolist()))]
            if not 2 <= len(classes) <= MAX_CLASSES:
                raise DataError(
                    f"{where} must have 2 to {MAX_CLASSES} classes in the training rows. Received: {len(classes)}"
                )
            return cls(task, classes, exact=exact, spelt_as_read=exact)
        if not scale:
            return cls(task, exact=exact)
        mean, spread = float(values.mean()), float(values.std())
        # a constant target has nothing to scale
        is_constant = spread_is_rounding(mean, spread) if exact else spread == 0
        return cls(task, [], mean, 1.0 if is_constant else spread, exact=exact)

    def spell(self, labels: np.ndarray) -> np.ndarray:
        """Returns labels, (N,) object of str, as the classes are spelt: 1.0 where the class is 1, and vice versa.

        Programs that write tables turn whole numbers into such fractions. A label that is no class stays as it is, and
        so does an array in which nothing is to change: numbers stay numbers, as the rows' fingerprint was of these.
        """
        value_of = shortened if self.spelt_as_read else as_number
        by_value: dict[str, list[str]] = {}
        for known in self.classes:
            by_value.setdefault(value_of(known), []).append(known)
        spelt = {}
        for given in set(labels.tolist()):
            text = label(given)
            same = by_value.get(value_of(text), [])
            spelt[given] = same[0] if len(same) == 1 and text not in self.classes else text
        if all(text == label(given) for given, text in spelt.items()):
            return labels
        return np.array([spelt[given] for given in labels.tolist()], dtype=object)

    @property
    def num_outputs(self) -> int:
        """How many numbers a model predicts for it: one logit is enough for two classes."""
        if self.task == "regression":
            return self.horizon
        return len(self.classes) if len(self.classes) > 2 else 1

    @property
    def scale(self) -> TargetScale:
        return TargetScale(self.mean, self.standard_deviation, self.exact)


def of_output(values: Any, name: str) -> Any:
    """Returns a model's output, or its target, by name; the main target serves outputs without one of their own.

    Args:
        values: a mapping by output, or a single value, which serves every output.
        name: the output.
    """
    return values.get(name, values[MAIN_OUTPUT]) if isinstance(values, dict) else values


def main_output(values: Any) -> Any:
    """Returns the main output, or its target, of a mapping by output; a single value is returned as it is."""
    return of_output(values, MAIN_OUTPUT)
