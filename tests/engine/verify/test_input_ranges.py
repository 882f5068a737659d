"""Arrays with large numbers, which make a training diverge, are named with their range."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tfrun.components.layers.pixels import PixelScaling
from tfrun.data.examples import Examples
from tfrun.data.kinds import ArrayColumn
from tfrun.data.preprocessing import Preprocessing
from tfrun.data.targets import FittedTarget
from tfrun.engine.verify.input_ranges import large_arrays, unscaled_images


def examples(**columns: np.ndarray) -> Examples:
    fitted = Preprocessing(
        columns=tuple(ArrayColumn(name, array.shape[1:]) for name, array in columns.items()),
        targets={"output": FittedTarget("regression")},
    )
    inputs = columns if len(columns) > 1 else next(iter(columns.values()))
    splits = {"train": np.arange(4), "val": np.arange(0), "test": np.arange(4, 6)}
    return Examples(inputs, np.zeros((6, 1), "float32"), splits, fitted, "")


BYTES = np.tile(np.array([0, 255], np.uint8)[:, None], (6, 1, 2))  # (6, 2, 2)


def test_large_arrays_are_named_with_their_range_and_a_remedy() -> None:
    found = dict(large_arrays(examples(x=BYTES, unit=BYTES / 255, low=np.full((6, 1), -300.0)), np.arange(3)))
    assert list(found) == ["x", "low"]
    assert "'x' go from 0 to 255, and the model takes them as they are" in found["x"]
    assert found["x"].endswith("If they are images, scale them with 'data.kinds={x: image}'")
    assert "'low' go from -300 to -300" in found["low"]
    assert "{name: Rescaling, scale: 0.00333333}" in found["low"]


@pytest.mark.parametrize(
    ("array", "layer", "count"),
    [
        (BYTES, keras.layers.Flatten, 1),
        (BYTES / 255, keras.layers.Flatten, 0),
        (BYTES, keras.layers.BatchNormalization, 0),
        (np.arange(300).reshape(6, 50), keras.layers.Flatten, 0),  # perhaps ids
        (np.concatenate([np.zeros((4, 2, 2)), np.full((2, 2, 2), 99.0)]), keras.layers.Flatten, 0),  # test rows
    ],
)
def test_images_that_no_layer_scales(array: np.ndarray, layer: type[keras.layers.Layer], count: int) -> None:
    model = keras.Sequential([keras.Input(array.shape[1:]), layer()])
    assert len(unscaled_images(model, examples(x=array))) == count


@pytest.mark.parametrize(("array", "white", "count"), [(BYTES, 255.0, 0), (BYTES, 1.0, 1), (BYTES / 255, 255.0, 1)])
def test_white_of_a_pretrained_network_is_that_of_the_images(array: np.ndarray, white: float, count: int) -> None:
    scale = PixelScaling((1, 1, 1), (0, 0, 0), white=white)
    model = keras.Sequential([keras.Input((2, 2)), keras.layers.Reshape((2, 2, 1)), scale])
    sentences = unscaled_images(model, examples(x=array))
    assert len(sentences) == count
    assert all("model.white says" in sentence for sentence in sentences)
