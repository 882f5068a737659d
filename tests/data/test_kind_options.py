"""The kinds and options that `data.kinds` can choose: what they learn and what a model gets, computed by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tfrun.config.column_kinds import (
    ArrayKind,
    BooleanKind,
    CategoryKind,
    ColumnKind,
    DateKind,
    HashedKind,
    ImageKind,
    NumberKind,
    OrderedKind,
    TokensKind,
)
from tfrun.data import layers
from tfrun.data.arrays import StoredArray
from tfrun.data.encode import encode
from tfrun.data.kinds import CategoryColumn, DateColumn, NumberInput, RawColumn, fit_column
from tfrun.data.kinds.image import ScaledArray
from tfrun.data.preprocessing import Preprocessing, fit
from tfrun.data.samples import Samples
from tfrun.data.table import Table
from tfrun.data.unseen import describe_unseen, unseen_rows
from tfrun.errors import DataError

TRAIN = np.arange(6)
AGES = np.array([1.0, 2.0, np.nan, 4.0, 5.0, 9.0, 100.0, np.nan, 0.0, -3.0])


def text(*cells: str) -> np.ndarray:
    return np.array(cells, dtype=object)


ANSWERS = text("yes", "No", "t", "", "TRUE", "0", "false", "f", "1", "")
SIZES = text("low", "high", "mid", "", "low", "high", "mid", "mid", "", "low")
DAYS = text("2024-01-31", "2024-02-01", "", "2024-02-29", "2024-03-01", "2024-12-31", *["2025-01-01"] * 4)
KINDS: dict[str, tuple[np.ndarray, ColumnKind]] = {
    "age": (AGES, NumberKind(impute="mean", indicator=True, scale="quantile")),
    "weight": (AGES, NumberKind(scale="robust")),
    "member": (ANSWERS, BooleanKind()),
    "flag": (np.array([0.0, 1.0, 1.0, np.nan, 0.0, 1.0, 1.0, 0.0, np.nan, 1.0]), BooleanKind()),
    "size": (SIZES, OrderedKind(["low", "mid", "high"])),
    "day": (DAYS, DateKind()),
    "when": (text(*[f"{k + 1}.12.2024 {k}:30" for k in range(10)]), DateKind("%d.%m.%Y %H:%M")),
    "city": (text(*"bababaxxxx"), CategoryKind(min_count=2)),
    "street": (text(*"bababaxxxx"), HashedKind(bins=5)),
    "note": (text(*["b a"] * 10), TokensKind(length=3)),
    "photo": (np.full((10, 2, 2, 3), 255, "uint8"), ImageKind(scale="imagenet")),
    "matrix": (np.ones((10, 2)), ArrayKind()),
}


def learnt(cells: np.ndarray, kind: ColumnKind | None) -> Any:
    raw = RawColumn("own", cells, TRAIN, "homes.csv", lambda row, name: (f"homes.csv:{row + 2}", None))
    return fit_column(raw, kind)


def inputs_of(cells: np.ndarray, kind: ColumnKind) -> dict[str, np.ndarray]:
    """Returns what a model gets of a numeric column, by name."""
    column = learnt(cells, kind)
    model = layers.numbers_model(column.inputs)
    raw = np.stack(column.encode(cells, "float32", source=""), axis=1)
    return dict(zip([number.name for number in column.inputs], np.asarray(model(raw)).T, strict=True))


@pytest.fixture
def table(homes: Callable[..., Table]) -> Callable[[], Table]:
    """Makes a table with a column of each kind."""
    return lambda: homes(columns={name: cells.copy() for name, (cells, _) in KINDS.items()})


@pytest.fixture
def fitted(table: Callable[[], Table], train: np.ndarray) -> Preprocessing:
    return fit(table(), train, scale_target=True, kinds={name: kind for name, (_, kind) in KINDS.items()})


# --- numbers. The training rows are 1 2 nan 4 5 9.


@pytest.mark.parametrize(("impute", "filled"), [("median", 4.0), ("mean", 4.2), (7.0, 7.0)])
def test_an_empty_number_becomes_what_the_config_says(impute: Any, filled: float) -> None:
    column = learnt(AGES, NumberKind(impute=impute))
    cells = np.array([1, 2, filled, 4, 5, 9])
    assert column.median == pytest.approx(filled)
    assert (column.mean, column.variance) == (pytest.approx(cells.mean()), pytest.approx(cells.var()))
    own = inputs_of(AGES, NumberKind(impute=impute))["own"]
    np.testing.assert_allclose(own[[2, 7]], (filled - cells.mean()) / cells.std(), rtol=1e-5)


def test_an_indicator_says_which_numbers_are_empty() -> None:
    inputs = inputs_of(AGES, NumberKind(indicator=True))
    assert list(inputs) == ["own", "own:missing"]
    assert inputs["own:missing"].tolist() == [0, 0, 1, 0, 0, 0, 0, 1, 0, 0]
    (_, indicator) = learnt(AGES, NumberKind(indicator=True)).inputs
    assert indicator == NumberInput("own:missing", 0.0, 0.0, 1.0, (0.5,))


def test_robust_scaling_goes_by_the_middle_half() -> None:
    # of 1 2 4 4 5 9 the quartiles are 2.5, 4 and 4.75
    own = inputs_of(AGES, NumberKind(scale="robust"))["own"]
    np.testing.assert_allclose(own, (np.where(np.isnan(AGES), 4, AGES) - 4) / 2.25, rtol=1e-6)
    flat = inputs_of(np.array([3.0] * 5 + [8.0] * 5), NumberKind(scale="robust"))["own"]
    assert flat.tolist() == [0.0] * 5 + [5.0] * 5  # the middle half is one number


def test_without_scaling_numbers_stay_as_they_are() -> None:
    own = inputs_of(AGES, NumberKind(scale="none", impute=-1.0))["own"]
    assert own.tolist() == np.where(np.isnan(AGES), -1, AGES).tolist()


def test_quantiles_are_spread_evenly() -> None:
    cells = np.concatenate([np.arange(101.0) ** 2, [-5.0, 0.25, 1e6]])  # the percentiles of the training rows are k²
    column = fit_column(RawColumn("own", cells, np.arange(101), "homes.csv"), NumberKind(scale="quantile"))
    assert isinstance(column, NumberInput)
    own = np.asarray(layers.numbers_model([column])(cells[:, None].astype("float32")))[:, 0]
    shares = np.concatenate([np.arange(101) / 100, [0, 0.0025, 1]])
    np.testing.assert_allclose(own, (shares - 0.5) * np.sqrt(12), atol=2e-6)
    assert own[:101].std() == pytest.approx(1, abs=0.02)
    np.testing.assert_allclose(column.deciles, (np.arange(1, 10) / 10 - 0.5) * np.sqrt(12))


def test_equal_numbers_have_the_mean_of_their_places() -> None:
    # 0 is the first half of the percentiles, 0 to 50 of 100, 1 the rest
    column = learnt(np.array([0.0, 0.0, 0.0, 1.0, 1.0, 1.0]), NumberKind(scale="quantile"))
    places = {x: y / 12**0.5 + 0.5 for x, y in column.quantiles}
    assert places[0.0] == pytest.approx(0.2, abs=0.02) and places[1.0] == pytest.approx(0.8, abs=0.02)
    constant = learnt(np.full(6, 3.0), NumberKind(scale="quantile"))
    assert constant.quantiles == ((3.0, pytest.approx(0, abs=1e-12)),)


def test_quantiles_far_from_0_keep_their_differences() -> None:
    far = np.arange(10.0) + 1.7e9
    column = learnt(far, NumberKind(scale="quantile"))
    assert column.needs_float64
    own = np.asarray(layers.numbers_model([column])(far[:, None]))[:, 0]
    np.testing.assert_allclose(own[:6], (np.arange(6) / 5 - 0.5) * np.sqrt(12), atol=2e-6)
    assert own.dtype == np.float32


# --- booleans, ordered texts, categories


def test_booleans_are_0_and_1_however_they_are_spelt() -> None:
    # four are filled with yes, yes, yes, no, no: an empty one is what most are
    assert inputs_of(ANSWERS, BooleanKind())["own"].tolist() == [1, 0, 1, 1, 1, 0, 0, 0, 1, 1]
    numbers = np.array([0.0, np.nan, 0.0, 1.0, 0.0, 0.0, 1.0])
    assert inputs_of(numbers, BooleanKind())["own"].tolist() == [0, 0, 0, 1, 0, 0, 1]


def test_ordered_texts_are_their_places_standardized() -> None:
    # of 0 2 1 _ 0 2 the median is 1
    places = np.array([0, 2, 1, 1, 0, 2, 1, 1, 1, 0])
    own = inputs_of(SIZES, OrderedKind(["low", "mid", "high"]))["own"]
    np.testing.assert_allclose(own, (places - 1) / places[:6].std(), rtol=1e-6)
    grades = inputs_of(text(*"121333"), OrderedKind([1, 2, 3]))["own"]
    np.testing.assert_allclose(grades, (np.array([0, 1, 0, 2, 2, 2]) - 7 / 6) / np.std([0, 1, 0, 2, 2, 2]), rtol=1e-6)


def test_rare_categories_count_as_unknown() -> None:
    cells = text("b", "b", "a", "a", "c", "", "c", "c")
    assert learnt(cells, CategoryKind(min_count=2)).values == ("a", "b")
    assert learnt(cells, CategoryKind(min_count=2, max_ids=1)).values == ("a",)
    with pytest.raises(DataError, match=r"own\.min_count: no value .* Received: 3; the most frequent one is in 2$"):
        learnt(cells, CategoryKind(min_count=3))


# --- images


def test_images_are_brought_to_0_to_1_by_their_type() -> None:
    for dtype, white in (("uint8", 255), ("uint16", 65535), ("float32", 255.0), ("float32", 1.0), ("bool", True)):
        pixels = np.full((8, 2, 2), white, dtype)
        pixels[0] = 0
        scaled = learnt(pixels, ImageKind()).encode(pixels, "float32")
        assert scaled.dtype == np.float32
        np.testing.assert_allclose(scaled[:2, 0, 0], [0, 1], rtol=1e-6)


def test_images_are_scaled_by_imagenet() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 2, 2, 3), "uint8")
    scaled = learnt(pixels, ImageKind(scale="imagenet")).encode(pixels, "float32")
    expected = (pixels / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(scaled, expected, rtol=1e-5, atol=1e-6)
    assert learnt(pixels, ImageKind(scale="none")).encode(pixels, "float32")[1, 0, 0, 0] == pixels[1, 0, 0, 0]
    with pytest.raises(DataError, match=r"needs red, green and blue, \(height, width, 3\). Received: \(2, 2\)"):
        learnt(pixels[..., 0], ImageKind(scale="imagenet"))
    with pytest.raises(DataError, match=r"images need .* Received: \(12,\)"):
        learnt(pixels.reshape(8, 12), ImageKind())


def test_images_on_disk_are_scaled_when_they_are_read(tmp_path: Path) -> None:
    pixels = np.arange(96, dtype="uint8").reshape(8, 2, 2, 3)
    pixels.tofile(tmp_path / "pixels")
    stored = StoredArray(str(tmp_path / "pixels"), 0, shape=pixels.shape, dtype="uint8")
    column = learnt(pixels, ImageKind())
    scaled, expected = column.encode(stored, "float32"), column.encode(pixels, "float32")
    assert isinstance(scaled, ScaledArray) and (scaled.shape, scaled.dtype) == (pixels.shape, np.float32)
    np.testing.assert_array_equal(scaled[2:5], expected[2:5])
    rows = np.array([7, 0, 3])
    np.testing.assert_array_equal(scaled.take(rows), expected[rows])
    np.testing.assert_array_equal(scaled.select(rows)[:], expected[rows])
    assert scaled.take(rows).ctypes.data % 64 == 0


# --- all kinds together


def test_each_kind_is_read_from_the_file_that_it_gives(fitted: Preprocessing) -> None:
    assert Preprocessing.from_json(fitted.to_json()) == fitted
    assert [column.name for column in fitted.columns] == [*KINDS][:10] + ["matrix", "photo"]


def test_cells_in_an_exported_model_give_what_the_table_gives(
    table: Callable[[], Table], fitted: Preprocessing
) -> None:
    cells = {
        column.name: keras.Input(column.raw_shape, dtype=column.raw_dtype("float32"), name=column.name)
        for column in fitted.columns
    }
    model = keras.Model(cells, layers.encode_tensors(cells, fitted))
    raw = {column.name: column.raw(KINDS[column.name][0], "float32") for column in fitted.columns}
    outputs = model({name: keras.ops.convert_to_tensor(values) for name, values in raw.items()})
    inputs, _ = encode(table(), fitted)
    assert outputs.keys() == inputs.keys() and len(fitted.features.numbers) == inputs["numbers"].shape[1]
    for name, expected in inputs.items():
        np.testing.assert_allclose(outputs[name], expected, rtol=1e-6, atol=1e-6)
        assert np.isfinite(outputs[name]).all()


def test_the_inputs_have_names_for_people(fitted: Preprocessing) -> None:
    assert list(fitted.features.numbers) == [
        *("age", "age:missing", "weight", "member", "flag", "size"),
        *("day:elapsed", "day:year_sin", "day:year_cos", "day:week_sin", "day:week_cos"),
        *("when:elapsed", "when:year_sin", "when:year_cos", "when:week_sin", "when:week_cos"),
        *("when:hour_sin", "when:hour_cos"),
    ]
    assert fitted.trained_columns(None).numbers == ("age", "weight", "flag")
    assert fitted.trained_columns(None).texts == ("member", "size", "day", "when", "city", "street", "note")


def test_an_input_never_has_the_name_of_a_column(homes: Callable[..., Table], train: np.ndarray) -> None:
    columns = {"age": AGES, "age:missing": AGES, "age:missing_": text(*"ababababab")}
    kinds = {"age": NumberKind(indicator=True)}
    fitted = fit(homes(columns=columns), train, scale_target=False, kinds=kinds)
    assert list(fitted.features.numbers) == ["age", "age:missing__", "age:missing"]


def test_stored_rows_fit_each_kind(table: Callable[[], Table], fitted: Preprocessing) -> None:
    nothing = np.arange(0)
    samples = Samples.take(table(), {"test": np.arange(6, 9), "val": nothing, "train": nothing})
    samples.check_fits(fitted.columns)


def test_values_that_a_run_can_not_read_are_counted(table: Callable[[], Table], fitted: Preprocessing) -> None:
    changed = table()
    changed.columns["member"][:2] = "perhaps"
    changed.columns["flag"][0] = 2.0
    changed.columns["size"][9] = "huge"
    changed.columns["day"][:3] = "2024-02-30"
    unseen = {name: int(rows.sum()) for name, rows in unseen_rows(changed, fitted).items()}
    kinds = {"city": CategoryKind(min_count=2)}
    assert list(describe_unseen(unseen, 10, preprocessing=fitted, kinds=kinds)) == [
        "column 'member': 2 of 10 rows have values that are neither true nor false: they count as empty",
        "column 'flag': 1 of 10 rows have values that are neither true nor false: they count as empty",
        "column 'size': 1 of 10 rows have values that data.kinds doesn't list: they count as empty",
        "column 'day': 3 of 10 rows have values that aren't such dates: they count as empty",
        "column 'city': 4 of 10 rows have values that aren't among the most frequent of the training rows: "
        "they count as empty",
    ]
    inputs, _ = encode(changed, fitted)
    assert np.isfinite(inputs["numbers"]).all()
    names = list(fitted.features.numbers)
    assert inputs["numbers"][0, names.index("member")] == 1  # as an empty one


WRONG: list[tuple[np.ndarray, ColumnKind, str]] = [
    (text("1", "x", "y", *"aaaaaaa"), NumberKind(), r"homes.csv:2, column 'own': .*needs numbers. Received: '1'"),
    (np.ones((10, 2)), NumberKind(), r"kind number needs numbers. Received: arrays \(2,\)"),
    (AGES, CategoryKind(), "kind category needs texts. Received: numbers"),
    (np.ones((10, 2)), BooleanKind(), "kind boolean needs texts or numbers. Received: arrays"),
    (AGES, ImageKind(), "kind image needs arrays. Received: numbers"),
    (SIZES, ArrayKind(), "kind array needs arrays. Received: texts"),
    (text("yes", "", "maybe"), BooleanKind(), r"homes.csv:4, column 'own': must be true or false .*Received: 'maybe'"),
    (np.array([0.0, 3.0]), BooleanKind(), r"homes.csv:3, .*true or false \(1, 0\). Received: 3.0"),
    (SIZES, OrderedKind(["low", "hgh", "mid"]), r"homes.csv:3, .*'high' \(2 such cells\). Did you mean 'hgh'\?"),
    (text("2024-01-31", "31.1.2024"), DateKind(), r"homes.csv:3, column 'own': must be an ISO date .*'31.1.2024'"),
    (text("31.1.2024", "30.2.2024"), DateKind("%d.%m.%Y"), r"must be a date '%d.%m.%Y'. Received: '30.2.2024'"),
    (text(*[""] * 10), DateKind(), "has no value in the training rows"),
    (text(*[""] * 10), OrderedKind(["a", "b"]), "has no value in the training rows"),
    (text(*[""] * 10), BooleanKind(), "has no value in the training rows"),
]


@pytest.mark.parametrize(("cells", "kind", "message"), WRONG)
def test_cells_that_a_kind_can_not_take_are_named_with_their_place(
    cells: np.ndarray, kind: ColumnKind, message: str
) -> None:
    cells = np.concatenate([cells, cells[: max(0, 10 - len(cells))], cells, cells, cells, cells, cells])[:10]
    with pytest.raises(DataError, match=message):
        learnt(cells, kind)


def test_kinds_are_guessed_from_cells() -> None:
    names = [type(learnt(cells, None)).__name__ for cells in (AGES, SIZES, DAYS, np.ones((10, 2, 2)))]
    assert names == ["NumberColumn", "CategoryColumn", "DateColumn", "ArrayColumn"]
    almost = DAYS.copy()
    almost[9] = "soon"
    assert type(learnt(almost, None)).__name__ == "CategoryColumn"


def test_dates_are_categories_in_runs_that_began_before_there_were_dates(
    homes: Callable[..., Table], train: np.ndarray
) -> None:
    table = homes(columns={"day": DAYS})
    now, earlier = (fit(table, train, scale_target=False, guesses_dates=guesses) for guesses in (True, False))
    assert isinstance(now.columns[0], DateColumn)
    assert earlier.columns == (CategoryColumn("day", tuple(sorted(set(DAYS[:6]) - {""}))),)
