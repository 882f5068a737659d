"""Defines `dcn_v2`: layers that multiply columns with each other, and a deep network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import keras
import tensorflow as tf
from annotated_types import Ge, Gt, Lt

from tfrun import Activation, register
from tfrun.components.layers.columns import ColumnEmbeddings, dims_of, flat
from tfrun.components.layers.hashed import Hashing
from tfrun.components.models.hidden import HiddenStack
from tfrun.components.models.inputs import check_columns
from tfrun.components.models.subclassed import SavedWithArguments
from tfrun.data.table import Features


@register.model("dcn_v2")
@keras.saving.register_keras_serializable("tfrun.models")
class DeepAndCross(SavedWithArguments):
    """Deep & cross network, version 2: x_{l+1} = x_0 ⊙ (W_l x_l + b_l) + x_l for each cross layer l, and hidden layers;
    the output is linear in both.

    x_0, (B, d), consists of the numbers, the vector of each category's id, and the mean vector of each bag's ids. After
    l layers, x has products of up to l + 1 of its values. `stacked` puts the hidden layers on top of the cross layers,
    `parallel` beside them, on x_0. With `rank` r, W_l = U_l·V_lᵀ with matrices (d, r), which have 2·d·r weights instead
    of d². Variables are named `embeddings/…`, `cross_1/…`, `hidden/…` and `output/…`.

    Source: Wang et al., "DCN V2: improved deep & cross network and practical lessons for web-scale learning to rank
    systems", 2021, arXiv:2008.13535, equations 1 and 2, figure 1.

    Args:
        features: describes the inputs; set by the engine.
        num_outputs: the number of outputs; set by the engine.
        num_cross_layers: the number of cross layers.
        rank: r, the rank of their matrices; None gives full matrices.
        structure: where the hidden layers are.
        hidden_units: the width of each hidden layer.
        activation: the hidden layers' activation.
        embedding_dim: the length of a column's vector, or a mapping from columns to lengths; the columns that it
            doesn't name have 8.
        embedding_rows: the rows of a hashed table, which all ids share; None gives each id its own vector.
        embedding_hashes: how many rows of a hashed table are summed for an id.
        dropout: the share of hidden values dropped in training.

    Raises:
        ConfigError: `embedding_dim` names an unknown column, or the data isn't a table.
    """

    optimizer_groups: ClassVar[dict[str, dict[str, Any]]] = {
        "embeddings": {
            "match": "^embeddings/",
            "name": "adagrad",
            "learning_rate": 0.1,
            "initial_accumulator_value": 0.01,
            "optional": True,
        },
        "dense": {"match": "^(?!embeddings/)", "name": "adam", "learning_rate": 0.001},
    }

    def __init__(
        self,
        features: Features,
        num_outputs: int,
        num_cross_layers: Annotated[int, Gt(0)] = 2,
        rank: Annotated[int, Gt(0)] | None = None,
        structure: Literal["stacked", "parallel"] = "stacked",
        hidden_units: list[Annotated[int, Gt(0)]] = [64, 64],  # noqa: B006 (the catalog reads literal defaults; never changed)
        activation: Activation = "relu",
        embedding_dim: Annotated[int, Gt(0)] | dict[str, Annotated[int, Gt(0)]] = 8,
        embedding_rows: Annotated[int, Gt(0)] | None = None,
        embedding_hashes: Annotated[int, Gt(0)] = 2,
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.0,
        name: str = "dcn_v2",
        dtype: Any = None,
    ):
        check_columns("dcn_v2", features)
        super().__init__(name=name, dtype=dtype, autocast=False)
        function = keras.activations.get(activation)
        self.arguments = {
            "features": features.to_config(),
            "num_outputs": num_outputs,
            "num_cross_layers": num_cross_layers,
            "rank": rank,
            "structure": structure,
            "hidden_units": list(hidden_units),
            "activation": keras.activations.serialize(function),
            "embedding_dim": embedding_dim if isinstance(embedding_dim, int) else dict(embedding_dim),
            "embedding_rows": embedding_rows,
            "embedding_hashes": embedding_hashes,
            "dropout": dropout,
        }
        policy = self.dtype_policy
        dims, hashing = dims_of(embedding_dim, features), Hashing.of(embedding_rows, embedding_hashes)
        self.is_stacked = structure == "stacked"
        self.embeddings = ColumnEmbeddings(features, dims, hashing=hashing, name="embeddings", dtype=policy)
        self.embeddings.build()
        width = len(features.numbers) + self.embeddings.width
        self.crosses = [Cross(rank, name=f"cross_{k}", dtype=policy) for k in range(1, num_cross_layers + 1)]
        for cross in self.crosses:
            cross.build((None, width))
        self.hidden = HiddenStack(hidden_units, function, dropout, name="hidden", dtype=policy)
        self.hidden.build((None, width))
        # Outputs are in the variables' dtype: half precision would round a regression's result.
        self.head = keras.layers.Dense(num_outputs, dtype=self.variable_dtype, name="output")
        self.head.build((None, self.hidden.width(width) + (0 if self.is_stacked else width)))

    def build(self, input_shape: Any = None) -> None:
        self.built = True  # all parts are built in the constructor

    def call(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        numbers = [tf.cast(inputs["numbers"], self.compute_dtype)] if "numbers" in inputs else []
        x0 = tf.concat([*numbers, *flat(self.embeddings(inputs))], axis=1)
        x = x0
        for cross in self.crosses:
            x = cross([x0, x])
        if self.is_stacked:
            return self.head(self.hidden(x, training=training))
        return self.head(tf.concat([x, self.hidden(x0, training=training)], axis=1))


class Cross(keras.layers.Layer):
    """y = x_0 ⊙ (W x + b) + x for x_0 and x, (B, d) each.

    Args:
        rank: the rank of W, or None for a full matrix.
    """

    def __init__(self, rank: int | None, **kwargs: Any):
        super().__init__(**kwargs)
        self.rank = rank

    def build(self, input_shape: Any) -> None:
        width = input_shape[-1]
        shapes = {"kernel": (width, width)} if self.rank is None else {"v": (width, self.rank), "u": (self.rank, width)}
        self.kernels = [
            self.add_weight(name=name, shape=shape, initializer="glorot_uniform") for name, shape in shapes.items()
        ]
        self.bias = self.add_weight(name="bias", shape=(width,), initializer="zeros")

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        x0, x = inputs
        y = x
        for kernel in self.kernels:
            y = tf.matmul(y, tf.convert_to_tensor(kernel))
        return x0 * (y + tf.convert_to_tensor(self.bias)) + x

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape[0]
