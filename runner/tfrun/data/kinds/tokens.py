"""The kind of column `tokens`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from tfrun.config.column_kinds import TokensKind
from tfrun.data.bags import Bags
from tfrun.data.kinds.raw import KINDS_KEY, RawColumn
from tfrun.data.kinds.texts import TextColumn, most_frequent


@dataclass(frozen=True)
class TokensColumn(TextColumn):
    """Texts of several words, or lists of ids, each word with an id. `inputs[name]`; 0 is padding.

    Attributes:
        words: those that have ids from 2 on, the most frequent first; 1 stands for unseen.
        length: the number of words that each text is cut or padded to.
        bins: if the ids come from a hash function, the number of ids, from 1 on, that all words share; there are no
            `words` then, and none is unseen.
    """

    name: str
    words: tuple[str, ...]
    length: int
    bins: int | None = None

    kind: ClassVar[Any] = TokensKind
    json_keys: ClassVar = ("tokens", "lengths")

    @classmethod
    def fit(cls, raw: RawColumn, kind: TokensKind) -> Self:
        """Learns the words of the training rows, unless they are hashed. Raises DataError if there are none."""
        if kind.bins is not None:
            return cls(raw.name, (), kind.length, kind.bins)
        is_bags = isinstance(raw.cells, Bags)
        counts = raw.cells.most_frequent(raw.rows, kind.max_ids) if is_bags else _counts(raw)
        return cls(raw.name, most_frequent(counts, kind.max_ids, raw=raw), kind.length)

    @property
    def num_ids(self) -> int:
        return len(self.words) + 2 if self.bins is None else self.bins + 1

    def to_json(self) -> dict[str, Any]:
        """Returns what it has learnt, by the keys of `preprocessing.json`; `bins` only if there are any."""
        learnt = {"tokens": list(self.words), "lengths": self.length}
        return learnt if self.bins is None else {**learnt, KINDS_KEY: {"name": self.kind.name, "bins": self.bins}}

    @classmethod
    def names_in(cls, fields: Mapping[str, Any]) -> Iterable[str]:
        """Returns the names of the columns of this kind in `preprocessing.json`."""
        return fields.get("tokens", ())

    @classmethod
    def from_json(cls, name: str, fields: Mapping[str, Any]) -> Self:
        bins = fields.get(KINDS_KEY, {}).get(name, {}).get("bins")
        return cls(name, tuple(fields["tokens"][name]), fields["lengths"][name], bins)


def _counts(raw: RawColumn) -> Counter[str]:
    """Returns how often the training rows have each word."""
    counts: Counter[str] = Counter()
    for texts in raw.training_blocks():
        for text in texts:
            # as bytes, Python splits at ASCII's white space alone, which is where TensorFlow splits
            counts.update(word.decode() for word in text.encode().split())
    return counts
