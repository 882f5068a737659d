"""The kind of column `array`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from tfrun.config.column_kinds import ArrayKind
from tfrun.data.arrays import StoredArray, load
from tfrun.data.kinds.raw import RawColumn


@dataclass(frozen=True)
class ArrayColumn:
    """Arrays, images for example, which a model gets as they are.

    Attributes:
        shape: of one example.
    """

    name: str
    shape: tuple[int, ...]

    kind: ClassVar[Any] = ArrayKind
    json_keys: ClassVar = ("arrays",)
    is_text: ClassVar = False

    @classmethod
    def fit(cls, raw: RawColumn, kind: Any) -> Self:
        """Returns the column, which learns nothing but the shape of an example."""
        return cls(raw.name, tuple(raw.cells.shape[1:]))

    @property
    def raw_shape(self) -> tuple[int, ...]:
        return self.shape

    def raw_dtype(self, floatx: str) -> str:
        """Returns the type of the values that an exported model takes; `floatx` is that of the model."""
        return floatx

    def raw_type(self, floatx: str) -> str:
        """Returns what an exported model takes, for a person."""
        return f"{floatx} ({', '.join(map(str, ('batch', *self.shape)))})"

    def encode(self, cells: np.ndarray | StoredArray, dtype: str) -> np.ndarray | StoredArray:
        """Returns the array in memory, of the given type and aligned; one on disk stays there."""
        return cells if isinstance(cells, StoredArray) else load(cells, dtype)

    def raw(self, cells: Any, floatx: str) -> np.ndarray:
        """Returns raw cells as an exported model takes them, (N, ...)."""
        return np.asarray(cells, floatx)

    def to_json(self) -> dict[str, Any]:
        return {"arrays": list(self.shape)}

    @classmethod
    def names_in(cls, fields: Mapping[str, Any]) -> Iterable[str]:
        """Returns the names of the columns of this kind in `preprocessing.json`."""
        return fields.get("arrays", ())

    @classmethod
    def from_json(cls, name: str, fields: Mapping[str, Any]) -> Self:
        return cls(name, tuple(fields["arrays"][name]))
