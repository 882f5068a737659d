"""The variables of a SavedModel, by name."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from tfrun.engine.building import saved_model_weights
from tfrun.errors import CheckpointError


def export(path: Path) -> keras.Model:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, name="hidden")], name="net")
    model.export(str(path), verbose=False)
    return model


def test_variables_by_name(tmp_path: Path) -> None:
    model = export(tmp_path / "exported")
    arrays = {array.name: array for array in saved_model_weights.read(tmp_path / "exported")}
    kernel, bias = model.variables
    assert {kernel.path, bias.path} <= arrays.keys()
    assert arrays[kernel.path].shape == (2, 3) and arrays[kernel.path].dtype == "float32"
    np.testing.assert_array_equal(arrays[kernel.path].read(), kernel)


def test_damaged_files(tmp_path: Path) -> None:
    export(tmp_path / "exported")
    index = tmp_path / "exported" / "variables" / "variables.index"
    index.write_bytes(index.read_bytes()[:20])
    with pytest.raises(CheckpointError, match="can't be read as a SavedModel"):
        saved_model_weights.read(tmp_path / "exported")
