"""A table becomes encoded examples of three splits."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tfrun.config.data_settings import DataSettings
from tfrun.config.earlier_runs import EarlierData
from tfrun.data.arrays import StoredArray
from tfrun.data.encode import encode
from tfrun.data.examples import prepare, prepare_evaluation, with_any_targets
from tfrun.data.fingerprint import fingerprint
from tfrun.data.kinds import NumberColumn
from tfrun.data.preprocessing import fit
from tfrun.data.splitting.split import split
from tfrun.data.table import Table, Target
from tfrun.errors import DataError

DATA = DataSettings(
    "homes",
    {},
    batch_size=2,
    validation_split=0.2,
    test_split=0.1,
    split_seed=0,
    target_scaling="standard",
    residency="auto",
    limit_rows=None,
    sample_weight=None,
    missing_target="error",
    text={},
)
TRAINING_ROWS = [7, 3, 5, 9, 0, 8, 1]  # those that `split` gives for DATA


def test_the_preprocessing_is_fitted_on_the_training_split(homes: Callable[..., Table]) -> None:
    examples = prepare(homes(), DATA)
    assert examples.splits["train"].tolist() == TRAINING_ROWS
    size = examples.preprocessing.columns[0]
    assert isinstance(size, NumberColumn)
    assert size.median == 6.5  # of 1 2 4 9 and twice 1e6
    assert examples.preprocessing.target.mean == pytest.approx((2 + 4 + 4 + 5 + 3e6) / 7)


def test_all_splits_lie_in_one_array(homes: Callable[..., Table]) -> None:
    examples = prepare(homes(), DATA)
    assert examples.num_rows == len(examples.targets) == len(examples.inputs["numbers"]) == 10
    splits = split(homes(), DATA).rows
    assert {name: rows.tolist() for name, rows in examples.splits.items()} == {
        name: rows.tolist() for name, rows in splits.items()
    }


def test_a_table_is_prepared_once(homes: Callable[..., Table]) -> None:
    table = homes()
    digest = fingerprint(table)
    assert prepare(table, DATA).fingerprint == digest
    assert table.columns == {}  # the rows aren't in memory twice
    with pytest.raises(RuntimeError, match="columns were released already"):
        prepare(table, DATA)


def test_evaluation_fits_nothing(homes: Callable[..., Table], train: np.ndarray) -> None:
    table = homes()
    digest = fingerprint(table)
    fitted = fit(table, train, scale_target=True)
    inputs, targets = encode(homes(), fitted)
    examples = prepare_evaluation(table, fitted)
    for key, expected in inputs.items():
        np.testing.assert_array_equal(examples.inputs[key], expected)
    np.testing.assert_array_equal(examples.targets, targets)
    assert (examples.preprocessing, examples.fingerprint, table.columns) == (fitted, digest, {})
    assert {name: rows.tolist() for name, rows in examples.splits.items()} == {
        "train": [0],
        "val": [],
        "test": list(range(10)),
    }


def test_an_array_on_disk_stays_there(homes: Callable[..., Table], tmp_path: Path) -> None:
    images = np.random.default_rng(0).normal(size=(10, 2, 2))
    images.tofile(tmp_path / "images")
    stored = StoredArray(str(tmp_path / "images"), 0, shape=images.shape, dtype=images.dtype)
    examples = prepare(homes(columns={"image": stored}), DATA)
    assert examples.inputs is stored
    assert examples.preprocessing.features.arrays == {"image": (2, 2)}


def test_weights_are_floats_or_there_are_none(homes: Callable[..., Table]) -> None:
    assert prepare(homes(), DATA).arrays[2] == ()
    examples = prepare(homes(weights=np.arange(10.0)), DATA)
    assert examples.weights is not None
    assert (examples.weights.dtype.name, examples.weights.tolist()) == ("float32", list(range(10)))
    assert examples.arrays[2] is examples.weights


def test_training_rows_that_all_weigh_nothing_are_an_error(homes: Callable[..., Table]) -> None:
    weights = np.ones(10)
    weights[TRAINING_ROWS] = 0.0
    with pytest.raises(DataError, match="homes.csv: data.sample_weight: every training row has weight 0"):
        prepare(homes(weights=weights), DATA)


def test_rows_to_predict_get_arbitrary_targets(homes: Callable[..., Table], train: np.ndarray) -> None:
    kind = Target(np.array(list("abcabccccc"), dtype=object), "classification")
    fitted = fit(homes(others={"kind": kind}), train, scale_target=True)
    table = dataclasses.replace(homes(), target=np.full(10, np.nan), weights=np.ones(10))
    predicted = with_any_targets(table, fitted, names=["price", "kind"])
    assert predicted.columns is table.columns
    assert (predicted.target_name, predicted.task, predicted.weights) == ("price", "regression", None)
    assert predicted.target.tolist() == [0.0] * 10
    assert predicted.others["kind"].values.tolist() == ["a"] * 10
    prepare_evaluation(predicted, fitted)  # they are accepted


@pytest.mark.parametrize(
    ("labels", "as_then"),
    [
        (["007", "7", "7.0", "010", "1e1"], ["7", "7", "7", "10", "10"]),
        (["007", "7", "7.5", "010", "1e1"], ["007", "7", "7.5", "010", "1e1"]),  # not all were whole: texts
        (["007", "7", "x", "010", "1e1"], ["007", "7", "x", "010", "1e1"]),
    ],
)
def test_a_run_of_an_earlier_version_keeps_its_classes(
    homes: Callable[..., Table], labels: list[str], as_then: list[str]
) -> None:
    """It read 007 from a CSV file as the class 7; resumed, its rows have the fingerprint that they had."""
    table = homes(target=np.array(labels * 2, dtype=object), task="classification")
    then = homes(target=np.array(as_then * 2, dtype=object), task="classification")
    shared = {field.name: getattr(DATA, field.name) for field in dataclasses.fields(DATA)}
    examples = prepare(table, EarlierData(**shared | {"name": "csv"}))
    assert examples.fingerprint == fingerprint(then)
    fitted = examples.preprocessing.targets["output"]
    assert (fitted.classes, fitted.spelt_as_read) == (sorted(set(as_then)), False)
