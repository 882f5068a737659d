"""Defines `wide_deep`: a linear part that memorizes, beside a deep part that generalizes."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import keras
import tensorflow as tf
from annotated_types import Ge, Gt, Le, Lt

from tfrun import Activation, Constraint, Initializer, Regularizer, register
from tfrun.components.layers.columns import ColumnVectors, bags, dims_of, stacked
from tfrun.components.layers.cross import FeatureCross
from tfrun.components.layers.dropout import Dropout
from tfrun.components.layers.hashed import Hashing
from tfrun.components.layers.lookup import add_table, rows_of
from tfrun.components.models.initial import initializer_for
from tfrun.components.models.inputs import check_columns
from tfrun.components.models.subclassed import SavedWithArguments
from tfrun.data.table import Features
from tfrun.errors import ConfigError, unknown

MAX_AUTO_CELLS = 10_000  # an optimizer that updates whole tables would train noticeably slower with more


@register.model("wide_deep")
@keras.saving.register_keras_serializable("tfrun.models")
class WideDeep(SavedWithArguments):
    """Wide & deep model: y = wide(x) + deep(x), both linear at the end and trained together, each by a separate
    optimizer.

    The wide part is linear in the numbers and has one weight for each category id, each token and each cell of each
    cross. The deep part consists of hidden layers on the numbers, the embeddings of the categories and the mean
    embedding of the tokens. It starts at 0 beside a wide part, so that training begins as that of a linear model.
    Variables are named `wide/…` and `deep/…`.

    Source: Cheng et al., "Wide & deep learning for recommender systems", 2016, arXiv:1606.07792 (FTRL for the wide
    part); Géron, chapter 12 (a regressor on numbers).

    Args:
        features: describes the inputs; set by the engine.
        num_outputs: the number of outputs; set by the engine.
        hidden_units: the width of each hidden layer of the deep part.
        activation: the hidden layers' activation.
        embedding_dim: the length of a category's or token's vector in the deep part, or a mapping from columns to
            lengths; the columns that it doesn't name have 8.
        embedding_rows: the rows of a hashed table in the deep part, which all ids share; None gives each id its own.
        embedding_hashes: how many rows of a hashed table are summed for an id.
        dropout: the share of hidden values dropped in training.
        crosses: lists of two or more columns whose combinations get weights in the wide part (numbers are split at
            their deciles); "auto" crosses pairs of text columns, those with the fewest combinations first, up to
            10,000 combinations in all; [] crosses none.
        max_cross_cells: the largest number of weights of one cross; if it has more cells, several share a weight. Best
            a prime.
        auxiliary_output: whether the deep part has a second output, `auxiliary`, that is trained on the same target as
            `output`, so that the deep part learns to predict without the wide part too.
        auxiliary_weight: w in the loss (1 − w)·L(output) + w·L(auxiliary); loss=per_output uses its weights instead.
        wide: whether the model has a wide part.
        deep: whether the model has a deep part.
        kernel_initializer: the initializer of the deep part's hidden weights; None picks one that suits the activation.
        kernel_regularizer: a penalty on the deep part's hidden weights.
        kernel_constraint: a constraint on the deep part's hidden weights, applied after each update.
        output_initializer: the initializer of the deep part's last weights, those of `output`; None is zeros beside a
            wide part, and otherwise glorot_uniform.

    Raises:
        ConfigError: `crosses` names an unknown column, both parts are off, or the data isn't a table.
    """

    optimizer_groups: ClassVar[dict[str, dict[str, Any]]] = {
        # optional, since one of the parts can be off
        "wide": {"match": "^wide/", "name": "ftrl", "learning_rate": 0.05, "optional": True},
        "embeddings": {
            "match": "^deep/(embeddings|importance|tokens_)",
            "name": "adagrad",
            "learning_rate": 0.1,
            "initial_accumulator_value": 0.01,
            "optional": True,
        },
        "deep": {
            "match": "^deep/(?!embeddings|importance|tokens_)",
            "name": "adam",
            "learning_rate": 0.001,
            "optional": True,
        },
    }

    def __init__(
        self,
        features: Features,
        num_outputs: int,
        hidden_units: list[Annotated[int, Gt(0)]] = [30, 30],  # noqa: B006 (the catalog reads literal defaults; never changed)
        activation: Activation = "relu",
        embedding_dim: Annotated[int, Gt(0)] | dict[str, Annotated[int, Gt(0)]] = 8,
        embedding_rows: Annotated[int, Gt(0)] | None = None,
        embedding_hashes: Annotated[int, Gt(0)] = 2,
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.0,
        crosses: Literal["auto"] | list[list[str]] = "auto",
        max_cross_cells: Annotated[int, Gt(1)] = 10007,
        auxiliary_output: bool = False,
        auxiliary_weight: Annotated[float, Ge(0), Le(1)] = 0.1,
        wide: bool = True,
        deep: bool = True,
        kernel_initializer: Initializer | None = None,
        kernel_regularizer: Regularizer | None = None,
        kernel_constraint: Constraint | None = None,
        output_initializer: Initializer | None = None,
        name: str = "wide_deep",
        dtype: Any = None,
    ):
        check_parts(features, wide, deep, auxiliary_output)
        super().__init__(name=name, dtype=dtype, autocast=False)
        hidden = HiddenLayers(hidden_units, activation, kernel_initializer, kernel_regularizer, kernel_constraint)
        if output_initializer is None:  # zeros: training begins as that of a linear model
            output_initializer = "zeros" if wide else "glorot_uniform"
        self.arguments = {
            "features": features.to_config(),
            "num_outputs": num_outputs,
            **hidden.arguments(),
            "embedding_dim": embedding_dim if isinstance(embedding_dim, int) else dict(embedding_dim),
            "embedding_rows": embedding_rows,
            "embedding_hashes": embedding_hashes,
            "dropout": dropout,
            "crosses": crosses if crosses == "auto" else [list(cross) for cross in crosses],
            "max_cross_cells": max_cross_cells,
            "auxiliary_output": auxiliary_output,
            "auxiliary_weight": auxiliary_weight,
            "wide": wide,
            "deep": deep,
            "output_initializer": keras.saving.serialize_keras_object(output_initializer),
        }
        self.loss_weights = {"output": 1.0 - auxiliary_weight, "auxiliary": auxiliary_weight}
        self.wide: Wide | None = None
        self.deep: Deep | None = None
        self._add_parts(features, hidden, output_initializer)

    def _add_parts(self, features: Features, hidden: HiddenLayers, output_initializer: Initializer) -> None:
        """Makes the parts that `arguments` asks for.

        They are built now, not at the first call: their paths would then start with this model's name.
        """
        chosen = self.arguments
        # Outputs are added in the variables' dtype: half precision would round a regression's result.
        output_dtype = self.variable_dtype
        if chosen["wide"]:
            cross = feature_cross(features, chosen["crosses"], chosen["max_cross_cells"])
            self.wide = Wide(features, chosen["num_outputs"], cross, name="wide", dtype=output_dtype)
            self.wide.build()
        if chosen["deep"]:
            self.deep = Deep(
                features,
                chosen["num_outputs"],
                hidden=hidden,
                dims=dims_of(chosen["embedding_dim"], features),
                hashing=Hashing.of(chosen["embedding_rows"], chosen["embedding_hashes"]),
                dropout=chosen["dropout"],
                beside_wide=chosen["wide"],
                output_initializer=output_initializer,
                auxiliary=chosen["auxiliary_output"],
                output_dtype=output_dtype,
                name="deep",
                dtype=self.dtype_policy,
            )
            self.deep.build()

    def build(self, input_shape: Any = None) -> None:
        self.built = True  # both parts are built in the constructor

    def call(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> Any:
        parts = []
        if self.wide is not None:
            parts.append(self.wide(inputs))
        if self.deep is None:
            return sum(parts)
        deep = self.deep(inputs, training=training)
        if isinstance(deep, list):
            return {"output": sum([*parts, deep[0]]), "auxiliary": deep[1]}
        return sum([*parts, deep])


@dataclasses.dataclass(frozen=True)
class HiddenLayers:
    """Describes the hidden layers of the deep part; the parameters are those of `WideDeep`."""

    units: list[int]
    activation: Activation
    initializer: Initializer | None
    regularizer: Regularizer | None
    constraint: Constraint | None

    def arguments(self) -> dict[str, Any]:
        """Returns the parameters of `WideDeep` that describe the hidden layers, as plain values."""
        return {
            "hidden_units": list(self.units),
            "activation": keras.activations.serialize(keras.activations.get(self.activation)),
            "kernel_initializer": keras.saving.serialize_keras_object(self.initializer),
            "kernel_regularizer": keras.saving.serialize_keras_object(self.regularizer),
            "kernel_constraint": keras.saving.serialize_keras_object(self.constraint),
        }

    def build(self, dtype: Any) -> list[keras.layers.Dense]:
        """Returns the layers, named `hidden_1`, `hidden_2` and so on."""
        options = {
            "kernel_initializer": initializer_for(self.activation, self.initializer),
            "kernel_regularizer": self.regularizer,
            "kernel_constraint": self.constraint,
            "dtype": dtype,
        }
        return [
            keras.layers.Dense(units, self.activation, name=f"hidden_{k}", **options)
            for k, units in enumerate(self.units, start=1)
        ]


class Wide(keras.layers.Layer):
    """b + numbers·W + Σ of the table's rows for the ids of the categories and the crosses: (B, num_outputs)."""

    def __init__(self, features: Features, num_outputs: int, cross: FeatureCross, **kwargs: Any):
        super().__init__(**kwargs)
        self.num_numbers = len(features.numbers)
        self.num_outputs = num_outputs
        self.cross = cross
        self.offsets, self.num_ids = stacked([*features.categories.values()], start=cross.num_ids)
        dims = dict.fromkeys(features.tokens, num_outputs)
        self.bags = bags(features, dims, combine="sum", initializer="zeros", dtype=self.dtype_policy)

    def build(self, input_shape: Any = None) -> None:
        self.bias = self.add_weight(name="bias", shape=(self.num_outputs,), initializer="zeros")
        if self.num_numbers:
            shape = (self.num_numbers, self.num_outputs)
            self.kernel = self.add_weight(name="kernel", shape=shape, initializer="zeros")
        if self.num_ids:
            shape = (self.num_ids, self.num_outputs)
            self.table = add_table(self, "table", shape=shape, initializer="zeros")
        for bag in self.bags.values():
            bag.build()

    def call(self, inputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
        y = tf.convert_to_tensor(self.bias)
        if self.num_numbers:
            y += tf.matmul(inputs["numbers"], self.kernel)
        ids = [self.cross(inputs)] if self.cross.crosses else []
        if "categories" in inputs:
            ids.append(inputs["categories"] + tf.constant(self.offsets))
        if ids:
            y += tf.reduce_sum(rows_of(self.table, tf.concat(ids, axis=1)), axis=1)
        for name, bag in self.bags.items():
            y += bag(inputs[name])
        return y

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, int]:
        return next(iter(input_shape.values()))[0], self.num_outputs


