"""Defines `PixelScaling`, which scales images as a pretrained network was trained to take them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf


@keras.saving.register_keras_serializable("tfrun.layers")
class PixelScaling(keras.layers.Layer):
    """y = x · factors + offsets for images (B, H, W, C) of floats; images of one channel get three equal ones first.

    Args:
        factors, offsets: of red, green and blue.
        swaps: whether y has blue, green and red, in this order.
        white: the largest value that a pixel may have.
    """

    def __init__(
        self,
        factors: Sequence[float],
        offsets: Sequence[float],
        swaps: bool = False,
        white: float = 1.0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.factors = tuple(map(float, factors))
        self.offsets = tuple(map(float, offsets))
        self.swaps = swaps
        self.white = float(white)

    @classmethod
    def like(cls, preprocess: Callable[[np.ndarray], np.ndarray], *, white: float, **kwargs: Any) -> PixelScaling:
        """Returns the layer that does what `preprocess` does to pixels from 0 to 255, for pixels from 0 to `white`.

        Args:
            preprocess: scales images (B, H, W, 3), each channel linearly; it may reverse the channels.
            white: the largest value of a pixel.
        """
        offsets = preprocess(np.zeros((1, 1, 1, 3), np.float32)).ravel()
        slopes = np.stack([preprocess(np.eye(3, dtype=np.float32)[None, None, k : k + 1]).ravel() for k in range(3)])
        slopes = slopes - offsets  # input channel → output channel
        swaps = not np.diag(slopes).all()
        factors = np.diag(slopes[::-1] if swaps else slopes) * 255.0 / white
        return cls(factors.tolist(), offsets.tolist(), swaps, white, **kwargs)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        images = tf.repeat(inputs, 3, axis=-1) if inputs.shape[-1] == 1 else inputs
        images = tf.reverse(images, [-1]) if self.swaps else images
        return images * tf.constant(self.factors, images.dtype) + tf.constant(self.offsets, images.dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape[:-1], 3)

    def get_config(self) -> dict[str, Any]:
        options = {key: getattr(self, key) for key in ("factors", "offsets", "swaps", "white")}
        return {**super().get_config(), **options}
