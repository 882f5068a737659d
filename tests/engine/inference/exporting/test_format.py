"""What a format may refuse; what each can hold is tested in `test_formats.py`."""

from __future__ import annotations

import keras
import pytest

from tfrun.engine.inference.exporting.format import ExportError, refuse_float64


def doubled(dtypes: dict[str, str]) -> keras.Model:
    """Returns a model with an input and an output of each of these types, by name."""
    rows = {name: keras.Input((1,), dtype=dtype, name=name) for name, dtype in dtypes.items()}
    outputs = {f"{name}_twice": keras.layers.Rescaling(2.0, dtype=dtypes[name])(cells) for name, cells in rows.items()}
    return keras.Model(rows, outputs)


def test_inputs_and_outputs_in_float64_are_named() -> None:
    with pytest.raises(ExportError, match=r"^format=f: can't compute in float64, .*: far, far_twice\. Use saved_model"):
        refuse_float64("f", doubled({"near": "float32", "far": "float64"}))


def test_a_model_in_float32_is_not_refused() -> None:
    refuse_float64("f", doubled({"near": "float32"}))
