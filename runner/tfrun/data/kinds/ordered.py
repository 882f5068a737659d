"""The kind of column `ordered`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from tfrun.config.column_kinds import OrderedKind
from tfrun.data.kinds.inputs import NumberInput
from tfrun.data.kinds.raw import KINDS_KEY, RawColumn, names_of_kind
from tfrun.data.kinds.texts import TextColumn, are_unknown, numbers_of
from tfrun.data.labels import label


@dataclass(frozen=True)
class OrderedColumn(TextColumn):
    """Texts that have an order, as the numbers 0, 1, 2, … of their places in it, standardized.

    A number keeps the order, which ids would lose: a linear model needs one weight, and a text that few rows have
    learns from its neighbours. A column of `inputs["numbers"]`.

    Attributes:
        values: all texts, from the lowest to the highest.
        places: the statistics of their places.
    """

    name: str
    values: tuple[str, ...]
    places: NumberInput

    kind: ClassVar[Any] = OrderedKind
    json_keys: ClassVar = (KINDS_KEY,)
    unknown_are: ClassVar = "that data.kinds doesn't list"

    @classmethod
    def fit(cls, raw: RawColumn, kind: OrderedKind) -> Self:
        """Learns the scale of the places. Raises DataError for a cell that isn't listed, or if all are empty."""
        values = tuple(map(label, kind.values))
        fitted = cls(raw.name, values, NumberInput(raw.name, 0.0, 0.0, 1.0, ()))
        raw.refuse(fitted.unknown(raw.cells), f"must be one of {', '.join(values)}", known=values)
        places = numbers_of(raw.training_cells(), fitted.place)
        if np.isnan(places).all():
            raise raw.no_value()
        return cls(raw.name, values, NumberInput.of(raw.name, places))

    @property
    def inputs(self) -> tuple[NumberInput, ...]:
        """The columns of `inputs["numbers"]` that it becomes."""
        return (self.places,)

    def place(self, text: str) -> float | None:
        """Returns a text's place in the order, from 0 on, or None if it has none."""
        return float(self.values.index(text)) if text in self.values else None

    def unknown(self, cells: np.ndarray) -> np.ndarray:
        """Returns which cells aren't listed, (N,) bool; an empty one isn't counted."""
        return are_unknown(cells, numbers_of(cells, self.place))

    def encode(self, cells: np.ndarray, dtype: str, *, source: str) -> list[np.ndarray]:
        """Returns the places of raw cells, (N,) of the given type, not scaled yet."""
        return [numbers_of(cells, self.place).astype(dtype)]

    def to_json(self) -> dict[str, Any]:
        """Returns what it has learnt, by the keys of `preprocessing.json`."""
        return {KINDS_KEY: {"name": self.kind.name, "values": list(self.values), **self.places.to_json()}}

    @classmethod
    def names_in(cls, fields: Mapping[str, Any]) -> Iterable[str]:
        """Returns the names of the columns of this kind in `preprocessing.json`."""
        return names_of_kind(fields, cls.kind.name)

    @classmethod
    def from_json(cls, name: str, fields: Mapping[str, Any]) -> Self:
        """Returns a column of `preprocessing.json`."""
        column = fields[KINDS_KEY][name]
        return cls(name, tuple(column["values"]), NumberInput.of_json(name, column))
