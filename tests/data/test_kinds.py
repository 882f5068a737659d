"""What each kind of column learns from the training rows, computed by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfrun.config.column_kinds import COLUMN_KINDS
from tfrun.config.data_settings import HashEncoding, TextEncoding, TokensEncoding, VocabularyEncoding
from tfrun.data.arrays import StoredArray
from tfrun.data.kinds import (
    KINDS,
    KINDS_KEY,
    ArrayColumn,
    CategoryColumn,
    Column,
    HashedColumn,
    NumberColumn,
    RawColumn,
    TokensColumn,
    fit_column,
)
from tfrun.data.kinds.inputs import EPSILON
from tfrun.errors import DataError

TRAIN = np.arange(6)
NUMBERS = np.array([1.0, 2.0, np.nan, 4.0, 5.0, 9.0, 1e6, np.nan])
CITIES = np.array(["b", "a", "", "b", "c", "b", "x", "x"], dtype=object)
REVIEWS = np.array(["b a b", "a", "", "c  b", "a\ta b", "b", "z a", "y"], dtype=object)
COLUMNS: list[Column] = [
    NumberColumn("size", 4.0, 25 / 6, 6.5, (-1.25, 0.5)),
    CategoryColumn("city", ("b", "ä")),
    HashedColumn("street", 7),
    TokensColumn("review", ("b", "a", "c"), 5),
    ArrayColumn("image", (8, 6)),
]


def fit(cells: np.ndarray, encoding: TextEncoding | None = None) -> Any:
    return fit_column(RawColumn("own", cells, TRAIN, "homes.csv"), None if encoding is None else encoding.kind)


def test_numbers_have_a_median_and_with_it_in_the_empty_cells_a_mean_and_a_variance() -> None:
    column = fit(NUMBERS)
    # the median of 1 2 4 5 9 is 4, and the mean of 1 2 4 4 5 9 is 25/6
    filled = np.array([1, 2, 4, 4, 5, 9])
    assert (column.name, column.median) == ("own", 4.0)
    assert column.mean == pytest.approx(25 / 6)
    assert column.variance == pytest.approx(np.sum((filled - 25 / 6) ** 2) / 6)


def test_deciles_are_standardized_and_different() -> None:
    # of 0 10 20 … 100 they are 10 … 90; the mean is 50, and the variance 1000
    column = fit_column(RawColumn("own", np.arange(0.0, 101.0, 10.0), np.arange(11), "homes.csv"))
    assert isinstance(column, NumberColumn)
    np.testing.assert_allclose(column.deciles, (np.arange(10, 91, 10) - 50) / np.sqrt(1000))
    # of 1 2 4 4 5 9 they are 1.5 2 3 4 4 4 4.5 5 7
    assert len(fit(NUMBERS).deciles) == 7


def test_the_deciles_of_a_constant_are_one_zero() -> None:
    assert fit(np.full(8, 3.0)).deciles == (0.0,)


# mean, standard deviation: whether float32 has the digits and the range to standardize such numbers
NEEDS_FLOAT64 = [
    (0.0, 1.0, False),
    (2000.0, 10.0, False),  # years
    (293.0, 3.0, False),  # degrees Kelvin
    (1.7e9, 173.0, True),  # seconds since 1970
    (-1.7e9, 173.0, True),
    (48.137, 0.01, True),  # degrees of latitude in one town
    (5e-7, 1e-8, True),  # metres: Keras divides by 1e-7 at least
    (0.0, 1e20, True),  # the variance is infinite in float32
    (1.7e9, 0.0, False),  # a constant has nothing to be divided by
    (1e39, 0.0, True),  # infinite in float32
    (0.1, 1e-17, False),  # a constant, the rest is rounding
]


@pytest.mark.parametrize(("mean", "deviation", "needs_float64"), NEEDS_FLOAT64)
def test_numbers_far_from_0_need_float64(mean: float, deviation: float, needs_float64: bool) -> None:
    column = NumberColumn("own", mean, mean, deviation**2, ())
    assert column.needs_float64 is needs_float64
    assert column.raw_type("float32").startswith("float64" if needs_float64 else "float32")
    assert column.raw_dtype("float64") == "float64"
    assert not replace(column, exact=False).needs_float64  # a run of an earlier version


def test_a_constant_is_divided_by_1_and_small_numbers_by_their_own_deviation() -> None:
    assert NumberColumn("own", 0.1, 0.1, 1e-34, ()).divisor == 1.0
    assert NumberColumn("own", 0.0, 0.0, 1e-24, ()).divisor == pytest.approx(1e-12)
    assert NumberColumn("own", 0.0, 0.0, 1e-24, (), exact=False).divisor == EPSILON


def test_fitting_leaves_the_cells_as_they_are() -> None:
    cells = NUMBERS.copy()
    fit(cells)
    np.testing.assert_array_equal(cells, NUMBERS)


def test_values_are_ranked_by_frequency_and_then_by_name() -> None:
    column = fit(CITIES)
    assert column == CategoryColumn("own", ("b", "a", "c"))  # an empty cell is no value
    assert column.num_ids == 4  # with 0


def test_the_number_of_ids_can_be_limited() -> None:
    assert fit(CITIES, VocabularyEncoding(max_ids=1)) == CategoryColumn("own", ("b",))


def test_a_hashed_column_learns_nothing() -> None:
    column = fit(np.full(8, "", dtype=object), HashEncoding(bins=4))
    assert column == HashedColumn("own", 4)
    assert column.num_ids == 5  # with 0


def test_words_are_ranked_like_values() -> None:
    column = fit(REVIEWS, TokensEncoding(length=3, max_ids=2))
    # in the training rows b is there 5 times, a 4 times, and c once, which is cut off
    assert column == TokensColumn("own", ("b", "a"), 3)
    assert column.num_ids == 4  # with 0 and 1


def test_words_end_at_ascii_white_space_alone() -> None:
    cells = np.array(["a\u00a0b c\nd"] * 6, dtype=object)
    assert fit(cells, TokensEncoding(length=3)).words == ("a\u00a0b", "c", "d")


def test_an_array_column_keeps_its_shape() -> None:
    assert fit(np.zeros((8, 3, 2), "uint8")) == ArrayColumn("own", (3, 2))


@pytest.mark.parametrize(
    ("cells", "encoding"),
    [
        (np.array([np.nan] * 6 + [1.0, 2.0]), None),
        (np.array([""] * 6 + ["a", "b"], dtype=object), None),
        (np.array([" "] * 6 + ["a", "b"], dtype=object), TokensEncoding()),
    ],
    ids=["number", "category", "tokens"],
)
def test_a_column_without_a_value_in_the_training_rows_is_an_error(
    cells: np.ndarray, encoding: TextEncoding | None
) -> None:
    with pytest.raises(DataError, match=r"^homes.csv: column 'own' has no value .*by data.exclude=\[own\]$"):
        fit(cells, encoding)


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.name)
def test_a_column_is_read_from_the_json_that_it_gives(column: Column) -> None:
    written = column.to_json()
    assert tuple(written) == type(column).json_keys
    fields = {key: {"another": None, column.name: value} for key, value in written.items()}
    assert type(column).from_json(column.name, fields | {"exact_offsets": True}) == column


def test_the_kinds_are_told_apart_by_their_json() -> None:
    keys = [key for kind in KINDS for key in kind.json_keys if key != KINDS_KEY]
    assert len(set(keys)) == len(keys)
    names = [kind.kind.name for kind in KINDS]
    assert len(set(names)) == len(names) and set(names) == set(COLUMN_KINDS)


def test_numbers_must_stay_numbers() -> None:
    column = COLUMNS[0]
    assert isinstance(column, NumberColumn)
    (encoded,) = column.encode(np.array([1.5, np.nan]), "float32", source="more.csv")
    assert encoded.dtype == np.float32
    np.testing.assert_array_equal(encoded, [1.5, np.nan])
    with pytest.raises(DataError, match="more.csv: column 'size' must hold numbers, as it did in training"):
        column.encode(CITIES, "float32", source="more.csv")


def test_an_array_in_memory_is_converted_and_one_on_disk_stays_there(tmp_path: Path) -> None:
    column = ArrayColumn("image", (2,))
    encoded = column.encode(np.array([[1, 2], [3, 4]], "uint8"), "float32")
    assert (encoded.dtype, encoded[:].tolist()) == (np.float32, [[1.0, 2.0], [3.0, 4.0]])
    np.arange(4, dtype="uint8").tofile(tmp_path / "cells")
    stored = StoredArray(str(tmp_path / "cells"), 0, shape=(2, 2), dtype="uint8")
    assert column.encode(stored, "float32") is stored


@pytest.mark.parametrize(
    ("column", "cells", "raw", "kind"),
    [
        (COLUMNS[0], [1.5, 2.0], np.array([[1.5], [2.0]], "float32"), "float32 (batch, 1), nan for empty"),
        (COLUMNS[1], ["a", ""], np.array([["a"], [""]]), 'string (batch, 1), "" for empty'),
        (COLUMNS[2], ["a", ""], np.array([["a"], [""]]), 'string (batch, 1), "" for empty'),
        (COLUMNS[3], ["a b", ""], np.array([["a b"], [""]]), 'string (batch, 1), "" for empty'),
        (COLUMNS[4], np.ones((1, 8, 6), "uint8"), np.ones((1, 8, 6), "float32"), "float32 (batch, 8, 6)"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_raw_cells_as_an_exported_model_takes_them(column: Column, cells: Any, raw: np.ndarray, kind: str) -> None:
    own = column.raw(np.array(cells, dtype=object if column.is_text else None), "float32")
    assert (own.dtype, own.tolist()) == (raw.dtype, raw.tolist())
    assert own.shape[1:] == column.raw_shape
    assert column.raw_type("float32") == kind
