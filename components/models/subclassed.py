"""Base classes that the subclassed models share."""

from __future__ import annotations

from typing import Any

import keras

from tfrun.components.layers.encode import DenseFeatures
from tfrun.components.models.inputs import check_features, num_values, symbolic_inputs
from tfrun.data.table import Features


class SavedWithArguments(keras.Model):
    """A model that is saved as the arguments that it was created with.

    Attributes:
        arguments: all arguments except name and dtype, as plain values; `features` is a mapping.
    """

    arguments: dict[str, Any]

    def get_config(self) -> dict[str, Any]:
        policy = keras.dtype_policies.serialize(self.dtype_policy)
        return {**self.arguments, "name": self.name, "dtype": policy}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> SavedWithArguments:
        return cls(**{**config, "features": Features(**config["features"])})

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Creates the weights of a model that is loaded, by a call.

        Keras itself would call it with floats, since it saves shapes without dtypes. With integer ids that fails, and
        the weights of the file would be left out with a warning.
        """
        self(symbolic_inputs(self.name, Features(**self.arguments["features"])))


class Subclassed(SavedWithArguments):
    """A model that encodes a data set's features as vectors and ends in a dense output layer.

    Attributes:
        encode: the layer that encodes the inputs as one vector per example, (B, num_values).
        num_values: the length of that vector.
        output_layer: the dense output layer, which returns (B, num_outputs).
    """

    def __init__(self, features: Features, num_outputs: int, name: str, dtype: Any, **arguments: Any):
        check_features(name, features)
        super().__init__(name=name, dtype=dtype)
        self.arguments = {"features": features.to_config(), "num_outputs": num_outputs, **arguments}
        self.num_values = num_values(features)
        self.encode = DenseFeatures.of(features, name="features", dtype=self.dtype_policy)
        self.output_layer = keras.layers.Dense(num_outputs, dtype=self.variable_dtype, name="output")
