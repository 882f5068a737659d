"""Defines `two_tower`, which maps users and items to vectors whose product is the score of a pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import keras
import tensorflow as tf
from annotated_types import Ge, Gt, Lt

from tfrun import Activation, register
from tfrun.components.layers.columns import ColumnVectors, dims_of
from tfrun.components.layers.hashed import Hashing
from tfrun.components.models.hidden import HiddenStack
from tfrun.components.models.inputs import check_columns
from tfrun.components.models.subclassed import SavedWithArguments
from tfrun.data.table import Features
from tfrun.errors import ConfigError, unknown


@register.model("two_tower")
@keras.saving.register_keras_serializable("tfrun.models")
class TwoTower(SavedWithArguments):
    """Two-tower retrieval model: score = ⟨u(user columns), v(item columns)⟩ / temperature, (B, 1): how well the user
    and the item of a row fit.

    Each tower consists of embeddings, hidden layers and a linear layer, and by default its vectors have the length 1.
    It is meant for algorithm=in_batch_softmax, which needs rows of pairs that belong together, such as clicks; with
    algorithm=supervised it learns a target for each pair. Variables are named `user/…` and `item/…`.

    Source: Yi et al., "Sampling-bias-corrected neural modeling for large corpus item recommendations", 2019, section 3.

    Args:
        features: describes the inputs; set by the engine.
        num_outputs: the number of outputs, which must be 1; set by the engine.
        user: the columns of the user tower.
        item: the columns of the item tower; None takes all other columns.
        hidden_units: the width of each hidden layer of both towers.
        activation: the hidden layers' activation.
        output_dim: the length of u and v.
        temperature: divides the product; smaller ones make the softmax sharper.
        normalize: whether u and v are divided by their length.
        embedding_dim: the length of a column's vector, or a mapping from columns to lengths; the columns that it
            doesn't name have 8.
        embedding_rows: the rows of a hashed table, which all ids of a tower share; None gives each id its own vector.
        embedding_hashes: how many rows of a hashed table are summed for an id.
        dropout: the share of hidden values dropped in training.

    Raises:
        ConfigError: a column is unknown, a tower has none, the data isn't a table, or the target has several classes.
    """

    optimizer_groups: ClassVar[dict[str, dict[str, Any]]] = {
        "embeddings": {
            "match": "^(user|item)/(embeddings|importance|tokens_)",
            "name": "adagrad",
            "learning_rate": 0.1,
            "initial_accumulator_value": 0.01,
            "optional": True,
        },
        "dense": {
            "match": "^(user|item)/(?!embeddings|importance|tokens_)",
            "name": "adam",
            "learning_rate": 0.001,
        },
    }

    def __init__(
        self,
        features: Features,
        num_outputs: int,
        user: list[str],
        item: list[str] | None = None,
        hidden_units: list[Annotated[int, Gt(0)]] = [64],  # noqa: B006 (the catalog reads literal defaults; never changed)
        activation: Activation = "relu",
        output_dim: Annotated[int, Gt(0)] = 32,
        temperature: Annotated[float, Gt(0)] = 0.1,
        normalize: bool = True,
        embedding_dim: Annotated[int, Gt(0)] | dict[str, Annotated[int, Gt(0)]] = 8,
        embedding_rows: Annotated[int, Gt(0)] | None = None,
        embedding_hashes: Annotated[int, Gt(0)] = 2,
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.0,
        name: str = "two_tower",
        dtype: Any = None,
    ):
        check_columns("two_tower", features)
        if num_outputs != 1:
            raise ConfigError(
                f"model=two_tower: has one output, the score of a pair. Received: a target of {num_outputs} classes"
            )
        super().__init__(name=name, dtype=dtype, autocast=False)
        function = keras.activations.get(activation)
        self.arguments = {
            "features": features.to_config(),
            "num_outputs": num_outputs,
            "user": list(user),
            "item": None if item is None else list(item),
            "hidden_units": list(hidden_units),
            "activation": keras.activations.serialize(function),
            "output_dim": output_dim,
            "temperature": temperature,
            "normalize": normalize,
            "embedding_dim": embedding_dim if isinstance(embedding_dim, int) else dict(embedding_dim),
            "embedding_rows": embedding_rows,
            "embedding_hashes": embedding_hashes,
            "dropout": dropout,
        }
        self.temperature = temperature
        self.features = features
        self.towers = {
            side: Tower(
                features,
                columns,
                dims=dims_of(embedding_dim, features),
                hashing=Hashing.of(embedding_rows, embedding_hashes),
                hidden=HiddenStack(hidden_units, function, dropout, name="hidden", dtype=self.dtype_policy),
                output_dim=output_dim,
                normalize=normalize,
                name=side,
                dtype=self.dtype_policy,
            )
            for side, columns in columns_of_towers(features, user, item).items()
        }
        for tower in self.towers.values():
            tower.build()

    def build(self, input_shape: Any = None) -> None:
        self.built = True  # both towers are built in the constructor

    def call(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        users, items = (self.towers[side](inputs, training=training) for side in ("user", "item"))
        return tf.reduce_sum(users * items, axis=1, keepdims=True) / self.temperature

    def pair_scores(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the score of each row's user with each row's item, (B, B), and ids by which items differ, (B, n).

        The ids are those of the item's categories; without any, its tokens, or else its numbers as whole ones.
        """
        users, items = (self.towers[side](inputs, training=training) for side in ("user", "item"))
        return tf.matmul(users, items, transpose_b=True) / self.temperature, self.towers["item"].ids(inputs)


