"""What is learnt from a table's training rows, and the file it is kept in."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from tfrun.config.data_settings import HashEncoding, TextEncoding, TokensEncoding
from tfrun.data.kinds import ArrayColumn, CategoryColumn, HashedColumn, NumberColumn, TokensColumn
from tfrun.data.preprocessing import Preprocessing, fit
from tfrun.data.table import Features, Table, Target, TrainedColumns
from tfrun.data.targets import FittedTarget, TargetScale
from tfrun.data.windows import Window
from tfrun.errors import CheckpointError, DataError

EVERY_KIND = Preprocessing(
    columns=(
        NumberColumn("size", 4.0, 4.5, 2.25, (-1.0, 0.5)),
        NumberColumn("flat", 3.0, 3.0, 0.0, (0.0,)),
        CategoryColumn("city", ("b", "ä")),
        HashedColumn("street", 7),
        TokensColumn("review", ("b", "a", "c"), 5),
        ArrayColumn("image", (8, 6)),
    ),
    targets={
        "output": FittedTarget("classification", ["no", "yes"]),
        "height": FittedTarget("regression", [], 1.5, 2.0),
    },
)
# In one line here; the file has an indent of 1.
WRITTEN = """{"medians": {"size": 4.0, "flat": 3.0}, "means": {"size": 4.5, "flat": 3.0},
 "variances": {"size": 2.25, "flat": 0.0}, "deciles": {"size": [-1.0, 0.5], "flat": [0.0]},
 "vocabularies": {"city": ["b", "\\u00e4"]}, "arrays": {"image": [8, 6]},
 "task": "classification", "classes": ["no", "yes"], "target_mean": 0.0, "target_standard_deviation": 1.0,
 "bins": {"street": 7}, "tokens": {"review": ["b", "a", "c"]}, "lengths": {"review": 5},
 "others": {"height": {"task": "regression", "classes": [], "mean": 1.5, "standard_deviation": 2.0,
 "spelt_as_read": true}}, "spelt_as_read": true, "exact_offsets": true}"""


def text(*cells: str) -> np.ndarray:
    return np.array(cells, dtype=object)


def test_columns_are_kept_kind_after_kind(reviews: Callable[..., Table], train: np.ndarray) -> None:
    table = reviews()
    columns = {"image": np.zeros((10, 2)), **table.columns, "street": table.columns["city"], "size": np.ones(10)}
    encodings: dict[str, TextEncoding] = {"review": TokensEncoding(length=3), "city": HashEncoding(bins=4)}
    changed = Table(columns, table.target, "price", "regression", "homes.csv")
    fitted = fit(changed, train, scale_target=True, text=encodings)
    assert [column.name for column in fitted.columns] == ["size", "street", "city", "review", "image"]
    assert [column.name for column in fitted.categories] == ["street", "city"]  # vocabularies, then hashed ones
    assert fitted.text_names == ["street", "city", "review"]
    expected = TrainedColumns(("size",), ("street", "city", "review"), targets=(None,), weight="w", arrays=("image",))
    assert fitted.trained_columns("w") == expected


def test_windows_have_a_raw_cell_for_each_of_their_rows() -> None:
    size, _, city, *_, image = EVERY_KIND.columns
    assert EVERY_KIND.raw_shape(size) == (1,) and EVERY_KIND.raw_shape(image) == (8, 6)
    assert EVERY_KIND.raw_type(image, "float32") == "float32 (batch, 8, 6)"
    in_windows = replace(EVERY_KIND, window=Window(24, 3, ("height",)))
    assert in_windows.raw_shape(size) == (24,)
    assert in_windows.raw_type(size, "float32") == "float32 (batch, 24), nan for empty"
    assert in_windows.raw_type(city, "float32") == 'string (batch, 24), "" for empty'


def test_the_target_has_the_training_rows_scale(homes: Callable[..., Table], train: np.ndarray) -> None:
    fitted = fit(homes(), train, scale_target=True)
    # 2 4 4 4 5 5: mean 4, variance (4 + 1 + 1)/6
    assert fitted.targets == {"output": FittedTarget("regression", [], 4.0, 1.0)}
    assert fitted.target == TargetScale(4.0, 1.0)
    assert fitted.num_outputs == 1


def test_further_targets_are_fitted_by_name(homes: Callable[..., Table], train: np.ndarray) -> None:
    kind = Target(text(*"abcabccccc"), "classification")
    fitted = fit(homes(others={"kind": kind}), train, scale_target=False)
    assert list(fitted.targets) == ["output", "kind"]
    assert fitted.others == {"kind": FittedTarget("classification", ["a", "b", "c"])}


def test_predictions_have_the_decimals_of_the_training_rows(homes: Callable[..., Table], train: np.ndarray) -> None:
    # 2 4 4 4 5 5: a deviation of 1, of which a thousandth is 0.001; the other rows, with more decimals, don't count
    height = Target(np.array([1.5, 2.5, 300.0, 4.0, 5.0, 6.0, 1 / 3, 1 / 3, 1 / 3, 1 / 3]), "regression")
    kind = Target(text(*"abcabccccc"), "classification")
    table = homes(others={"kind": kind, "height": height})
    fitted = fit(table, train, scale_target=False)
    assert fitted.decimals == {"output": 3, "height": 2}
    assert Preprocessing.from_json(fitted.to_json()) == fitted
    assert json.loads(fitted.to_json())["decimals"] == {"output": 3, "height": 2}
    assert fit(table, train, scale_target=False, exact=False).decimals == {}  # a run of an earlier version


def test_only_training_rows_are_learnt_from(homes: Callable[..., Table], train: np.ndarray) -> None:
    table = homes()
    strange = {"size": [np.nan, -1e30, 7.0, 8.0], "flat": [np.nan, -1e30, 7.0, 8.0], "city": text(*"pqrs")}
    poisoned = homes(
        columns={name: np.concatenate([column[:6], strange[name]]) for name, column in table.columns.items()},
        target=np.concatenate([table.target[:6], [-1e30, 0.0, 1.0, 2.0]]),
    )
    assert fit(poisoned, train, scale_target=True) == fit(table, train, scale_target=True)


def test_an_encoding_of_no_text_column_is_an_error(homes: Callable[..., Table], train: np.ndarray) -> None:
    table = homes(columns={"flat_city": text(*"abcdefghij"), **homes().columns})
    with pytest.raises(
        DataError, match="data.text: no such text column. Received: 'citi'. Known: flat_city, city. Did"
    ):
        fit(table, train, scale_target=True, text={"citi": HashEncoding(bins=4)})


def test_a_target_with_a_single_class_is_an_error(homes: Callable[..., Table], train: np.ndarray) -> None:
    table = homes(task="classification", target=text(*"aaaaaabbbb"))
    with pytest.raises(DataError, match="^homes.csv: target 'price' must have 2 to 1000 classes .* Received: 1"):
        fit(table, train, scale_target=True)


def test_the_features_that_a_model_is_built_for() -> None:
    assert EVERY_KIND.features == Features(
        numbers={"size": (-1.0, 0.5), "flat": (0.0,)},
        categories={"city": 3, "street": 8},
        arrays={"image": (8, 6)},
        tokens={"review": (5, 5)},
    )


def test_the_file_is_byte_for_byte_what_it_always_was() -> None:
    assert EVERY_KIND.to_json() == json.dumps(json.loads(WRITTEN), indent=1) + "\n"


def test_the_file_gives_the_same_again() -> None:
    assert Preprocessing.from_json(EVERY_KIND.to_json()) == EVERY_KIND


def test_a_file_from_before_there_were_words_and_further_targets() -> None:
    fields = json.loads(WRITTEN)
    old = {key: fields[key] for key in list(fields)[:8]}
    fitted = Preprocessing.from_fields(old)
    assert [column.name for column in fitted.columns] == ["size", "flat", "city", "image"]
    target = FittedTarget("classification", ["no", "yes"], spelt_as_read=False, exact=False)
    assert fitted.targets == {"output": target}
    assert not any(column.exact for column in fitted.number_inputs)


def test_a_file_with_a_kind_that_is_not_known_is_an_error() -> None:
    fields = json.loads(WRITTEN) | {"kinds": {"place": {"name": "coordinates"}}}
    with pytest.raises(CheckpointError, match="column 'place' is of a kind that this version doesn't know: 'coord"):
        Preprocessing.from_fields(fields)
