"""The kind of column `hashed`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from tfrun.config.column_kinds import HashedKind
from tfrun.data.kinds.raw import RawColumn
from tfrun.data.kinds.texts import TextColumn


@dataclass(frozen=True)
class HashedColumn(TextColumn):
    """Texts whose ids come from a hash function. A column of `inputs["categories"]`; 0 stands for empty.

    Attributes:
        bins: the number of ids, from 1 on, that all texts share.
    """

    name: str
    bins: int

    kind: ClassVar[Any] = HashedKind
    json_keys: ClassVar = ("bins",)

    @classmethod
    def fit(cls, raw: RawColumn, kind: HashedKind) -> Self:
        """Returns the column, which learns nothing from its rows."""
        return cls(raw.name, kind.bins)

    @property
    def num_ids(self) -> int:
        return self.bins + 1

    def to_json(self) -> dict[str, Any]:
        return {"bins": self.bins}

    @classmethod
    def names_in(cls, fields: Mapping[str, Any]) -> Iterable[str]:
        """Returns the names of the columns of this kind in `preprocessing.json`."""
        return fields.get("bins", ())

    @classmethod
    def from_json(cls, name: str, fields: Mapping[str, Any]) -> Self:
        return cls(name, fields["bins"][name])
