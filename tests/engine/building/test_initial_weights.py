"""Each first weight is fresh, or copied from a named array."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tfrun.config.settings import InitSettings
from tfrun.engine.building.initial_weights import Origins, begin_from
from tfrun.errors import CheckpointError, ConfigError
from tfrun.files.weights.opened import open_source
from tfrun.files.weights.source import BY_PATH, StoredArray, WeightSource, numbered


def make(units: int = 3, *, outputs: int = 2, seed: int = 0) -> keras.Model:
    """Returns a network in two parts, with normalization and dropout, and weights that its seed decides."""
    keras.utils.set_random_seed(seed)
    backbone = keras.Sequential(
        [keras.layers.Dense(units, name="dense"), keras.layers.BatchNormalization(name="norm")], name="backbone"
    )
    model = keras.Sequential(
        [keras.Input((4,)), backbone, keras.layers.Dropout(0.5), keras.layers.Dense(outputs, name="head")], name="net"
    )
    for variable in model.variables:
        if variable.dtype == "float32":
            variable.assign(np.random.default_rng(seed).normal(size=variable.shape))
    return model


def source_of(arrays: dict[str, Any]) -> WeightSource:
    def stored(name: str, value: Any) -> StoredArray:
        array = np.asarray(value)
        return StoredArray({BY_PATH: name}, array.shape, array.dtype.name, lambda: array)

    return WeightSource(Path("weights.npz"), "npz", [stored(*item) for item in arrays.items()], {"sha256": "0"})


def arrays_of(model: keras.Model) -> dict[str, np.ndarray]:
    return {variable.path: variable.numpy() for variable in model.variables}


def begin(model: keras.Model, source: WeightSource, **settings: Any) -> Origins:
    return begin_from(model, source, InitSettings(str(source.path), **settings))


def saved(model: keras.Model, path: Path) -> WeightSource:
    (model.save_weights if ".weights." in path.name else model.save)(path)
    return open_source(str(path), take="best", read_saved_model=lambda _: [])


@pytest.mark.parametrize("name", ["w.weights.h5", "w.keras", "w.h5"])
def test_a_file_of_the_same_model(tmp_path: Path, name: str) -> None:
    earlier, model = make(seed=1), make(seed=2)
    random_states = [variable.numpy() for variable in model.variables if variable.dtype == "uint32"]
    origins = begin(model, saved(earlier, tmp_path / name))
    for variable, value in zip(model.variables, earlier.variables, strict=True):
        if variable.dtype == "float32":
            np.testing.assert_array_equal(variable, value)
    assert [variable.numpy() for variable in model.variables if variable.dtype == "uint32"] == pytest.approx(
        random_states
    )
    assert (len(origins.copied), len(origins.new), len(origins.unused)) == (8, 0, 0)
    assert origins.describe()["copied"] == 8 and len(origins.describe()["sha256"]) == 64


def test_a_head_that_begins_afresh(tmp_path: Path) -> None:
    earlier, model = make(seed=1, outputs=5), make(seed=2, outputs=2)
    head = [variable.numpy() for variable in model.layers[-1].variables]
    origins = begin(model, saved(earlier, tmp_path / "w.weights.h5"), new=["head/"])
    np.testing.assert_array_equal(model.layers[0].layers[0].kernel, earlier.layers[0].layers[0].kernel)
    for variable, value in zip(model.layers[-1].variables, head, strict=True):
        np.testing.assert_array_equal(variable, value)
    assert [origin.variable for origin in origins.new] == [v.path for v in model.layers[-1].variables]


def test_arrays_that_are_renamed_and_left_out() -> None:
    earlier, model = make(seed=1), make(seed=2)
    arrays = {path.replace("backbone", "encoder"): value for path, value in arrays_of(earlier).items()}
    origins = begin(
        model,
        source_of(arrays | {"extra/kernel": np.zeros(3)}),
        map={"encoder/(.*)": "backbone/$1"},
        unused=["^extra/"],
    )
    np.testing.assert_array_equal(model.layers[0].layers[0].kernel, earlier.layers[0].layers[0].kernel)
    assert origins.unused == ("extra/kernel",)
    assert any("encoder/" in str(origin.array) for origin in origins.copied)


def test_a_change_of_precision_is_noted() -> None:
    model = make()
    origins = begin(
        model, source_of({path: value.astype("float64") for path, value in arrays_of(make(seed=1)).items()})
    )
    assert {origin.note for origin in origins.copied} == {"float64 → float32"}


def without(name: str) -> dict[str, Any]:
    return {path: value for path, value in arrays_of(make(seed=1)).items() if name not in path}


def changed(name: str, value: Any) -> dict[str, Any]:
    return {path: value if name in path else array for path, array in arrays_of(make(seed=1)).items()}


@pytest.mark.parametrize(
    ("arrays", "settings", "messages"),
    [
        (without("head/bias"), {}, ["1 of 8 variables can't begin with", "head/bias (2,): no such array"]),
        (changed("head/kernel", np.zeros((4, 2))), {}, ["head/kernel (3, 2)", "has the shape (4, 2)"]),
        (changed("head/bias", np.zeros(2, "int32")), {}, ["head/bias is float32", "is int32"]),
        (changed("", 0.0) | {"more": 1.0}, {}, ["8 of 8", "and 5 more"]),
        (arrays_of(make()) | {"more/kernel": np.zeros(2)}, {}, ["1 of the", "have no variable", "more/kernel (2,)"]),
        (arrays_of(make()), {"new": ["haed"]}, ["init.new: 'haed' matches nothing"]),
        (arrays_of(make()), {"unused": ["haed"]}, ["init.unused: 'haed' matches nothing"]),
        (arrays_of(make()), {"map": {"haed": "x"}}, ["init.map: 'haed' matches nothing"]),
    ],
)
def test_what_has_no_origin_is_an_error_and_changes_nothing(
    arrays: dict[str, Any], settings: dict[str, Any], messages: list[str]
) -> None:
    model = make(seed=2)
    before = model.get_weights()
    with pytest.raises(ConfigError) as error:
        begin(model, source_of(arrays), **settings)
    for message in messages:
        assert message in str(error.value)
    for value, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, expected)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_change_nothing(value: float) -> None:
    model = make(seed=2)
    before = model.get_weights()
    with pytest.raises(CheckpointError, match="aren't finite"):
        begin(model, source_of(changed("head/bias", np.array([1.0, value], np.float32))))
    for now, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, expected)


def test_the_table_of_origins() -> None:
    origins = begin(make(), source_of(arrays_of(make(seed=1))), new=["head/"])
    rows = {row[0].rpartition("/")[2]: row for row in origins.rows() if "head" in row[0]}
    assert rows["bias"][1:] == ("(2,)", "fresh", "")
    assert origins.as_markdown().splitlines()[2:4] == ["| variable | shape | from | note |", "|---|---|---|---|"]
    assert "6 of 8 variables from" in origins.summary()


def test_variables_of_the_same_path_are_told_apart_by_their_order() -> None:
    assert numbered(["a", "b", "a", "a"]) == ["a", "b", "a#2", "a#3"]
