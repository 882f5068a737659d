"""ONNX files have the columns' and the outputs' names, and look texts up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tfrun.engine.inference.exporting import onnx

NO_TEXT: dict[str, Any] = {"text": {}}


@pytest.fixture(autouse=True)
def onnxruntime() -> Any:
    pytest.importorskip("tf2onnx", reason="the extra onnx isn't installed")
    return pytest.importorskip("onnxruntime", reason="the extra onnx isn't installed")


def test_inputs_and_outputs_have_their_names(tmp_path: Path, onnxruntime: Any) -> None:
    inputs = {name: keras.Input((1,), name=tensor) for name, tensor in (("größe", "gr_e"), ("b", "b"))}
    outputs = {"output": inputs["größe"] - 2.0 * inputs["b"], "a rank": -inputs["b"]}
    onnx.write(keras.Model(inputs, outputs), tmp_path / "model.onnx", NO_TEXT)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    rows = {"größe:0": np.array([[5.0]], "float32"), "b:0": np.array([[1.5]], "float32")}
    assert [output.name for output in session.get_outputs()] == ["a rank", "output"]
    assert [y.tolist() for y in session.run(["output", "a rank"], rows)] == [[[2.0]], [[-1.5]]]


def test_texts_are_looked_up(tmp_path: Path, onnxruntime: Any) -> None:
    """In any spelling if letters may be large or small; what isn't known has the id 0, or is nan."""
    inputs = {"city": keras.Input((1,), dtype="int32", name="city"), "flag": keras.Input((1,), name="flag_2")}
    model: Any = keras.Model(inputs, {"ids": keras.ops.cast(inputs["city"], "float32"), "flag": 10.0 * inputs["flag"]})
    text = {
        "city": {"kind": "category", "values": ["Ulm", "Nîmes"]},
        "flag": {"kind": "numbers", "values": {"yes": 1.0, "0": 0.0}, "lower": True},
    }
    onnx.write(model, tmp_path / "model.onnx", {"text": text})
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    rows = {"city:0": np.array([["Nîmes"], ["Ulm"], ["ulm"], [""]]), "flag:0": np.array([["yES"], ["0"], [""], ["y"]])}
    ids, flag = session.run(["ids", "flag"], rows)
    assert ids[:, 0].tolist() == [2.0, 1.0, 0.0, 0.0]
    np.testing.assert_array_equal(flag[:, 0], [10.0, 0.0, np.nan, np.nan])


def test_a_column_that_several_nodes_and_a_loop_read_is_renamed(tmp_path: Path, onnxruntime: Any) -> None:
    import tensorflow as tf

    class Loop(keras.layers.Layer):
        """Doubles x until it is larger than the limit."""

        def call(self, x: Any, limit: Any) -> Any:
            return tf.while_loop(lambda y: tf.reduce_all(y < limit), lambda y: [2.0 * y + 0.0 * x], [x])[0] + x

    inputs = {name: keras.Input((1,), name=f"of_{name}") for name in ("x", "limit")}
    onnx.write(keras.Model(inputs, Loop()(inputs["x"], inputs["limit"])), tmp_path / "model.onnx", NO_TEXT)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    rows = {"x:0": np.array([[3.0]], "float32"), "limit:0": np.array([[20.0]], "float32")}
    assert session.run(["output"], rows)[0].tolist() == [[24.0 + 3.0]]
