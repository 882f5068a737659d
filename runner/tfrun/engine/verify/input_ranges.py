"""Finds arrays whose numbers are so large that a model can hardly learn from them, such as images of bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import keras
import numpy as np

from tfrun.components.layers.pixels import PixelScaling
from tfrun.data import arrays
from tfrun.data.examples import Examples
from tfrun.data.kinds import ArrayColumn
from tfrun.engine import private
from tfrun.errors import as_typed

LARGE = 16.0  # standardized numbers, and images from 0 to 1, are smaller
SAMPLE_ROWS = 256
SCALING = (
    keras.layers.Rescaling,
    keras.layers.Normalization,
    keras.layers.BatchNormalization,
    keras.layers.LayerNormalization,
)


def large_arrays(examples: Examples, rows: np.ndarray) -> Iterator[tuple[str, str]]:
    """Yields each array column that has large numbers in the given rows, and their range as a sentence with a remedy.

    Args:
        examples: the encoded rows.
        rows: the numbers of the rows to look at.
    """
    for column in examples.preprocessing.arrays:
        array = examples.inputs[column.name] if isinstance(examples.inputs, Mapping) else examples.inputs
        values = arrays.take(array, rows, dtype=array.dtype)
        low, high = float(values.min()), float(values.max())
        largest = max(abs(low), abs(high))
        if largest > LARGE:
            yield (
                column.name,
                f"the values of {column.name!r} go from {low:g} to {high:g}, and the model takes them as they are. "
                f"{_remedy(column, low, largest)}",
            )


def _remedy(column: ArrayColumn, low: float, largest: float) -> str:
    """Returns a sentence that says how the numbers of a column, from `low` on, can be scaled."""
    if len(column.shape) in (2, 3) and low >= 0:
        return f"If they are images, scale them with {as_typed('data.kinds', {column.name: 'image'})}"
    layer = f"'model.layers=[{{name: Rescaling, scale: {1 / largest:.6g}}}, …]'"
    return f"Scale them in the file, or with model=sequential {layer}"


def _other_whites(examples: Examples, white: float) -> list[str]:
    """Returns a sentence for each column of images whose largest number is far from `white`."""
    sentences = []
    for column in examples.preprocessing.arrays:
        array = examples.inputs[column.name] if isinstance(examples.inputs, Mapping) else examples.inputs
        largest = float(arrays.take(array, examples.splits["train"][:SAMPLE_ROWS], dtype=array.dtype).max())
        if not white / 16 < largest <= 2 * white:
            sentences.append(
                f"the values of {column.name!r} go to {largest:g}, and model.white says that white is {white:g}"
            )
    return sentences


def unscaled_images(model: keras.Model, examples: Examples) -> list[str]:
    """Returns a sentence for each column of images with large numbers, unless the model has a layer that scales.

    Other arrays may be ids, which must be large. A model that says which number is white has its images compared with
    that.
    """
    scaling = [layer for layer in private.layers_of(model) if isinstance(layer, PixelScaling)]
    if scaling:
        return _other_whites(examples, scaling[0].white)
    if any(isinstance(layer, SCALING) for layer in private.layers_of(model)):
        return []
    images = {column.name for column in examples.preprocessing.arrays if len(column.shape) > 1}
    rows = examples.splits["train"][:SAMPLE_ROWS]
    return [sentence for name, sentence in large_arrays(examples, rows) if name in images]
