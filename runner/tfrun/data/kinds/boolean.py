"""The kind of column `boolean`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from tfrun.config.column_kinds import BooleanKind
from tfrun.data.kinds.inputs import NumberInput
from tfrun.data.kinds.raw import KINDS_KEY, RawColumn, is_text, names_of_kind
from tfrun.data.kinds.texts import are_unknown, numbers_of

TRUE, FALSE = ("true", "yes", "t", "1"), ("false", "no", "f", "0")  # in small or capital letters
SPELLINGS = {**dict.fromkeys(TRUE, 1.0), **dict.fromkeys(FALSE, 0.0)}


@dataclass(frozen=True)
class BooleanColumn:
    """Yes or no as 1 or 0, a column of `inputs["numbers"]`.

    Attributes:
        filled: what an empty cell becomes: what most training rows have, 0 if both are equally frequent.
        is_text: whether the cells are texts; numbers otherwise.
    """

    name: str
    filled: float
    is_text: bool

    kind: ClassVar[Any] = BooleanKind
    json_keys: ClassVar = (KINDS_KEY,)
    raw_shape: ClassVar[tuple[int, ...]] = (1,)
    unknown_are: ClassVar = "that are neither true nor false"

    @classmethod
    def fit(cls, raw: RawColumn, kind: BooleanKind) -> Self:
        """Learns which of the two most training rows have. Raises DataError for other cells, or if all are empty."""
        fitted = cls(raw.name, 0.0, raw.is_text)
        spellings = ", ".join(SPELLINGS) if raw.is_text else "1, 0"
        raw.refuse(fitted.unknown(raw.cells), f"must be true or false ({spellings})")
        numbers = fitted.numbers(raw.training_cells())
        if np.isnan(numbers).all():
            raise raw.no_value()
        return cls(raw.name, float(np.nanmean(numbers) > 0.5), raw.is_text)

    @property
    def inputs(self) -> tuple[NumberInput, ...]:
        """The columns of `inputs["numbers"]` that it becomes."""
        return (NumberInput.unscaled(self.name, self.filled, (0.5,)),)

    def numbers(self, cells: np.ndarray) -> np.ndarray:
        """Returns raw cells as 1, 0 and nan, (N,) float64; whatever means neither is nan."""
        if is_text(cells):
            return numbers_of(cells, _number)
        numbers = cells[:]
        return np.where((numbers == 0) | (numbers == 1), numbers, np.nan)

    def unknown(self, cells: np.ndarray) -> np.ndarray:
        """Returns which cells mean neither, (N,) bool; an empty one isn't counted."""
        numbers = self.numbers(cells)
        return are_unknown(cells, numbers) if is_text(cells) else np.isnan(numbers) & ~np.isnan(cells[:])

    def encode(self, cells: np.ndarray, dtype: str, *, source: str) -> list[np.ndarray]:
        """Returns raw cells as its input, (N,) of the given type."""
        return [self.numbers(cells).astype(dtype)]

    def raw_dtype(self, floatx: str) -> str:
        """Returns the type of the cells that an exported model takes; `floatx` is that of the model."""
        return "string" if self.is_text else floatx

    def raw_type(self, floatx: str) -> str:
        """Returns what an exported model takes, for a person."""
        empty = '""' if self.is_text else "nan"
        return f"{self.raw_dtype(floatx)} (batch, 1), {empty} for empty"

    def raw(self, cells: Any, floatx: str) -> np.ndarray:
        """Returns raw cells as an exported model takes them, (N, 1)."""
        return np.asarray(cells, str if self.is_text else floatx)[:, None]

    def to_json(self) -> dict[str, Any]:
        """Returns what it has learnt, by the keys of `preprocessing.json`."""
        return {KINDS_KEY: {"name": self.kind.name, "filled": self.filled, "is_text": self.is_text}}

    @classmethod
    def names_in(cls, fields: Mapping[str, Any]) -> Iterable[str]:
        """Returns the names of the columns of this kind in `preprocessing.json`."""
        return names_of_kind(fields, cls.kind.name)

    @classmethod
    def from_json(cls, name: str, fields: Mapping[str, Any]) -> Self:
        """Returns a column of `preprocessing.json`."""
        column = fields[KINDS_KEY][name]
        return cls(name, column["filled"], column["is_text"])


def _number(text: str) -> float | None:
    return SPELLINGS.get(text.lower())
