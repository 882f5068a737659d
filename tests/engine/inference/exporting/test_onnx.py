"""ONNX files have the columns' names."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from tfrun.engine.inference.exporting import onnx


def test_inputs_are_called_as_the_columns(tmp_path: Path) -> None:
    pytest.importorskip("tf2onnx", reason="the extra onnx isn't installed")
    onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx isn't installed")

    inputs = {name: keras.Input((1,), name=tensor) for name, tensor in (("größe", "gr_e"), ("b", "b"))}
    onnx.write(keras.Model(inputs, inputs["größe"] - 2.0 * inputs["b"]), tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    rows = {"größe:0": np.array([[5.0]], "float32"), "b:0": np.array([[1.5]], "float32")}
    assert session.run(None, rows)[0].tolist() == [[2.0]]
