"""Models of a table's columns, whose outputs are worked out with NumPy: deepfm, dcn_v2, and wide_deep's embeddings."""

import re
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrun.components.models.dcn_v2 import DeepAndCross
from tfrun.components.models.deepfm import DeepFM
from tfrun.components.models.wide_deep import WideDeep
from tfrun.data.table import Features
from tfrun.errors import ConfigError

FEATURES = Features({"age": (0.0,), "size": ()}, {"city": 4, "kind": 3}, {}, {"words": (6, 3)})
ROWS = {
    "numbers": np.array([[0.5, -1.0], [2.0, 0.25]], "float32"),
    "categories": np.array([[3, 0], [1, 2]], "int32"),
    "words": np.array([[5, 2, 0], [0, 0, 0]], "int32"),
}
MODELS: Any = [DeepFM, DeepAndCross, WideDeep]


def inputs(features: Features = FEATURES) -> dict[str, tf.Tensor]:
    kinds = {"numbers": features.numbers, "categories": features.categories, "words": features.tokens}
    return {name: tf.constant(ROWS[name]) for name, columns in kinds.items() if columns}


def randomized(model: Any) -> dict[str, np.ndarray]:
    """Gives a model's variables random values, and returns them by path."""
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(size=variable.shape))
    return {variable.path: variable.numpy().astype("float64") for variable in model.trainable_variables}


def mean_vectors(table: np.ndarray) -> np.ndarray:
    """Returns the mean vectors of the bags of ROWS, whose second row is empty."""
    return np.stack([(table[5] + table[2]) / 2, np.zeros(table.shape[1])])


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0.0)


def linear_part(weights: dict[str, np.ndarray]) -> np.ndarray:
    ids = weights["linear/table"][[[3, 4], [1, 6]]].sum(axis=1)  # kind's ids begin after the 4 of city
    words = weights["linear/tokens_1/embeddings"]
    bag = np.stack([words[5] + words[2], np.zeros(words.shape[1])])
    return weights["linear/bias"] + ROWS["numbers"] @ weights["linear/kernel"] + ids + bag


@pytest.mark.parametrize("num_outputs", [1, 3])
def test_deepfm_is_linear_and_pairs_and_deep(num_outputs: int) -> None:
    model: Any = DeepFM(FEATURES, num_outputs, hidden_units=[4], embedding_dim=2)
    weights = randomized(model)
    table, numbers = weights["embeddings/embeddings"], weights["deep/numbers"]
    fields = np.concatenate(
        [
            table[[[3, 4], [1, 6]]],
            mean_vectors(weights["embeddings/tokens_1/embeddings"])[:, None],
            ROWS["numbers"][:, :, None] * numbers,
        ],
        axis=1,
    )
    products = sum(fields[:, i] * fields[:, j] for i in range(5) for j in range(i))  # (B, 2): each pair once
    pairs = products.sum(axis=1, keepdims=True) if num_outputs == 1 else products @ weights["deep/pairs"]
    hidden = relu(fields.reshape(2, 10) @ weights["deep/hidden/hidden_1/kernel"] + weights["deep/hidden/hidden_1/bias"])
    expected = linear_part(weights) + pairs + hidden @ weights["deep/output/kernel"]
    np.testing.assert_allclose(model(inputs()), expected, rtol=1e-5, atol=1e-5)


