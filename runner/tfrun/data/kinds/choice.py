"""Chooses the kind of a column, and lets it learn from the training rows."""

from __future__ import annotations

from tfrun.config.settings import HashEncoding, TextEncoding, TokensEncoding
from tfrun.data.kinds.array import ArrayColumn
from tfrun.data.kinds.category import CategoryColumn
from tfrun.data.kinds.hashed import HashedColumn
from tfrun.data.kinds.number import NumberColumn
from tfrun.data.kinds.raw import RawColumn
from tfrun.data.kinds.tokens import TokensColumn

Column = NumberColumn | CategoryColumn | HashedColumn | TokensColumn | ArrayColumn
KINDS: tuple[type[Column], ...] = (NumberColumn, CategoryColumn, HashedColumn, TokensColumn, ArrayColumn)


def fit_column(raw: RawColumn, *, encoding: TextEncoding | None = None, exact: bool = True) -> Column:
    """Learns a column from the training rows; its kind follows from its type, and that of texts from `encoding`.

    Args:
        raw: its cells.
        encoding: how texts become ids; None gives each text its own.
        exact: False for a run of an earlier version, see `NumberInput`.

    Raises:
        DataError: the training rows have no value.
    """
    if raw.cells.ndim > 1:
        return ArrayColumn.fit(raw)
    if not raw.is_text:
        return NumberColumn.fit(raw, exact=exact)
    if isinstance(encoding, HashEncoding):
        return HashedColumn.fit(raw, bins=encoding.bins)
    if isinstance(encoding, TokensEncoding):
        return TokensColumn.fit(raw, length=encoding.length, max_ids=encoding.max_ids)
    return CategoryColumn.fit(raw, max_ids=None if encoding is None else encoding.max_ids)
