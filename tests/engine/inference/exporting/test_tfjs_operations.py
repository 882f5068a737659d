"""The operations of TensorFlow.js are those of the package that tests install."""

from __future__ import annotations

import json
import re
from pathlib import Path

import keras
import pytest
import tensorflow as tf

from tfrun.engine.inference.exporting import tfjs
from tfrun.engine.inference.exporting.format import ExportError
from tfrun.engine.inference.exporting.tfjs_operations import OPERATIONS, VERSION


def test_they_are_those_that_the_package_maps(node_packages: Path) -> None:
    package = node_packages / "@tensorflow" / "tfjs-converter"
    assert json.loads((package / "package.json").read_text())["version"] == VERSION
    folder = package / "dist" / "operations"
    lists = re.findall(r"from './op_list/(\w+)'", (folder / "operation_mapper.js").read_text())
    texts = [(folder / "op_list" / f"{name}.js").read_text() for name in lists]
    assert {name for text in texts for name in re.findall(r"'tfOpName': '(\w+)'", text)} == OPERATIONS
    assert "RaggedTensorToTensor" not in OPERATIONS


class Bessel(keras.layers.Layer):
    """Bessel's function of the inputs, which TensorFlow.js doesn't have."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return tf.math.bessel_i0e(inputs)


def test_an_unknown_operation_is_refused_with_its_layer(tmp_path: Path) -> None:
    inputs = {"x": keras.Input((1,), name="x")}
    model = keras.Model(inputs, Bessel(name="my_bessel")(inputs["x"]))
    message = r"^format=tfjs: TensorFlow\.js 4\.22\.0 has no operation BesselI0e, which \S*my_bessel\S* needs\. Use"
    with pytest.raises(ExportError, match=message):
        tfjs.write(model, tmp_path / "tfjs", {})
    assert not (tmp_path / "tfjs").exists()
