"""Quantized LiteRT files: what becomes of large raw numbers, and of a column that is NaN in every row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tfrun.components.layers.impute import Impute
from tfrun.components.layers.raw_cells import TextNumbers
from tfrun.engine.inference.exporting.litert import write
from tfrun.engine.inference.exporting.quantization import write_quantized

pytest.importorskip("ai_edge_litert", reason="the extra litert isn't installed")
DTYPES = ("float32", "float32", "string")
MEAN, DEVIATION = 3e5, 1e5  # a variance of 1e10 is more than float16 holds


@pytest.fixture(scope="module")
def model() -> keras.Model:
    """Random layers over numbers of very different sizes, which are standardized, and an output as large as `a`."""
    keras.utils.set_random_seed(1)
    rows = {name: keras.Input((1,), name=name, dtype=dtype) for name, dtype in zip("abc", DTYPES, strict=True)}
    numbers = [rows["a"], rows["b"], TextNumbers({"low": 0.0, "high": 1.0})(rows["c"])]
    filled = Impute([MEAN, 0.5, 1.0])(keras.layers.Concatenate()(numbers))
    scaled = keras.layers.Normalization(mean=[MEAN, 0.5, 0.5], variance=[DEVIATION**2, 1e-4, 0.25])(filled)
    hidden = scaled
    for _ in range(3):
        hidden = keras.layers.Dense(32, "relu", bias_initializer="random_normal")(hidden)
    return keras.Model(
        rows, keras.layers.Rescaling(np.array([DEVIATION]), np.array([MEAN]))(keras.layers.Dense(1)(hidden))
    )


@pytest.fixture(scope="module")
def rows() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    rows = {"a": random.normal(MEAN, DEVIATION, (300, 1)), "b": random.normal(0.5, 0.01, (300, 1))}
    rows["a"][::7] = np.nan
    floats = {name: values.astype("float32") for name, values in rows.items()}
    return {**floats, "c": random.choice(np.array(["low", "high", ""], object), (300, 1))}


def predictions(path: Path, rows: dict[str, np.ndarray]) -> tuple[np.ndarray, list[tuple[str, set[str]]]]:
    """Returns a file's predictions, and the kinds of its operations with the types of their inputs and outputs."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    runner = Interpreter(model_path=str(path)).get_signature_runner()
    plain = Interpreter(
        model_path=str(path), experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    )
    types = {tensor["index"]: np.dtype(tensor["dtype"]).name for tensor in plain.get_tensor_details()}
    operations = [
        (each["op_name"], {types[k] for k in (*each["inputs"], *each["outputs"]) if k in types})
        for each in plain._get_ops_details()
    ]
    return next(iter(runner(**rows).values())), operations


@pytest.mark.parametrize(
    ("kind", "share", "most"), [("float16", 0.75, 2e-3), ("dynamic", 1.0, 0.05), ("int8", 0.8, 0.05)]
)
def test_raw_numbers_are_scaled_in_float32(
    kind: str, share: float, most: float, model: keras.Model, rows: dict[str, Any], tmp_path: Path
) -> None:
    write(model, tmp_path / "exact.tflite")
    write_quantized(model, tmp_path / "model.tflite", kind=kind, rows=rows, cells=["a", "b", "c"])
    exact, _ = predictions(tmp_path / "exact.tflite", rows)
    quantized, operations = predictions(tmp_path / "model.tflite", rows)
    assert np.abs(quantized - exact).mean() < most * exact.std()
    sizes = [(tmp_path / name).stat().st_size for name in ("model.tflite", "exact.tflite")]
    assert sizes[0] <= share * sizes[1]
    scaling = [types for name, types in operations if name in ("SUB", "MUL", "SELECT_V2", "NOT_EQUAL", "CONCATENATION")]
    assert scaling and all(types <= {"float32", "bool"} for types in scaling)
    layers = [types for name, types in operations if name == "FULLY_CONNECTED"]
    assert len(layers) == 4
    if kind == "int8":
        assert ["int8" in types for types in layers] == [False, True, True, False]
        assert [name for name, _ in operations].count("QUANTIZE") == 1
    if kind == "float16":
        assert [types for name, types in operations if name == "DEQUANTIZE"] == [{"float16", "float32"}] * 4


def test_texts_that_become_nan_are_not_made_zeros(model: keras.Model, rows: dict[str, Any], tmp_path: Path) -> None:
    """TensorFlow rounds such a column to int8, whose range it takes from NaN, even where it is told not to."""
    write_quantized(model, tmp_path / "model.tflite", kind="int8", rows=rows, cells=["a", "b", "c"])
    write(model, tmp_path / "exact.tflite")
    low, high = ({**rows, "c": np.full((300, 1), text, object)} for text in ("low", "high"))
    exact, other = (predictions(tmp_path / "exact.tflite", cells)[0] for cells in (low, high))
    quantized, _ = predictions(tmp_path / "model.tflite", low)
    assert np.abs(quantized - exact).mean() < 0.05 * exact.std() < 0.5 * np.abs(other - exact).mean()


def test_a_model_of_one_layer_has_nothing_for_int8(rows: dict[str, Any], tmp_path: Path) -> None:
    inputs = {name: keras.Input((1,), name=name) for name in ("a", "b")}
    two = {name: rows[name] for name in inputs}
    model = keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Concatenate()(list(inputs.values()))))
    with pytest.raises(ValueError, match="it has no layer between its first and its last ones, which stay float32"):
        write_quantized(model, tmp_path / "model.tflite", kind="int8", rows=two, cells=list(two))
