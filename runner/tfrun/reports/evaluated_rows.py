"""What a trained run predicts for its test rows, in plain arrays: what the page of a run is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

NUM_WORST = 20  # rows of a target that are listed


@dataclass(frozen=True)
class TargetRows:
    """A target of R rows, and what is predicted for it.

    Attributes:
        name: the target's name.
        classes: the labels of its classes; empty for a target of numbers.
        true: (R,) float64 numbers, or (R,) int64 places in `classes`.
        predicted: (R,) float64 numbers, or (R, K) float64 probabilities of the classes.
    """

    name: str
    classes: tuple[str, ...]
    true: np.ndarray
    predicted: np.ndarray

    @property
    def is_number(self) -> bool:
        return not self.classes

    @property
    def errors(self) -> np.ndarray:
        """The error of each row, (R,): predicted − true of numbers, −ln p(true class) of classes."""
        if self.is_number:
            return self.predicted - self.true
        chances = self.predicted[np.arange(len(self.true)), self.true]
        with np.errstate(divide="ignore"):
            return -np.log(chances)

    @property
    def sizes(self) -> np.ndarray:
        """How bad each row is, (R,): the absolute error of numbers, 1 for a wrong class and 0 for the right one."""
        if self.is_number:
            return np.abs(self.errors)
        return (self.predicted.argmax(axis=1) != self.true).astype("float64")

    def worst(self, count: int = NUM_WORST) -> np.ndarray:
        """Returns the places of the rows with the largest errors, the largest first; one that isn't finite is larger.

        Rows with the same error keep their order.
        """
        sizes = np.abs(self.errors)
        return np.argsort(-np.where(np.isfinite(sizes), sizes, np.inf), kind="stable")[:count]


@dataclass(frozen=True)
class TargetWindows:
    """A target of numbers over windows of series, and its forecasts.

    Attributes:
        name: the target's name.
        errors: the mean absolute error of each step ahead, (H,), over `num_windows`.
        num_windows: how many windows were predicted.
        history: what was known in some of the windows, (W, L), the oldest first.
        true: what came after, (W, H).
        predicted: the forecasts, (W, H).
    """

    name: str
    errors: np.ndarray
    num_windows: int
    history: np.ndarray
    true: np.ndarray
    predicted: np.ndarray


@dataclass(frozen=True)
class Importance:
    """How much worse a metric becomes if the cells of one column are permuted among the rows.

    Attributes:
        metric: its name.
        value: the metric with all cells in their places.
        num_rows: how many rows were permuted.
        repeats: how often each column was.
        columns: (name, mean, standard deviation over the repeats) of each column, the greatest mean first.
    """

    metric: str
    value: float
    num_rows: int
    repeats: int
    columns: Sequence[tuple[str, float, float]]


@dataclass(frozen=True)
class Picture:
    """The image of a row.

    Attributes:
        row: the row's place among the R rows.
        png: the image.
    """

    row: int
    png: bytes


@dataclass(frozen=True)
class EvaluatedRows:
    """The rows of a page, R of them.

    Attributes:
        split: "test" or "val"; "all" for the rows of other data.
        source: where the rows come from.
        num_rows: how many the split has. R is less if it has very many.
        step: the best weights are those up to this step.
        metrics: the loss and the metrics over all `num_rows`, by name.
        places: the number of each row in its source, or its line there, (R,) of str.
        columns: the raw cells by column, (R,) each, without arrays.
        targets: of each target.
        importance: of the columns, or a sentence on why there is none.
        worst_images: the images of the worst rows of the first target.
        random_images: the images of other rows.
        notes: sentences on what a person should know.
        forecasts: of each target of numbers, if the rows are windows of series.
        is_windows: whether the rows are windows of series, of which R is 0.
        shows_rows: whether single rows may be shown; if not, only what is computed over several is.
        empty: how many cells of each column have no value, over all rows of the data; of the columns that have any.
    """

    split: str
    source: str
    num_rows: int
    step: int
    metrics: Mapping[str, float]
    places: Sequence[str] = ()
    columns: Mapping[str, Any] = field(default_factory=dict)
    targets: Sequence[TargetRows] = ()
    importance: Importance | str = ""
    worst_images: Sequence[Picture] = ()
    random_images: Sequence[Picture] = ()
    notes: Sequence[str] = ()
    forecasts: Sequence[TargetWindows] = ()
    is_windows: bool = False
    shows_rows: bool = True
    empty: Mapping[str, int] = field(default_factory=dict)

    @property
    def of(self) -> str:
        """Which rows these are, for a sentence."""
        kind = {"test": "test ", "val": "validation ", "all": ""}[self.split]
        return kind + ("windows" if self.is_windows else "rows")
