"""The five kinds of columns: what each learns from the training rows, and how that is written to JSON.

`encode.py` turns them into Keras layers and encodes rows with those; nothing here needs TensorFlow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from tfrun.config.settings import HashEncoding, TextEncoding, TokensEncoding
from tfrun.data.arrays import StoredArray, load
from tfrun.data.targets import EXACT_KEY, is_far_from_zero, spread_is_rounding
from tfrun.errors import DataError

EPSILON = 1e-7  # Keras' own, the least standard deviation that its Normalization divides by
MOST_FLOAT32 = 1e38  # cells above it are infinite in float32


@dataclass(frozen=True)
class NumberColumn:
    """Numbers: an empty cell becomes the median, then all are standardized. A column of `inputs["numbers"]`.

    Attributes:
        median: of the cells that aren't empty.
        mean, variance: with the median in the empty cells.
        deciles: inner decile boundaries of the standardized numbers, strictly increasing, at most 9.
        exact: False for a run of an earlier version, which standardized every column in float32.
    """

    name: str
    median: float
    mean: float
    variance: float
    deciles: tuple[float, ...]
    exact: bool = True

    json_keys: ClassVar = ("medians", "means", "variances", "deciles")
    is_text: ClassVar = False
    raw_shape: ClassVar[tuple[int, ...]] = (1,)

    @property
    def standard_deviation(self) -> float:
        return self.variance**0.5

    @property
    def is_constant(self) -> bool:
        """Whether all cells are one number, but for the rounding of float64."""
        return spread_is_rounding(self.mean, self.standard_deviation)

    @property
    def divisor(self) -> float:
        """What the cells' distance from the mean is divided by."""
        if not self.exact:
            return max(self.standard_deviation, EPSILON)
        return 1.0 if self.is_constant else self.standard_deviation

    @property
    def needs_float64(self) -> bool:
        """Whether float32 lacks the digits or the range to standardize the cells in: Unix seconds, for example."""
        if not self.exact:
            return False
        if self.is_constant:
            return abs(self.mean) > MOST_FLOAT32
        # a variance above 1e38 is infinite in float32
        in_range = EPSILON <= self.standard_deviation <= MOST_FLOAT32**0.5
        return not in_range or is_far_from_zero(self.mean, self.standard_deviation)

    def raw_dtype(self, floatx: str) -> str:
        """Returns the type of the cells that an exported model takes; `floatx` is that of the model."""
        return "float64" if self.needs_float64 else floatx

    def raw_type(self, floatx: str) -> str:
        """Returns what an exported model takes, for a person."""
        return f"{self.raw_dtype(floatx)} (batch, 1), nan for empty"

    @classmethod
    def fit(cls, name: str, column: np.ndarray, *, rows: np.ndarray, source: str, exact: bool = True) -> Self:
        """Learns the statistics of the given rows. Raises DataError if all of their cells are empty."""
        cells = column[rows]
        is_empty = np.isnan(cells)
        if is_empty.all():
            raise _no_value(name, source)
        median = float(np.median(cells[~is_empty], overwrite_input=True))
        cells[is_empty] = median
        mean = float(cells.mean())
        variance = float(cells.var())
        edges = np.quantile(cells, np.linspace(0.1, 0.9, 9), overwrite_input=True)
        fitted = cls(name, median, mean, variance, (), exact)
        return replace(fitted, deciles=tuple(sorted(set(((edges - mean) / fitted.divisor).tolist()))))

    def encode(self, cells: np.ndarray, dtype: str, *, source: str) -> np.ndarray:
        """Returns raw cells as numbers, (N,), of the given type or of float64. Raises DataError if they are texts."""
        if cells.dtype == object:
            raise DataError(f"{source}: column {self.name!r} must hold numbers, as it did in training")
        return cells.astype("float64" if self.needs_float64 else dtype)

    def raw(self, cells: Any, floatx: str) -> np.ndarray:
        """Returns raw cells as an exported model takes them, (N, 1)."""
        return np.asarray(cells, self.raw_dtype(floatx))[:, None]

    def to_json(self) -> dict[str, Any]:
        return {
            "medians": self.median,
            "means": self.mean,
            "variances": self.variance,
            "deciles": list(self.deciles),
        }

    @classmethod
    def from_json(cls, name: str, fields: Mapping[str, Any]) -> Self:
        medians, means, variances, deciles = (fields[key][name] for key in cls.json_keys)
        return cls(name, medians, means, variances, tuple(deciles), exact=fields.get(EXACT_KEY, False))


