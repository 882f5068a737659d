"""Defines `deepfm`: weights, products of pairs of columns, and a deep network, on the same embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import keras
import tensorflow as tf
from annotated_types import Ge, Gt, Lt

from tfrun import Activation, register
from tfrun.components.layers.columns import DEFAULT_DIM, ColumnEmbeddings, dims_of, flat
from tfrun.components.layers.cross import FeatureCross
from tfrun.components.layers.hashed import Hashing
from tfrun.components.models.hidden import HiddenStack
from tfrun.components.models.inputs import check_columns
from tfrun.components.models.subclassed import SavedWithArguments
from tfrun.components.models.wide_deep import Wide
from tfrun.data.table import Features


@register.model("deepfm")
@keras.saving.register_keras_serializable("tfrun.models")
class DeepFM(SavedWithArguments):
    """Factorization machine with a deep network: y = linear(x) + Σ_{i<j} ⟨v_i, v_j⟩ + deep(v_1, …, v_F), trained
    together on the same vectors v.

    Column i has the vector v_i: that of a category's id, the mean of those of a bag's ids, or a number times a vector
    that is learnt. The sum over all pairs is Σ_f ((Σ_i v_if)² − Σ_i v_if²) / 2, which takes F·dim products instead of
    F²·dim. For several outputs the products of each dimension f, (B, dim), are weighted for each of them. The
    linear part has a weight for each number, id and token, and the deep part consists of hidden layers on all vectors.
    Vectors that are shorter than the longest one are mapped to its length for the products. Variables are named
    `linear/…`, `embeddings/…` and `deep/…`.

    Source: Guo et al., "DeepFM: a factorization-machine based neural network for CTR prediction", 2017,
    arXiv:1703.04247, equations 1 to 4; Rendle, "Factorization machines", 2010, lemma 3.1 (the sum over pairs); Ginart
    et al., "Mixed dimension embeddings", 2019, arXiv:1909.11810 (vectors of several lengths).

    Args:
        features: describes the inputs; set by the engine.
        num_outputs: the number of outputs; set by the engine.
        hidden_units: the width of each hidden layer of the deep part.
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
        "linear": {"match": "^linear/", "name": "ftrl", "learning_rate": 0.05},
        "embeddings": {
            "match": "^embeddings/",
            "name": "adagrad",
            "learning_rate": 0.1,
            "initial_accumulator_value": 0.01,
            "optional": True,
        },
        "deep": {"match": "^deep/", "name": "adam", "learning_rate": 0.001},
    }

    def __init__(
        self,
        features: Features,
        num_outputs: int,
        hidden_units: list[Annotated[int, Gt(0)]] = [64, 64],  # noqa: B006 (the catalog reads literal defaults; never changed)
        activation: Activation = "relu",
        embedding_dim: Annotated[int, Gt(0)] | dict[str, Annotated[int, Gt(0)]] = 8,
        embedding_rows: Annotated[int, Gt(0)] | None = None,
        embedding_hashes: Annotated[int, Gt(0)] = 2,
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.0,
        name: str = "deepfm",
        dtype: Any = None,
    ):
        check_columns("deepfm", features)
        super().__init__(name=name, dtype=dtype, autocast=False)
        function = keras.activations.get(activation)
        self.arguments = {
            "features": features.to_config(),
            "num_outputs": num_outputs,
            "hidden_units": list(hidden_units),
            "activation": keras.activations.serialize(function),
            "embedding_dim": embedding_dim if isinstance(embedding_dim, int) else dict(embedding_dim),
            "embedding_rows": embedding_rows,
            "embedding_hashes": embedding_hashes,
            "dropout": dropout,
        }
        dims = dims_of(embedding_dim, features)
        # Outputs are added in the variables' dtype: half precision would round a regression's result.
        output_dtype = self.variable_dtype
        no_cross = FeatureCross([], features.numbers, features.categories)
        self.linear = Wide(features, num_outputs, no_cross, name="linear", dtype=output_dtype)
        self.linear.build()
        hashing = Hashing.of(embedding_rows, embedding_hashes)
        self.embeddings = ColumnEmbeddings(features, dims, hashing=hashing, name="embeddings", dtype=self.dtype_policy)
        self.embeddings.build()
        self.deep = PairsAndDeep(
            num_outputs,
            num_numbers=len(features.numbers),
            dims=sorted({*dims.values()}) or [embedding_dim if isinstance(embedding_dim, int) else DEFAULT_DIM],
            width=self.embeddings.width,
            hidden=HiddenStack(hidden_units, function, dropout, name="hidden", dtype=self.dtype_policy),
            output_dtype=output_dtype,
            name="deep",
            dtype=self.dtype_policy,
        )
        self.deep.build()

    def build(self, input_shape: Any = None) -> None:
        self.built = True  # all parts are built in the constructor

    def call(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        fields = {"vectors": self.embeddings(inputs)}
        if "numbers" in inputs:
            fields["numbers"] = inputs["numbers"]
        return self.linear(inputs) + self.deep(fields, training=training)


class PairsAndDeep(keras.layers.Layer):
    """Returns the sum over the pairs of vectors plus the output of the hidden layers, (B, num_outputs).

    Args:
        num_outputs: the number of outputs.
        num_numbers: the number of number columns.
        dims: the lengths that vectors have, increasing.
        width: the length of all vectors of the text columns together.
        hidden: the hidden layers.
        output_dtype: the dtype of the result.
    """

    def __init__(
        self,
        num_outputs: int,
        *,
        num_numbers: int,
        dims: list[int],
        width: int,
        hidden: HiddenStack,
        output_dtype: str,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.num_outputs = num_outputs
        self.num_numbers = num_numbers
        self.dim = dims[-1]
        self.shorter = dims[:-1]
        self.num_inputs = width + num_numbers * self.dim
        self.hidden = hidden
        self.output_dtype = output_dtype
        # The deep part starts at 0, beside the other two: training begins as that of a linear model.
        head = {"use_bias": False, "kernel_initializer": "zeros", "dtype": output_dtype}
        self.head = keras.layers.Dense(num_outputs, name="output", **head)

    def build(self, input_shape: Any = None) -> None:
        if self.num_numbers:
            self.numbers = self.add_weight(name="numbers", shape=(self.num_numbers, self.dim), initializer="uniform")
        self.maps = {
            dim: self.add_weight(name=f"map_{dim}", shape=(dim, self.dim), initializer="glorot_uniform")
            for dim in self.shorter
        }
        if self.num_outputs > 1:
            shape = (self.dim, self.num_outputs)
            self.pairs = self.add_weight(name="pairs", shape=shape, initializer="glorot_uniform")
        self.hidden.build((None, self.num_inputs))
        self.head.build((None, self.hidden.width(self.num_inputs)))

    def call(self, inputs: Mapping[str, Any], training: bool = False) -> tf.Tensor:
        vectors = [*inputs["vectors"]]
        if self.num_numbers:
            vectors.append(inputs["numbers"][:, :, None] * tf.convert_to_tensor(self.numbers))
        deep = self.head(self.hidden(tf.concat(flat(vectors), axis=1), training=training))
        return deep + self._pairs(vectors)

    def _pairs(self, vectors: list[tf.Tensor]) -> tf.Tensor:
        """Returns the products of all pairs of vectors, (B, num_outputs)."""
        alike = [
            tf.matmul(field, tf.convert_to_tensor(self.maps[field.shape[2]])) if field.shape[2] in self.maps else field
            for field in vectors
        ]
        fields = tf.cast(tf.concat(alike, axis=1), self.output_dtype)
        pairs = 0.5 * (tf.square(tf.reduce_sum(fields, axis=1)) - tf.reduce_sum(tf.square(fields), axis=1))
        if self.num_outputs == 1:
            return tf.reduce_sum(pairs, axis=1, keepdims=True)
        return tf.matmul(pairs, tf.cast(tf.convert_to_tensor(self.pairs), self.output_dtype))
