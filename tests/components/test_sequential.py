"""Layers of ids in `model=sequential`, with values computed by NumPy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrun.components.layers.bag import EmbeddingBag
from tfrun.components.layers.elementwise import Exponential
from tfrun.components.layers.embedding import Embedding
from tfrun.components.models.sequential import sequential
from tfrun.data.table import Features
from tfrun.engine.building.random_state import generators_kept
from tfrun.errors import ConfigError

TOKENS = Features({}, {}, {}, {"text": (30, 4)})
USERS = Features({}, {"user": 30}, {})
ARRAY = Features({}, {}, {"ids": (4,)})


@pytest.fixture(autouse=True)
def _draws_are_kept() -> Iterator[None]:
    with generators_kept():
        yield


@pytest.mark.parametrize(
    ("features", "flatten"),
    [(TOKENS, False), (ARRAY, False), (ARRAY, True)],  # a column is refused if it would be flattened, see below
    ids=["a column", "an array", "a flattened array"],
)
def test_sequential_embeds_the_ids_of_its_only_input(features: Features, flatten: bool) -> None:
    ids = np.array([[3, 29, 0, 3], [1, 1, 2, 0]])
    inputs = {"text": tf.constant(ids, tf.int32)} if features is TOKENS else tf.constant(ids, tf.float32)
    layers = [Embedding(30, 2), keras.layers.GlobalAveragePooling1D()]
    model = sequential(features, 1, flatten=flatten, layers=layers)
    table, kernel, bias = (variable.numpy() for variable in model.trainable_variables)
    means = np.stack([(2 * table[3] + table[29] + table[0]) / 4, (2 * table[1] + table[2] + table[0]) / 4])
    np.testing.assert_allclose(model(inputs), means @ kernel + bias, rtol=1e-5, atol=1e-7)


def test_sequential_embeds_a_category() -> None:
    model = sequential(USERS, 1, flatten=False, layers=[Embedding(30, 2)])
    table, kernel, bias = (variable.numpy() for variable in model.trainable_variables)
    expected = table[[7, 29]] @ kernel + bias
    np.testing.assert_allclose(model({"categories": tf.constant([[7], [29]])}), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("flatten", [False, True])
@pytest.mark.parametrize("layer", [Embedding, EmbeddingBag])
def test_ids_of_sequential_are_whole_in_half_precision(layer: Any, flatten: bool) -> None:
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")  # in which 257 is 256
    try:
        model = sequential(Features({}, {}, {"ids": (1,)}), 1, flatten=flatten, layers=[layer(300, 1)])
    finally:
        keras.config.set_dtype_policy(policy)
    model.get_layer("output").set_weights([np.ones((1, 1)), np.zeros(1)])
    model.trainable_variables[0].assign(np.arange(300, dtype=np.float32)[:, None] % 2)
    np.testing.assert_array_equal(model(tf.constant([[256.0], [257.0]])), [[0.0], [1.0]])


@pytest.mark.parametrize(
    ("features", "options", "message"),
    [
        (TOKENS, {}, r"model\.layers\.0: embedding needs ids, and model\.flatten=true .* Received: 1 token column"),
        (USERS, {}, r"model\.layers\.0: embedding needs ids, and model\.flatten=true"),
        (Features({"a": ()}, {"b": 3}, {}), {"flatten": False}, r"model\.flatten: false needs .* Received: 1 number"),
        (Features({}, {"a": 3, "b": 3}, {}), {"flatten": False}, r"model\.flatten: false needs .* Received: 2 text"),
        (USERS, {"flatten": False}, r"model\.layers\.0\.num_ids: must be at least 30, .* 'user'\. Received: 29"),
        (TOKENS, {"flatten": False}, r"model\.layers\.0\.num_ids: must be at least 30, .* 'text'\. Received: 29"),
        (ARRAY, {"layers": [Exponential(), Embedding(9)]}, r"model\.layers\.1: embedding needs ids, which the first"),
    ],
)
def test_sequential_refuses_a_layer_without_its_ids(features: Features, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        sequential(features, 1, **{"layers": [Embedding(29, 2)], **options})