class Deep(keras.layers.Layer):
    """Applies hidden layers to the numbers and the embeddings, then one or two linear ones: (B, num_outputs) each."""

    def __init__(
        self,
        features: Features,
        num_outputs: int,
        *,
        hidden: HiddenLayers,
        dims: Mapping[str, int],
        hashing: Hashing | None,
        dropout: float,
        beside_wide: bool,
        output_initializer: Initializer,
        auxiliary: bool,
        output_dtype: str,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.vectors = ColumnVectors(features, dims, hashing=hashing, dtype=self.dtype_policy)
        self.bags = self.vectors.bags
        self.num_inputs = len(features.numbers) + self.vectors.width
        self.hidden = hidden.build(self.dtype_policy)
        self.dropouts = [Dropout(dropout, name=f"dropout_{k}") for k, _ in enumerate(hidden.units, start=1) if dropout]
        # Beside the wide part it has no bias of its own.
        head = {"use_bias": not beside_wide, "kernel_initializer": output_initializer, "dtype": output_dtype}
        self.heads = [keras.layers.Dense(num_outputs, name="output", **head)]
        if auxiliary:
            self.heads.append(keras.layers.Dense(num_outputs, dtype=output_dtype, name="auxiliary"))

    def build(self, input_shape: Any = None) -> None:
        self.vectors.build(self)
        width = self.num_inputs
        for layer in self.hidden:
            layer.build((None, width))
            width = layer.units
        for layer in self.heads:
            layer.build((None, width))
        for layer in self.dropouts:
            layer.build()

    def call(self, inputs: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor | list[tf.Tensor]:
        parts = [inputs["numbers"]] if "numbers" in inputs else []
        x = tf.concat([*parts, *self.vectors.joined(inputs)], axis=1)
        for k, layer in enumerate(self.hidden):
            x = layer(x)
            if self.dropouts:
                x = self.dropouts[k](x, training=training)
        return self.heads[0](x) if len(self.heads) == 1 else [head(x) for head in self.heads]

    def compute_output_shape(self, input_shape: Any) -> Any:
        shape = next(iter(input_shape.values()))[0], self.heads[0].units
        return shape if len(self.heads) == 1 else [shape, shape]


def check_parts(features: Features, wide: bool, deep: bool, auxiliary_output: bool) -> None:
    """Raises ConfigError if the data isn't a table, or if the wanted parts don't go together."""
    check_columns("wide_deep", features)
    if auxiliary_output and not deep:
        raise ConfigError("model.auxiliary_output: needs the deep part. Received: model.deep=false")
    if not (wide or deep):
        raise ConfigError("model.wide, model.deep: one of the two must be true. Received: both false")


def feature_cross(features: Features, crosses: Literal["auto"] | list[list[str]], max_cross_cells: int) -> FeatureCross:
    """Returns the layer for the crosses of the wide part."""
    chosen = choose_crosses(crosses, features)
    return FeatureCross(chosen, features.numbers, features.categories, max_cross_cells)


def choose_crosses(crosses: Literal["auto"] | list[list[str]], features: Features) -> list[list[str]]:
    """Returns the columns of each cross.

    Raises:
        ConfigError: a column is unknown, or a cross has fewer than two different columns.
    """
    if crosses == "auto":
        sizes = features.categories
        pairs = sorted(itertools.combinations(sizes, 2), key=lambda pair: sizes[pair[0]] * sizes[pair[1]])
        totals = itertools.accumulate(sizes[a] * sizes[b] for a, b in pairs)
        return [list(pair) for pair, total in zip(pairs, totals, strict=True) if total <= MAX_AUTO_CELLS]
    for cross in crosses:
        for column in cross:
            if column not in features.numbers and column not in features.categories:
                raise unknown("model.crosses", "column", name=column, known=[*features.numbers, *features.categories])
        if len(set(cross)) < 2 or len(set(cross)) < len(cross):
            raise ConfigError(f"model.crosses: a cross is two or more different columns. Received: {list(cross)}")
    return [list(cross) for cross in crosses]
