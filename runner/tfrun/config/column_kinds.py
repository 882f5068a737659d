"""The kinds that `data.kinds` can choose for a column, with their options: types, ranges and defaults.

As in `config.settings`, annotations are read as source text, so they have to be literal. What a kind learns from a
column is in `tfrun.data.kinds`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Lt

from tfrun.config.date_formats import DateFormat
from tfrun.errors import ConfigError


@dataclass(frozen=True)
class NumberKind:
    """Numbers, standardized.

    Attributes:
        impute: what an empty cell becomes: the median or the mean of the training rows, or a number.
        indicator: whether the model gets a further input that is 1 where the cell is empty and 0 elsewhere.
        scale: standard divides the distance from the mean by the standard deviation; robust that from the median by
            the range of the middle half; quantile gives the share of training rows below, spread evenly with mean 0
            and deviation 1; none leaves the numbers as they are.
    """

    name: ClassVar[str] = "number"
    impute: Literal["median", "mean"] | float = "median"
    indicator: bool = False
    scale: Literal["standard", "robust", "quantile", "none"] = "standard"


@dataclass(frozen=True)
class BooleanKind:
    """Yes or no: true, yes, t and 1, or false, no, f and 0; 1 or 0 for the model."""

    name: ClassVar[str] = "boolean"


@dataclass(frozen=True)
class CategoryKind:
    """Texts, each with an id.

    Attributes:
        max_ids: keep only the most frequent texts; the others are together with the unknown ones.
        min_count: keep only texts that at least this number of training rows have.
    """

    name: ClassVar[str] = "category"
    max_ids: Annotated[int, Ge(1)] | None = None
    min_count: Annotated[int, Ge(1)] = 1


@dataclass(frozen=True)
class OrderedKind:
    """Texts that have an order: the place of each is a number, standardized.

    Attributes:
        values: all of them, from the lowest to the highest.
    """

    name: ClassVar[str] = "ordered"
    values: list[str | int | float]


@dataclass(frozen=True)
class HashedKind:
    """Texts with ids by a hash function, so that unknown ones have ids too.

    Attributes:
        bins: the number of ids.
    """

    name: ClassVar[str] = "hashed"
    bins: Annotated[int, Ge(1), Lt(2_147_483_648)] = 1000


@dataclass(frozen=True)
class TokensKind:
    """Texts of several words, or lists of ids, each with an id, in their order.

    Attributes:
        length: the number of words to keep.
        max_ids: keep only the most frequent words.
        bins: the number of ids, if they come from a hash function; no words are kept then.
        tokenizer: a preset of KerasHub whose tokenizer splits the texts, a folder or a name; `length` then counts
            tokens, with those that stand for the start and the end of a text.
    """

    name: ClassVar[str] = "tokens"
    length: Annotated[int, Ge(1)] = 32
    max_ids: Annotated[int, Ge(1)] | None = 10000
    bins: Annotated[int, Ge(1), Lt(2_147_483_648)] | None = None
    tokenizer: str | None = None


@dataclass(frozen=True)
class DateKind:
    """Dates and times: the time that has passed, standardized, and the time of the year, of the week and of the day.

    Attributes:
        format: as in Python's `strptime`; None is ISO 8601.
    """

    name: ClassVar[str] = "date"
    format: str | None = None


@dataclass(frozen=True)
class ArrayKind:
    """Arrays of numbers, which the model gets as they are."""

    name: ClassVar[str] = "array"


@dataclass(frozen=True)
class ImageKind:
    """Arrays of pixels.

    Attributes:
        scale: unit brings pixels to 0 … 1; imagenet then takes off ImageNet's mean colour and divides by its deviation;
            none leaves them as they are.
    """

    name: ClassVar[str] = "image"
    scale: Literal["none", "unit", "imagenet"] = "unit"


ColumnKind = (
    NumberKind | BooleanKind | CategoryKind | OrderedKind | HashedKind | TokensKind | DateKind | ArrayKind | ImageKind
)
COLUMN_KINDS: dict[str, type[ColumnKind]] = {
    kind.name: kind
    for kind in (
        NumberKind,
        BooleanKind,
        CategoryKind,
        OrderedKind,
        HashedKind,
        TokensKind,
        DateKind,
        ArrayKind,
        ImageKind,
    )
}
INTEGER_KINDS = (CategoryKind.name, HashedKind.name, "vocabulary", "hash")  # whose whole numbers stay integers
TEXT_KINDS = (CategoryKind, OrderedKind, HashedKind, TokensKind, DateKind)  # their cells are read as texts


def kinds_to_dict(kinds: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Returns what a config says of columns, kinds or encodings, as plain containers."""
    return {column: {"name": kind.name, **dataclasses.asdict(kind)} for column, kind in kinds.items()}


def check_kind(where: str, kind: ColumnKind) -> None:
    """Raises ConfigError for what no option shows by its type; `where` is the kind's config path."""
    if isinstance(kind, DateKind) and kind.format is not None:
        DateFormat.parse(kind.format, where=f"{where}.format")
    if isinstance(kind, TokensKind):
        check_tokens(where, kind)
    if isinstance(kind, OrderedKind) and (len(kind.values) < 2 or len(set(map(str, kind.values))) < len(kind.values)):
        raise ConfigError(f"{where}.values: must be two or more different values. Received: {kind.values}")


def check_tokens(where: str, kind: TokensKind) -> None:
    """Raises ConfigError if ids are to come from two sources; `where` is the config path of the column."""
    if kind.tokenizer is not None and (kind.bins is not None or kind.max_ids not in (None, TokensKind.max_ids)):
        raise ConfigError(f"{where}: must have a tokenizer, which has its own ids, or bins or max_ids, not both")
    if kind.bins is not None and kind.max_ids not in (None, TokensKind.max_ids):
        received = f"bins {kind.bins}, max_ids {kind.max_ids}"
        raise ConfigError(f"{where}: must have bins, which hash words, or max_ids, not both. Received: {received}")
