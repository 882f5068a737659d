"""The section `data` of a checked config, as frozen dataclasses.

As in `config.settings`, annotations are read as source text, so they have to be literal.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Le, Lt

from tfrun.config.column_kinds import (
    TEXT_KINDS,
    CategoryKind,
    ColumnKind,
    HashedKind,
    TokensKind,
    kinds_to_dict,
)
from tfrun.config.component_settings import ComponentSettings


@dataclass(frozen=True)
class VocabularyEncoding:
    """A text column whose values get ids by frequency."""

    name: ClassVar[str] = "vocabulary"
    max_ids: Annotated[int, Ge(1)] | None = None

    @property
    def kind(self) -> CategoryKind:
        """The kind of column that `data.kinds` would name."""
        return CategoryKind(self.max_ids)


@dataclass(frozen=True)
class HashEncoding:
    """A text column whose values get ids by a hash function."""

    name: ClassVar[str] = "hash"
    bins: Annotated[int, Ge(1), Lt(2_147_483_648)] = 1000

    @property
    def kind(self) -> HashedKind:
        """The kind of column that `data.kinds` would name."""
        return HashedKind(self.bins)


@dataclass(frozen=True)
class TokensEncoding:
    """A column of texts whose words get ids by frequency, by a hash function or from a tokenizer, see `TokensKind`."""

    name: ClassVar[str] = "tokens"
    length: Annotated[int, Ge(1)] = 32
    max_ids: Annotated[int, Ge(1)] | None = 10000
    bins: Annotated[int, Ge(1), Lt(2_147_483_648)] | None = None
    tokenizer: str | None = None

    @property
    def kind(self) -> TokensKind:
        """The kind of column that `data.kinds` would name."""
        return TokensKind(self.length, self.max_ids, self.bins, self.tokenizer)


TextEncoding = VocabularyEncoding | HashEncoding | TokensEncoding
TEXT_ENCODINGS = {kind.name: kind for kind in (VocabularyEncoding, HashEncoding, TokensEncoding)}


@dataclass(frozen=True)
class SplitSettings:
    """The rule that splits the rows.

    Attributes:
        by: the rule; "auto" is stratified for classification and random for regression.
        column: the column that the rules `group`, `time` and `column` go by.
    """

    by: Literal["auto", "random", "stratified", "group", "time", "column"] = "auto"
    column: str | None = None


@dataclass(frozen=True)
class WindowSettings:
    """The windows of a series: the rows before predict those after.

    Attributes:
        length: the number of rows that a model sees.
        horizon: the number of rows after them whose target it predicts.
        by: the column that tells series apart; None if all rows are one.
        time: the column that orders the rows of a series; None is their order in the source.
        stride: the number of rows from one window's first row to that of the next.
    """

    length: Annotated[int, Ge(1)]
    horizon: Annotated[int, Ge(1)]
    by: str | None = None
    time: str | None = None
    stride: Annotated[int, Ge(1)] = 1


@dataclass(frozen=True)
class AugmentationSettings(ComponentSettings):
    """An augmentation, and the column that it changes; None means all columns that it can change."""

    column: str | None


@dataclass(frozen=True)
class DataSettings(ComponentSettings):
    """The data set, how its rows are split and how its columns are encoded.

    Attributes:
        validation_path, test_path: files of the data set with the validation and the test rows; None cuts them from
            the rows of `path`.
        folds: the number of folds of a cross-validation; None has none.
        fold: which fold validates this run, counted on over the repeats: 0 to `folds * folds_repeats - 1`.
        folds_repeats: how often the rows are divided into folds anew.
    """

    batch_size: Annotated[int, Ge(1)]
    validation_split: Annotated[float, Ge(0), Lt(1)]
    test_split: Annotated[float, Ge(0), Lt(1)]
    split_seed: Annotated[int, Ge(0), Le(4294967295)]
    target_scaling: Literal["standard", "none"]
    residency: Literal["auto", "device", "stream"]
    limit_rows: Annotated[int, Ge(1)] | None
    sample_weight: str | None
    missing_target: Literal["error", "drop"]
    text: dict[str, Any]
    kinds: dict[str, Any] = dataclasses.field(default_factory=dict)
    keep_samples: bool = True
    cache: Literal["auto", "off"] = "auto"
    split: SplitSettings = SplitSettings()
    validation_path: str | list[str] | None = None
    test_path: str | list[str] | None = None
    augment: list[Any] = dataclasses.field(default_factory=list)
    window: WindowSettings | None = None
    class_weight: Literal["balanced"] | dict[str, Any] | None = None
    folds: Annotated[int, Ge(2)] | None = None
    fold: Annotated[int, Ge(0)] | None = None
    folds_repeats: Annotated[int, Ge(1)] = 1

    @property
    def text_columns(self) -> list[str]:
        """The columns of numbers that are names of something, if the data set has such a parameter."""
        return self.params.get("text_columns") or []

    @property
    def column_kinds(self) -> dict[str, ColumnKind]:
        """The kind of each column that `data.kinds`, `data.text` or `data.text_columns` name."""
        of_text = {column: encoding.kind for column, encoding in self.text.items()}
        return {**dict.fromkeys(self.text_columns, CategoryKind()), **of_text, **self.kinds}

    @property
    def text_encodings(self) -> dict[str, dict[str, Any]]:
        """The encoding of each text column that `data.text` or `data.kinds` names, as plain containers."""
        of_kinds = {column: kind for column, kind in self.kinds.items() if isinstance(kind, TEXT_KINDS)}
        return kinds_to_dict(self.text | of_kinds)

    def to_dict(self) -> dict[str, Any]:
        columns = {"text": kinds_to_dict(self.text), "kinds": kinds_to_dict(self.kinds)}
        augment = [augmentation.to_dict() for augmentation in self.augment]
        window = None if self.window is None else dataclasses.asdict(self.window)
        others = {"split": dataclasses.asdict(self.split), "window": window, "augment": augment}
        return super().to_dict() | columns | others
