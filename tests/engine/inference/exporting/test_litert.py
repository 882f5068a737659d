"""LiteRT hardly computes in float64."""

from __future__ import annotations

from pathlib import Path

import keras
import pytest

from tfrun.engine.inference.exporting import litert
from tfrun.engine.inference.exporting.format import ExportError


def test_numbers_in_float64_are_refused(tmp_path: Path) -> None:
    far = keras.Input((1,), dtype="float64", name="far")
    model = keras.Model({"far": far}, keras.layers.Rescaling(1.0, 0.0, dtype="float64")(far))
    with pytest.raises(ExportError, match=r"format=litert: can't compute in float64, .*: far, the target\. Use"):
        litert.write(model, tmp_path / "model.tflite")
