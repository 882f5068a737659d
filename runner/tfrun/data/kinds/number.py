"""The kind of column `number`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from tfrun.config.column_kinds import NumberKind
from tfrun.data.kinds.inputs import STATISTICS, NumberInput
from tfrun.data.kinds.raw import KINDS_KEY, RawColumn
from tfrun.data.targets import EXACT_KEY
from tfrun.errors import DataError

MISSING = (0.5,)  # the boundary between the numbers of an indicator


@dataclass(frozen=True)
class NumberColumn(NumberInput):
    """Numbers, a column of `inputs["numbers"]`.

    Attributes:
        indicator: whether a further input, 0 or 1, says which cells are empty.
    """

    indicator: bool = False

    kind: ClassVar[Any] = NumberKind
    json_keys: ClassVar = STATISTICS
    is_text: ClassVar = False
    raw_shape: ClassVar[tuple[int, ...]] = (1,)

    @classmethod
    def fit(cls, raw: RawColumn, kind: NumberKind, *, exact: bool = True) -> Self:
        """Learns the statistics of the training rows. Raises DataError if all of their cells are empty."""
        cells = raw.training_cells()
        if np.isnan(cells).all():
            raise raw.no_value()
        fitted = cls.of(raw.name, cells, impute=kind.impute, scale=kind.scale, exact=exact)
        return replace(fitted, indicator=kind.indicator)

    @property
    def inputs(self) -> tuple[NumberInput, ...]:
        """The columns of `inputs["numbers"]` that it becomes."""
        indicator = NumberInput.unscaled(f"{self.name}:missing", 0.0, MISSING)
        return (self, indicator) if self.indicator else (self,)

    def raw_dtype(self, floatx: str) -> str:
        """Returns the type of the cells that an exported model takes; `floatx` is that of the model."""
        return "float64" if self.needs_float64 else floatx

    def raw_type(self, floatx: str) -> str:
        """Returns what an exported model takes, for a person."""
        return f"{self.raw_dtype(floatx)} (batch, 1), nan for empty"

    def encode(self, cells: np.ndarray, dtype: str, *, source: str) -> list[np.ndarray]:
        """Returns raw cells as its inputs, (N,) each, of the given type or of float64, not scaled yet.

        Raises:
            DataError: they are texts.
        """
        if cells.dtype == object:
            raise DataError(f"{source}: column {self.name!r} must hold numbers, as it did in training")
        numbers = cells[:].astype("float64" if self.needs_float64 else dtype)
        return [numbers, np.isnan(numbers).astype(dtype)] if self.indicator else [numbers]

    def raw(self, cells: Any, floatx: str) -> np.ndarray:
        """Returns raw cells as an exported model takes them, (N, 1)."""
        return np.asarray(cells, self.raw_dtype(floatx))[:, None]

    def to_json(self) -> dict[str, Any]:
        """Returns what it has learnt, by the keys of `preprocessing.json`; options only if there are any."""
        options = {"indicator": self.indicator, "quantiles": [list(pair) for pair in self.quantiles]}
        if not any(options.values()):
            return super().to_json()
        return {**super().to_json(), KINDS_KEY: {"name": self.kind.name, **options}}

    @classmethod
    def names_in(cls, fields: Mapping[str, Any]) -> Iterable[str]:
        """Returns the names of the columns of this kind in `preprocessing.json`."""
        return fields.get("medians", ())

    @classmethod
    def from_json(cls, name: str, fields: Mapping[str, Any]) -> Self:
        """Returns a column of `preprocessing.json`; the files of earlier versions have fewer keys."""
        fitted = cls.of_json(name, {key: fields[key][name] for key in STATISTICS})
        options = fields.get(KINDS_KEY, {}).get(name, {})
        return replace(
            fitted,
            exact=fields.get(EXACT_KEY, False),
            indicator=options.get("indicator", False),
            quantiles=tuple((x, y) for x, y in options.get("quantiles", [])),
        )
