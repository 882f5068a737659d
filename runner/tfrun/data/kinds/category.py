"""The kind of column `category`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from tfrun.config.column_kinds import CategoryKind
from tfrun.data.arrays import blocks
from tfrun.data.integer_texts import IntegerPlaces, IntegerTexts, most_counted
from tfrun.data.kinds.raw import RawColumn
from tfrun.data.kinds.texts import TextColumn, for_each_text, most_frequent
from tfrun.errors import DataError

COUNTED_ROWS = 2**20  # of whole numbers, whose different ones are counted together


@dataclass(frozen=True)
class CategoryColumn(TextColumn):
    """Texts, each with an id of its own. A column of `inputs["categories"]`; 0 stands for unseen and empty.

    Attributes:
        values: the texts that have ids from 1 on, the most frequent first.
    """

    name: str
    values: tuple[str, ...]

    kind: ClassVar[Any] = CategoryKind
    unknown_are: ClassVar = "that the training rows don't have"
    json_keys: ClassVar = ("vocabularies",)

    @classmethod
    def fit(cls, raw: RawColumn, kind: CategoryKind) -> Self:
        """Learns the texts of the training rows. Raises DataError if all are empty, or rarer than they may be."""
        counts: Counter[str] = Counter()
        if isinstance(raw.cells, IntegerTexts):
            numbers, nums = raw.cells.counts(raw.row_blocks(COUNTED_ROWS))
            least = min(kind.min_count, int(nums.max(initial=1)))  # one stays, for the message below
            counts = most_counted(numbers, nums, max_ids=kind.max_ids, min_count=least)
        else:
            for texts in raw.training_blocks():
                counts.update(texts.tolist())
        frequent = Counter({text: count for text, count in counts.items() if count >= kind.min_count})
        most = max((count for text, count in counts.items() if text), default=0)
        if 0 < most < kind.min_count:
            raise DataError(
                f"{raw.source}: data.kinds.{raw.name}.min_count: no value is in that many training rows. "
                f"Received: {kind.min_count}; the most frequent one is in {most}"
            )
        return cls(raw.name, most_frequent(frequent, kind.max_ids, raw=raw))

    def unknown(self, cells: Any) -> np.ndarray:
        """Returns which cells have no id, (N,) bool; an empty one isn't counted."""
        if isinstance(cells, IntegerTexts):
            places = IntegerPlaces(self.values, cells.numbers.dtype)
            unknown = np.empty(len(cells), np.bool_)
            for rows in blocks(cells):
                unknown[rows] = (places.of(cells.read(rows)) < 0) & ~cells.are_empty(rows)
            return unknown
        known = {*self.values, ""}
        return for_each_text(cells, lambda block: [text not in known for text in block], np.bool_)

    @property
    def num_ids(self) -> int:
        return len(self.values) + 1

    def to_json(self) -> dict[str, Any]:
        return {"vocabularies": list(self.values)}

    @classmethod
    def names_in(cls, fields: Mapping[str, Any]) -> Iterable[str]:
        """Returns the names of the columns of this kind in `preprocessing.json`."""
        return fields.get("vocabularies", ())

    @classmethod
    def from_json(cls, name: str, fields: Mapping[str, Any]) -> Self:
        return cls(name, tuple(fields["vocabularies"][name]))
