"""The operations of a LiteRT file; `test_quantization.py` has what becomes of whole models."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from tfrun.engine.inference.exporting.litert import write
from tfrun.engine.inference.exporting.litert_graph import Graph

pytest.importorskip("ai_edge_litert", reason="the extra litert isn't installed")


def test_layers_between_the_first_and_the_last_are_left_to_int8(tmp_path: Path) -> None:
    """A table of embeddings is left too; what joins its rows with a table's numbers is not."""
    rows = {"number": keras.Input((1,), name="number"), "id": keras.Input((1,), dtype="int32", name="id")}
    embedded = keras.layers.Embedding(50, 8, name="table")(rows["id"][:, 0])
    ordered = keras.ops.take(keras.ops.concatenate([rows["number"], -rows["number"]]) / 7.0, [1, 0], axis=1)
    joined = keras.layers.Concatenate(name="joined")([ordered, embedded])
    hidden = keras.layers.Dense(16, "relu", name="first")(joined)
    hidden = keras.layers.Dense(16, "relu", name="second")(hidden)
    model = keras.Model(rows, keras.ops.sigmoid(keras.layers.Dense(1, name="last")(hidden)))
    write(model, tmp_path / "model.tflite")
    graph = Graph((tmp_path / "model.tflite").read_bytes())
    names = " ".join(graph.nodes_in_float32(["number", "id"]))
    assert all(f"/{name}" in names for name in ("joined", "first", "last"))
    assert "/second" not in names and "/table_1/Gather" not in names
    assert graph.halve_weights() == 4  # the table, and a matrix of each layer


def test_weights_that_float16_can_not_hold_stay(tmp_path: Path) -> None:
    x = keras.Input((2,), name="x")
    layer = keras.layers.Dense(2, use_bias=False)
    model = keras.Model({"x": x}, layer(x))
    layer.set_weights([np.array([[1.0, 70_000.0], [2.0, 3.0]], "float32")])
    write(model, tmp_path / "model.tflite")
    assert Graph((tmp_path / "model.tflite").read_bytes()).halve_weights() == 0
