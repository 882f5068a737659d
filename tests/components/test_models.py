import re
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework.config import disable_op_determinism

from tfrun.components.losses.regression import Huber
from tfrun.components.models.cnn import cnn
from tfrun.components.models.linear import linear
from tfrun.components.models.mlp import mlp
from tfrun.components.models.residual_mlp import residual_mlp
from tfrun.components.models.wide_deep import WideDeep
from tfrun.data.table import Features
from tfrun.errors import ConfigError

NUMBERS = {"x": (-1.0, 0.0, 1.0), "y": (0.5,)}
MIXED = Features(NUMBERS, {"city": 4, "kind": 3}, {})
ONLY_NUMBERS = Features(NUMBERS, {}, {})
ONLY_TEXT = Features({}, {"city": 4, "kind": 3}, {})
IMAGE = Features({}, {}, {"image": (8, 8)})


def batch(features: Features, rows: int = 6) -> Any:
    rng = np.random.default_rng(0)
    if features.arrays:
        return tf.constant(rng.uniform(size=(rows, 8, 8)), tf.float32)
    x = {"numbers": rng.normal(size=(rows, len(features.numbers))).astype("float32")}
    x["categories"] = rng.integers(0, 3, (rows, len(features.categories))).astype("int32")
    return {name: tf.constant(values) for name, values in x.items() if values.shape[1]}


wide_deep: Any = WideDeep  # Any, since its parts may be None

CASES: list[Any] = [(WideDeep, features) for features in (MIXED, ONLY_NUMBERS, ONLY_TEXT)]
CASES += [
    (model, features) for model in (linear, mlp, residual_mlp) for features in (MIXED, ONLY_NUMBERS, ONLY_TEXT, IMAGE)
]
CASES += [(cnn, IMAGE)]


@pytest.mark.parametrize(("make", "features"), CASES)
def test_models_train_compiled_and_reload(make: Any, features: Any, tmp_path: Any) -> None:
    disable_op_determinism()  # an earlier run may have turned it on, and XLA's pooling doesn't support it
    keras.utils.set_random_seed(0)
    model = make(features=features, num_outputs=1)
    x, y, optimizer, loss = batch(features), tf.ones([6, 1]), keras.optimizers.SGD(0.02), Huber()
    optimizer.build(model.trainable_variables)

    @tf.function(jit_compile=True)
    def step() -> Any:
        with tf.GradientTape() as tape:
            value = loss(y, model(x, training=True))
        gradients = tape.gradient(value, [v.value for v in model.trainable_variables])
        optimizer.apply([tf.convert_to_tensor(g) for g in gradients], model.trainable_variables)
        return value

    values = [float(step()) for _ in range(20)]
    assert values[-1] < values[0]
    assert model(x).shape == (6, 1)
    assert len({v.path for v in model.variables}) == len(model.variables)

    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(x), model(x))
    assert [v.path for v in loaded.trainable_variables] == [v.path for v in model.trainable_variables]


def test_wide_deep_groups_split_the_variables() -> None:
    for _ in range(2):  # twice, since paths must not depend on earlier models
        model = WideDeep(MIXED, 1, crosses=[["x", "city"]])
        model(batch(MIXED), training=True)
        patterns = {name: group["match"] for name, group in WideDeep.optimizer_groups.items()}
        paths = [variable.path for variable in model.variables]
        assert {name: [path for path in paths if re.search(match, path)] for name, match in patterns.items()} == {
            "wide": ["wide/bias", "wide/kernel", "wide/table"],
            "embeddings": ["deep/embeddings"],
            "deep": [
                "deep/hidden_1/kernel",
                "deep/hidden_1/bias",
                "deep/hidden_2/kernel",
                "deep/hidden_2/bias",
                "deep/output/kernel",
            ],
        }


def test_dropout_state_belongs_to_the_deep_part() -> None:
    for _ in range(2):
        paths = [v.path for v in WideDeep(MIXED, 1, dropout=0.5).non_trainable_variables]
        assert paths == [f"deep/dropout_{k}/seed_generator/seed_generator_state" for k in (1, 2)]


def test_wide_part_by_hand() -> None:
    model = WideDeep(MIXED, 1, crosses=[["city", "kind"], ["x", "y"]], deep=False)
    bias, kernel, table = model.trainable_variables
    assert table.shape == (4 * 3 + 4 * 2 + 4 + 3, 1)
    bias.assign([10.0])
    kernel.assign([[2.0], [3.0]])
    table.assign(np.arange(27.0)[:, None])
    x = {"numbers": tf.constant([[0.5, 1.0]]), "categories": tf.constant([[3, 1]], tf.int32)}
    # city × kind: 3·3 + 1; x is in bucket 2 and y in 1: 12 + 2·2 + 1; city: 20 + 3; kind: 24 + 1
    assert float(model(x)[0, 0]) == 10 + 2 * 0.5 + 3 * 1.0 + 10 + 17 + 23 + 25


