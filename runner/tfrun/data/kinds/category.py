"""The kind of column `category`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from tfrun.data.kinds.raw import RawColumn
from tfrun.data.kinds.texts import TextColumn, most_frequent


@dataclass(frozen=True)
class CategoryColumn(TextColumn):
    """Texts, each with an id of its own. A column of `inputs["categories"]`; 0 stands for unseen and empty.

    Attributes:
        values: the texts that have ids from 1 on, the most frequent first.
    """

    name: str
    values: tuple[str, ...]

    json_keys: ClassVar = ("vocabularies",)

    @classmethod
    def fit(cls, raw: RawColumn, *, max_ids: int | None = None) -> Self:
        """Learns the texts of the training rows, at most `max_ids`. Raises DataError if all are empty."""
        counts: Counter[str] = Counter()
        for texts in raw.training_blocks():
            counts.update(texts.tolist())
        return cls(raw.name, most_frequent(counts, max_ids, raw=raw))

    @property
    def num_ids(self) -> int:
        return len(self.values) + 1

    def to_json(self) -> dict[str, Any]:
        return {"vocabularies": list(self.values)}

    @classmethod
    def from_json(cls, name: str, fields: Mapping[str, Any]) -> Self:
        return cls(name, tuple(fields["vocabularies"][name]))