class TextColumn:
    """What columns of texts have in common: an exported model takes strings."""

    name: str

    is_text: ClassVar = True
    raw_shape: ClassVar[tuple[int, ...]] = (1,)

    def raw_dtype(self, floatx: str) -> str:
        """Returns the type of the cells that an exported model takes."""
        return "string"

    def raw_type(self, floatx: str) -> str:
        """Returns what an exported model takes, for a person."""
        return 'string (batch, 1), "" for empty'

    def raw(self, cells: Any, floatx: str) -> np.ndarray:
        """Returns raw cells as an exported model takes them, (N, 1) str."""
        return np.asarray(cells, str)[:, None]


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
    def fit(cls, name: str, column: np.ndarray, *, rows: np.ndarray, source: str, max_ids: int | None = None) -> Self:
        """Learns the texts of the given rows, at most `max_ids`. Raises DataError if all are empty."""
        counts = Counter(column[rows].tolist())
        return cls(name, _most_frequent(counts, max_ids, name=name, source=source))

    @property
    def num_ids(self) -> int:
        return len(self.values) + 1

    def to_json(self) -> dict[str, Any]:
        return {"vocabularies": list(self.values)}

    @classmethod
    def from_json(cls, name: str, fields: Mapping[str, Any]) -> Self:
        return cls(name, tuple(fields["vocabularies"][name]))


@dataclass(frozen=True)
class HashedColumn(TextColumn):
    """Texts whose ids come from a hash function. A column of `inputs["categories"]`; 0 stands for empty.

    Attributes:
        bins: the number of ids, from 1 on, that all texts share.
    """

    name: str
    bins: int

    json_keys: ClassVar = ("bins",)

    @property
    def num_ids(self) -> int:
        return self.bins + 1

    def to_json(self) -> dict[str, Any]:
        return {"bins": self.bins}

    @classmethod
    def from_json(cls, name: str, fields: Mapping[str, Any]) -> Self:
        return cls(name, fields["bins"][name])


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

    json_keys: ClassVar = ("tokens", "lengths")

    @classmethod
    def fit(
        cls, name: str, column: np.ndarray, *, rows: np.ndarray, source: str, length: int, max_ids: int | None = None
    ) -> Self:
        """Learns the words of the given rows, at most `max_ids`. Raises DataError if there are none."""
        counts: Counter[str] = Counter()
        for text in column[rows]:
            # as bytes, Python splits at ASCII's white space alone, which is where TensorFlow splits
            counts.update(word.decode() for word in text.encode().split())
        return cls(name, _most_frequent(counts, max_ids, name=name, source=source), length)

    @property
    def num_ids(self) -> int:
        return len(self.words) + 2

    def to_json(self) -> dict[str, Any]:
        return {"tokens": list(self.words), "lengths": self.length}

    @classmethod
    def from_json(cls, name: str, fields: Mapping[str, Any]) -> Self:
        return cls(name, tuple(fields["tokens"][name]), fields["lengths"][name])


@dataclass(frozen=True)
class ArrayColumn:
    """Arrays, images for example, which a model gets as they are.

    Attributes:
        shape: of one example.
    """

    name: str
    shape: tuple[int, ...]

    json_keys: ClassVar = ("arrays",)
    is_text: ClassVar = False

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
    def from_json(cls, name: str, fields: Mapping[str, Any]) -> Self:
        return cls(name, tuple(fields["arrays"][name]))


Column = NumberColumn | CategoryColumn | HashedColumn | TokensColumn | ArrayColumn
KINDS: tuple[type[Column], ...] = (NumberColumn, CategoryColumn, HashedColumn, TokensColumn, ArrayColumn)


def is_text(column: np.ndarray | StoredArray) -> bool:
    """Returns whether a raw column holds texts."""
    return column.ndim == 1 and column.dtype == object


def fit_column(
    name: str,
    column: Any,
    *,
    rows: np.ndarray,
    source: str,
    encoding: TextEncoding | None = None,
    exact: bool = True,
) -> Column:
    """Learns a column from the training rows; its kind follows from its type, and that of texts from `encoding`.

    Args:
        name: the column's name.
        column: its raw cells, (N,) or (N, ...).
        rows: the numbers of the training rows.
        source: where the rows come from, for messages.
        encoding: how texts become ids; None gives each text its own.
        exact: False for a run of an earlier version, see `NumberColumn`.

    Raises:
        DataError: the training rows have no value.
    """
    if column.ndim > 1:
        return ArrayColumn(name, tuple(column.shape[1:]))
    if not is_text(column):
        return NumberColumn.fit(name, column, rows=rows, source=source, exact=exact)
    if isinstance(encoding, HashEncoding):
        return HashedColumn(name, encoding.bins)
    if isinstance(encoding, TokensEncoding):
        length, max_ids = encoding.length, encoding.max_ids
        return TokensColumn.fit(name, column, rows=rows, source=source, length=length, max_ids=max_ids)
    max_ids = None if encoding is None else encoding.max_ids
    return CategoryColumn.fit(name, column, rows=rows, source=source, max_ids=max_ids)


def _most_frequent(counts: Counter[str], max_ids: int | None, *, name: str, source: str) -> tuple[str, ...]:
    """Returns the texts that aren't empty, the most frequent first, at most `max_ids`."""
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    values = tuple(value for value, _ in ranked if value)[:max_ids]
    if not values:
        raise _no_value(name, source)
    return values


def _no_value(name: str, source: str) -> DataError:
    return DataError(f"{source}: column {name!r} has no value in the training rows; leave it out")