def test_deep_part_by_hand() -> None:
    model = WideDeep(MIXED, 1, hidden_units=[1], embedding_dim=1, wide=False)
    values = [
        [[1.0], [2.0], [3.0], [4.0], [5.0], [6.0], [7.0]],
        [[1.0], [10.0], [100.0], [1000.0]],
        [0.5],
        [[2.0]],
        [1.0],
    ]
    for variable, value in zip(model.trainable_variables, values, strict=True):
        variable.assign(value)
    x = {"numbers": tf.constant([[0.5, 1.0]]), "categories": tf.constant([[3, 1]], tf.int32)}
    assert float(model(x)[0, 0]) == 2 * (0.5 * 1 + 1.0 * 10 + 4 * 100 + 6 * 1000 + 0.5) + 1


def test_the_outputs_of_the_parts_are_summed() -> None:
    x, model = batch(MIXED), wide_deep(MIXED, 3)
    for variable in model.trainable_variables:
        variable.assign(tf.random.stateless_normal(variable.shape, [1, 2]))
    np.testing.assert_allclose(model(x), model.wide(x) + model.deep(x), rtol=1e-6)
    assert model(x).shape == (6, 3)


def test_auto_crosses_pairs_of_text_columns_up_to_a_limit() -> None:
    features = Features(NUMBERS, {"a": 10, "b": 20, "c": 3000}, {})
    assert wide_deep(features, 1).wide.cross.crosses == [["a", "b"]]
    assert wide_deep(ONLY_NUMBERS, 1).wide.cross.crosses == []
    assert wide_deep(features, 1, crosses=[]).wide.cross.crosses == []


@pytest.mark.parametrize(
    ("make", "features", "params", "message"),
    [
        (WideDeep, MIXED, {"crosses": [["city", "kindd"]]}, r"model\.crosses: .*'kindd'.*Did you mean 'kind'\?"),
        (WideDeep, MIXED, {"crosses": [["city"]]}, "two or more different columns"),
        (WideDeep, MIXED, {"crosses": [["city", "city"]]}, "two or more different columns"),
        (WideDeep, MIXED, {"wide": False, "deep": False}, "one of the two must be true"),
        (WideDeep, IMAGE, {}, r"needs a table.*array 'image' \(8, 8\)"),
        (mlp, Features({}, {}, {"a": (3,), "b": (3,)}), {}, "or a single array"),
        (linear, Features({}, {}, {}), {}, "no columns except the target"),
        (cnn, MIXED, {}, "needs images"),
        (cnn, Features({}, {}, {"signal": (16,)}), {}, r"needs images .*array 'signal' \(16,\)"),
        (cnn, IMAGE, {"filters": [8, 8, 8, 8]}, "16 × 16"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(make: Any, features: Any, params: Any, message: Any) -> None:
    with pytest.raises(ConfigError, match=message):
        make(features, 1, **params)


def test_mixed_precision_keeps_full_precision_at_the_output() -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        for make, features in CASES:
            model = make(features=features, num_outputs=1)
            assert model(batch(features)).dtype == tf.float32, make
            assert {v.dtype for v in model.trainable_variables} == {"float32"}
        assert model.layers[-2].compute_dtype == "bfloat16"
        assert wide_deep(MIXED, 1).deep.hidden[0].compute_dtype == "bfloat16"
    finally:
        keras.config.set_dtype_policy("float32")


def test_mlp_with_dropout_and_normalization() -> None:
    model = mlp(MIXED, 1, hidden_units=[5], dropout=0.5, batch_normalization=True)
    assert [v.path for v in model.trainable_variables] == [
        "hidden_1/kernel",
        "normalization_1/gamma",
        "normalization_1/beta",
        "output/kernel",
        "output/bias",
    ]
    assert "dropout_1/seed_generator/seed_generator_state" in [v.path for v in model.variables]


def test_residual_mlp_by_hand() -> None:
    model = residual_mlp(ONLY_NUMBERS, 1, units=1, num_blocks=2, layers_per_block=2, activation="relu")
    values: Any = [
        *([[1.0], [10.0]], [0.5]),  # entry: 0.5·1 + 1·10 + 0.5 = 11
        *([[2.0]], [0.0], [[3.0]], [1.0]),  # block 1: 11 + (11·2·3 + 1) = 78
        *([[1.0]], [-79.0], [[5.0]], [4.0]),  # block 2: 78 + (relu(−1)·5 + 4) = 82
        *([[2.0]], [1.0]),
    ]
    for variable, value in zip(model.trainable_variables, values, strict=True):
        variable.assign(value)
    assert float(model({"numbers": tf.constant([[0.5, 1.0]])})[0, 0]) == 82 * 2 + 1


def test_residual_mlp_with_dropout() -> None:
    model = residual_mlp(MIXED, 1, units=5, num_blocks=1, layers_per_block=1, dropout=0.5)
    assert [v.path for v in model.variables] == [
        "entry/kernel",
        "entry/bias",
        "block_1_hidden_1/kernel",
        "block_1_hidden_1/bias",
        "dropout_1/seed_generator/seed_generator_state",
        "output/kernel",
        "output/bias",
    ]
