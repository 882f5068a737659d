"""Defines `SavedFunction`, a function of a SavedModel as a layer."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("tfrun.layers")
class SavedFunction(keras.layers.TFSMLayer):
    """y = f(x) for a function f of a SavedModel, whose variables are the layer's. It runs as in inference, always.

    Args:
        filepath, call_endpoint: the folder, and the name of the function, see `keras.layers.TFSMLayer`.
        output: the name of the output, of a function that returns several.

    Raises:
        ValueError: it has no function of this name, or several outputs, of which none is chosen.
    """

    def __init__(self, filepath: str, call_endpoint: str = "serve", *, output: str | None = None, **kwargs: Any):
        super().__init__(filepath, call_endpoint=call_endpoint, **kwargs)
        self.output_name = output

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        y = super().call(inputs)
        if not isinstance(y, dict):
            if self.output_name is not None:
                raise ValueError(f"has one output, without a name. Received: {self.output_name!r}")
            return y
        if self.output_name is None and len(y) == 1:
            return next(iter(y.values()))
        if self.output_name not in y:
            known = ", ".join(sorted(y))
            raise ValueError(f"needs the name of an output. Received: {self.output_name!r}. Known: {known}")
        return y[self.output_name]

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.pop("call_training_endpoint")
        return {**config, "output": self.output_name}
