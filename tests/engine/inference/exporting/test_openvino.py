"""OpenVINO's models say how texts become ids."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tfrun.engine.inference.exporting import formats
from tfrun.engine.inference.exporting import openvino as of_openvino
from tfrun.engine.inference.exporting.format import ExportError


def test_names_and_encodings_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    openvino = pytest.importorskip("openvino", reason="the extra openvino isn't installed")
    telemetry = pytest.importorskip("openvino_telemetry")
    monkeypatch.setattr(telemetry.Telemetry, "send_event", lambda *_, **__: pytest.fail("it was reported"))
    inputs = {"größe": keras.Input((1,), name="gr_e"), "b": keras.Input((1,), dtype="int32", name="b")}
    b = keras.ops.cast(inputs["b"], "float32")
    model: Any = keras.Model(inputs, {"output": inputs["größe"] - 2.0 * b, "rank": b})
    text = {"b": {"kind": "category", "values": ["ä", "b"]}}
    of_openvino.write(model, tmp_path / "openvino", {"text": text})
    read = openvino.Core().read_model(tmp_path / "openvino" / "model.xml")
    assert json.loads(read.get_rt_info(["tfrun", "text"]).astype(str)) == text
    outputs = openvino.compile_model(read, "CPU")(
        {"größe": np.array([[5.0]], "float32"), "b": np.array([[2]], "int32")}
    )
    assert outputs["output"].tolist() == [[1.0]] and outputs["rank"].tolist() == [[2.0]]


def test_a_person_is_told_what_stands_for_texts(untrained: Any) -> None:
    """ONNX and TensorFlow.js take the texts themselves, the latter through the module beside the model."""
    kinds = "data.kinds={size: {name: ordered, values: [low, mid, high]}, note: {name: tokens, length: 3}}"
    fitted = untrained(
        "model=wide_deep", "data.target=y", "data.exclude=[street,hashed,flag,day,far,kind]", kinds
    ).fitted
    assert formats.inputs_of(fitted, "openvino") == {
        "a b": "float32 (batch, 1), nan for empty",
        "size": "float32 (batch, 1), numbers in place of texts",
        "city": "int32 (batch, 1), ids in place of texts",
        "note": "int32 (batch, 3), ids in place of texts",
    }
    assert formats.inputs_of(fitted, "tfjs")["city"] == 'string (batch, 1), "" for empty'


def test_numbers_in_float64_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="the extra openvino isn't installed")
    far = keras.Input((1,), dtype="float64", name="far")
    model = keras.Model({"far": far}, keras.layers.Rescaling(1.0, 0.0, dtype="float64")(far))
    with pytest.raises(ExportError, match=r"^format=openvino: can't compute in float64"):
        of_openvino.write(model, tmp_path / "openvino", {"text": {}})