def test_deepfm_maps_shorter_vectors_to_the_longest_for_the_products() -> None:
    features = Features({}, {"city": 4, "kind": 3}, {})
    model: Any = DeepFM(features, 1, hidden_units=[], embedding_dim={"kind": 2, "city": 3})
    weights = randomized(model)
    city = weights["embeddings/embeddings_3"][[3, 1]]
    kind = weights["embeddings/embeddings_2"][[0, 2]]
    pairs = (city * (kind @ weights["deep/map_2"])).sum(axis=1, keepdims=True)
    linear = weights["linear/bias"] + weights["linear/table"][[[3, 4], [1, 6]]].sum(axis=1)
    expected = linear + pairs + np.concatenate([city, kind], axis=1) @ weights["deep/output/kernel"]
    np.testing.assert_allclose(model(inputs(features)), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("structure", ["stacked", "parallel"])
@pytest.mark.parametrize("rank", [None, 2])
def test_dcn_v2_crosses_its_inputs(structure: Any, rank: int | None) -> None:
    model: Any = DeepAndCross(FEATURES, 1, hidden_units=[3], embedding_dim=2, structure=structure, rank=rank)
    weights = randomized(model)
    vectors = weights["embeddings/embeddings"][[[3, 4], [1, 6]]].reshape(2, 4)
    bag = mean_vectors(weights["embeddings/tokens_1/embeddings"])
    x0 = np.concatenate([ROWS["numbers"], vectors, bag], axis=1)
    x = x0
    for layer in ("cross_1", "cross_2"):
        full = rank is None
        matrix = weights[f"{layer}/kernel"] if full else weights[f"{layer}/v"] @ weights[f"{layer}/u"]
        x = x0 * (x @ matrix + weights[f"{layer}/bias"]) + x
    below = x if structure == "stacked" else x0
    hidden = relu(below @ weights["hidden/hidden_1/kernel"] + weights["hidden/hidden_1/bias"])
    last = hidden if structure == "stacked" else np.concatenate([x, hidden], axis=1)
    expected = last @ weights["output/kernel"] + weights["output/bias"]
    np.testing.assert_allclose(model(inputs()), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("make", MODELS)
@pytest.mark.parametrize(
    "features",
    [
        FEATURES,
        Features({"age": (), "size": ()}, {}, {}),
        Features({}, {"city": 4, "kind": 3}, {}),
        Features({}, {}, {}, {"words": (6, 3)}),
    ],
    ids=["all", "numbers", "categories", "tokens"],
)
def test_each_variable_is_in_one_group(make: Any, features: Features) -> None:
    model = make(features, 1, embedding_dim=dict.fromkeys(list(features.categories)[:1], 3), embedding_rows=2)
    assert model(inputs(features)).shape == (2, 1)
    groups = make.optimizer_groups
    for variable in model.trainable_variables:
        owners = [name for name, group in groups.items() if re.search(group["match"], variable.path)]
        is_table = re.search("embeddings|importance", variable.path) is not None
        assert len(owners) == 1, variable.path
        if not variable.path.startswith(("wide/", "linear/")):
            assert (owners == ["embeddings"]) == is_table, variable.path
        assert groups[owners[0]]["name"] in ("adagrad", "ftrl") or not is_table


@pytest.mark.parametrize("make", MODELS)
def test_they_train_compiled_and_reload(make: Any, tmp_path: Any) -> None:
    keras.utils.set_random_seed(0)
    model = make(FEATURES, 1, embedding_dim={"city": 2, "words": 3}, embedding_rows=3, dropout=0.1)
    x, y, optimizer = inputs(), tf.constant([[1.0], [-2.0]]), keras.optimizers.Adagrad(0.1)
    optimizer.build(model.trainable_variables)

    @tf.function(jit_compile=True)
    def step() -> Any:
        with tf.GradientTape() as tape:
            value = tf.reduce_mean((model(x, training=True) - y) ** 2)
        gradients = tape.gradient(value, [v.value for v in model.trainable_variables])
        optimizer.apply([tf.convert_to_tensor(g) for g in gradients], model.trainable_variables)
        return value

    values = [float(step()) for _ in range(20)]
    assert values[-1] < 0.5 * values[0]
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(x), model(x))
    assert [v.path for v in loaded.trainable_variables] == [v.path for v in model.trainable_variables]


@pytest.mark.parametrize("make", MODELS)
def test_half_precision_gives_outputs_in_float32(make: Any) -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = make(FEATURES, 2, embedding_rows=4)
        assert model(inputs()).dtype == tf.float32
        assert {variable.dtype for variable in model.trainable_variables} == {"float32"}
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("make", MODELS)
def test_a_wrong_column_of_embedding_dim_has_a_near_miss(make: Any) -> None:
    with pytest.raises(ConfigError, match="embedding_dim: unknown text column. Received: 'citty'.*'city'"):
        make(FEATURES, 1, embedding_dim={"citty": 4})
    with pytest.raises(ConfigError, match=r"needs a table of columns. Received: array 'image' \(2, 2\)"):
        make(Features({}, {}, {"image": (2, 2)}), 1)


def test_columns_of_one_length_share_a_table() -> None:
    features = Features({}, {"a": 4, "b": 3, "c": 5}, {})
    model: Any = WideDeep(features, 1, wide=False, hidden_units=[], embedding_dim={"a": 2, "b": 5, "c": 2})
    weights = randomized(model)
    assert weights["deep/embeddings_2"].shape == (9, 2) and weights["deep/embeddings_5"].shape == (3, 5)
    row = np.concatenate(
        [weights["deep/embeddings_2"][1], weights["deep/embeddings_2"][4 + 3], weights["deep/embeddings_5"][2]]
    )
    expected = row @ weights["deep/output/kernel"] + weights["deep/output/bias"]
    output = model({"categories": tf.constant([[1, 2, 3]])})
    np.testing.assert_allclose(output, expected[None], rtol=1e-5, atol=1e-5)