class Tower(keras.layers.Layer):
    """Returns a vector for each row, (B, output_dim), from some of its columns.

    Args:
        features: the description of the model's inputs.
        columns: the columns to use.
        dims: column -> the length of its vectors.
        hashing: how tables are hashed, or None.
        hidden: the hidden layers.
        output_dim: the length of the result.
        normalize: whether its length, as a vector's, is 1.
    """

    def __init__(
        self,
        features: Features,
        columns: Sequence[str],
        *,
        dims: Mapping[str, int],
        hashing: Hashing | None,
        hidden: HiddenStack,
        output_dim: int,
        normalize: bool,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.numbers = [k for k, name in enumerate(features.numbers) if column_of(name, columns) is not None]
        self.categories = [k for k, name in enumerate(features.categories) if name in columns]
        self.tokens = [name for name in features.tokens if name in columns]
        chosen = {name: dim for name, dim in dims.items() if name in columns}
        self.vectors = ColumnVectors(features, chosen, hashing=hashing, dtype=self.dtype_policy)
        self.bags = self.vectors.bags
        self.hidden = hidden
        self.normalize = normalize
        # Scores are in the variables' dtype: half precision would round them.
        self.last = keras.layers.Dense(output_dim, dtype=self.variable_dtype, name="output")

    def build(self, input_shape: Any = None) -> None:
        self.vectors.build(self)
        width = len(self.numbers) + self.vectors.width
        self.hidden.build((None, width))
        self.last.build((None, self.hidden.width(width)))

    def call(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        numbers = [tf.gather(inputs["numbers"], self.numbers, axis=1)] if self.numbers else []
        x = tf.concat([*numbers, *self.vectors.joined(inputs)], axis=1)
        y = self.last(self.hidden(x, training=training))
        return tf.math.l2_normalize(y, axis=1) if self.normalize else y

    def ids(self, inputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Returns whole numbers that are the same in rows with the same columns, (B, n) int32."""
        if self.categories:
            return tf.gather(inputs["categories"], self.categories, axis=1)
        if self.tokens:
            return tf.concat([inputs[name] for name in self.tokens], axis=1)
        numbers = tf.cast(tf.gather(inputs["numbers"], self.numbers, axis=1), tf.float32)
        return tf.bitcast(numbers, tf.int32)


def column_of(name: str, columns: Sequence[str]) -> str | None:
    """Returns the one of some columns that a number is of, which may be one of several: `day:elapsed`; or None."""
    return next((known for known in (name, name.partition(":")[0]) if known in columns), None)


def columns_of_towers(features: Features, user: Sequence[str], item: Sequence[str] | None) -> dict[str, list[str]]:
    """Returns the columns of each tower.

    Raises:
        ConfigError: a column is unknown, or a tower has none.
    """
    numbers = list(dict.fromkeys(part for name in features.numbers for part in (name, name.partition(":")[0])))
    known = list(dict.fromkeys([*numbers, *features.categories, *features.tokens]))
    for key, given in (("user", user), ("item", item or [])):
        for name in given:
            if name not in known:
                raise unknown(f"model.{key}", "column", name=name, known=known)
    others = [name for name in known if name not in user and name.partition(":")[0] not in user]
    towers = {"user": list(user), "item": others if item is None else list(item)}
    for side, columns in towers.items():
        if not columns:
            raise ConfigError(f"model.{side}: needs at least one column. Known: {', '.join(known)}")
    return towers
