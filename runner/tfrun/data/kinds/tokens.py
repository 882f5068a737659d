"""The kind of column `tokens`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

from tfrun.config.column_kinds import TokensKind
from tfrun.data.bags import Bags
from tfrun.data.kinds.raw import KINDS_KEY, RawColumn
from tfrun.data.kinds.texts import TextColumn, most_frequent
from tfrun.errors import ConfigError
from tfrun.files.presets import Preset, TokenizerFacts


@dataclass(frozen=True)
class TokensColumn(TextColumn):
    """Texts of several words, or lists of ids, each word with an id. `inputs[name]`; 0 is padding.

    With a tokenizer, a token's id is the tokenizer's id plus 1.

    Attributes:
        words: those that have ids from 2 on, the most frequent first; 1 stands for unseen.
        length: the number of words that each text is cut or padded to.
        bins: if the ids come from a hash function, the number of ids, from 1 on, that all words share; there are no
            `words` then, and none is unseen.
        tokenizer: the tokenizer that the ids come from, or None; there are no `words` with one.
    """

    name: str
    words: tuple[str, ...]
    length: int
    bins: int | None = None
    tokenizer: TokenizerFacts | None = None

    kind: ClassVar[Any] = TokensKind
    json_keys: ClassVar = ("tokens", "lengths")

    @classmethod
    def fit(cls, raw: RawColumn, kind: TokensKind) -> Self:
        """Learns the words of the training rows, unless their ids come from a hash function or a tokenizer.

        Raises:
            DataError: there are no words.
            ConfigError: the tokenizer can't be used.
        """
        is_bags = isinstance(raw.cells, Bags)
        if kind.tokenizer is not None:
            where = f"data: the tokenizer of column {raw.name!r}"
            if is_bags:
                raise ConfigError(f"{where}: splits texts. Received: {raw.source}, a column of lists")
            facts = TokenizerFacts.of(Preset.of(kind.tokenizer, where=where))
            return cls(raw.name, (), kind.length, tokenizer=facts)
        if kind.bins is not None:
            return cls(raw.name, (), kind.length, kind.bins)
        counts = raw.cells.most_frequent(raw.rows, kind.max_ids) if is_bags else _counts(raw)
        return cls(raw.name, most_frequent(counts, kind.max_ids, raw=raw), kind.length)

    @property
    def num_ids(self) -> int:
        if self.tokenizer is not None:
            return self.tokenizer.num_tokens + 1
        return len(self.words) + 2 if self.bins is None else self.bins + 1

    def to_json(self) -> dict[str, Any]:
        """Returns what it has learnt, by the keys of `preprocessing.json`; bins and tokenizer only if there are any."""
        learnt: dict[str, Any] = {"tokens": list(self.words), "lengths": self.length}
        if self.tokenizer is not None:
            return {**learnt, KINDS_KEY: {"name": self.kind.name, "tokenizer": asdict(self.tokenizer)}}
        return learnt if self.bins is None else {**learnt, KINDS_KEY: {"name": self.kind.name, "bins": self.bins}}

    @classmethod
    def names_in(cls, fields: Mapping[str, Any]) -> Iterable[str]:
        """Returns the names of the columns of this kind in `preprocessing.json`."""
        return fields.get("tokens", ())

    @classmethod
    def from_json(cls, name: str, fields: Mapping[str, Any]) -> Self:
        more = fields.get(KINDS_KEY, {}).get(name, {})
        tokenizer = TokenizerFacts(**more["tokenizer"]) if "tokenizer" in more else None
        return cls(name, tuple(fields["tokens"][name]), fields["lengths"][name], more.get("bins"), tokenizer)


def _counts(raw: RawColumn) -> Counter[str]:
    """Returns how often the training rows have each word."""
    counts: Counter[str] = Counter()
    for texts in raw.training_blocks():
        for text in texts:
            # as bytes, Python splits at ASCII's white space alone, which is where TensorFlow splits
            counts.update(word.decode() for word in text.encode().split())
    return counts
