"""The kind of column `number`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from tfrun.data.kinds.inputs import NumberInput
from tfrun.data.kinds.raw import RawColumn
from tfrun.data.targets import EXACT_KEY
from tfrun.errors import DataError


@dataclass(frozen=True)
class NumberColumn(NumberInput):
    """Numbers, each a column of `inputs["numbers"]`."""

    json_keys: ClassVar = ("medians", "means", "variances", "deciles")
    is_text: ClassVar = False
    raw_shape: ClassVar[tuple[int, ...]] = (1,)

    @classmethod
    def fit(cls, raw: RawColumn, *, exact: bool = True) -> Self:
        """Learns the statistics of the training rows. Raises DataError if all of their cells are empty."""
        cells = raw.training_cells()
        if np.isnan(cells).all():
            raise raw.no_value()
        return cls.of(raw.name, cells, exact=exact)

    @property
    def inputs(self) -> tuple[NumberInput, ...]:
        """The columns of `inputs["numbers"]` that it becomes."""
        return (self,)

    def raw_dtype(self, floatx: str) -> str:
        """Returns the type of the cells that an exported model takes; `floatx` is that of the model."""
        return "float64" if self.needs_float64 else floatx

    def raw_type(self, floatx: str) -> str:
        """Returns what an exported model takes, for a person."""
        return f"{self.raw_dtype(floatx)} (batch, 1), nan for empty"

    def encode(self, cells: np.ndarray, dtype: str, *, source: str) -> list[np.ndarray]:
        """Returns raw cells as its inputs, (N,) each, of the given type or of float64, not standardized yet.

        Raises:
            DataError: they are texts.
        """
        if cells.dtype == object:
            raise DataError(f"{source}: column {self.name!r} must hold numbers, as it did in training")
        return [cells.astype("float64" if self.needs_float64 else dtype)]

    def raw(self, cells: Any, floatx: str) -> np.ndarray:
        """Returns raw cells as an exported model takes them, (N, 1)."""
        return np.asarray(cells, self.raw_dtype(floatx))[:, None]

    def to_json(self) -> dict[str, Any]:
        return {
            "medians": self.median,
            "means": self.mean,
            "variances": self.variance,
            "deciles": list(self.deciles),
        }

    @classmethod
    def from_json(cls, name: str, fields: Mapping[str, Any]) -> Self:
        medians, means, variances, deciles = (fields[key][name] for key in cls.json_keys)
        return cls(name, medians, means, variances, tuple(deciles), exact=fields.get(EXACT_KEY, False))
