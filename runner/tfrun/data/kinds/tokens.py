"""The kind of column `tokens`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from tfrun.config.column_kinds import TokensKind
from tfrun.data.kinds.raw import RawColumn
from tfrun.data.kinds.texts import TextColumn, most_frequent


@dataclass(frozen=True)
class TokensColumn(TextColumn):
    """Texts of several words, each word with an id. `inputs[name]`; 0 is padding and 1 stands for unseen.

    Attributes:
        words: those that have ids from 2 on, the most frequent first.
        length: the number of words that each text is cut or padded to.
    """

    name: str
    words: tuple[str, ...]
    length: int

    kind: ClassVar[Any] = TokensKind
    json_keys: ClassVar = ("tokens", "lengths")

    @classmethod
    def fit(cls, raw: RawColumn, kind: TokensKind) -> Self:
        """Learns the words of the training rows. Raises DataError if there are none."""
        counts: Counter[str] = Counter()
        for texts in raw.training_blocks():
            for text in texts:
                # as bytes, Python splits at ASCII's white space alone, which is where TensorFlow splits
                counts.update(word.decode() for word in text.encode().split())
        return cls(raw.name, most_frequent(counts, kind.max_ids, raw=raw), kind.length)

    @property
    def num_ids(self) -> int:
        return len(self.words) + 2

    def to_json(self) -> dict[str, Any]:
        return {"tokens": list(self.words), "lengths": self.length}

    @classmethod
    def names_in(cls, fields: Mapping[str, Any]) -> Iterable[str]:
        """Returns the names of the columns of this kind in `preprocessing.json`."""
        return fields.get("tokens", ())

    @classmethod
    def from_json(cls, name: str, fields: Mapping[str, Any]) -> Self:
        return cls(name, tuple(fields["tokens"][name]), fields["lengths"][name])
