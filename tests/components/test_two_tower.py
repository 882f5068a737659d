"""`model=two_tower` and `algorithm=in_batch_softmax`, whose numbers are worked out with NumPy."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrun.components.algorithms.in_batch import InBatchSoftmax, ItemGaps
from tfrun.components.losses.classification import SparseCategoricalCrossentropy
from tfrun.components.models.mlp import mlp
from tfrun.components.models.two_tower import TwoTower
from tfrun.data.table import Features
from tfrun.errors import ConfigError

FEATURES = Features({"day:month": (), "price": ()}, {"user": 5, "item": 6}, {}, {"tags": (4, 2)})
INPUTS = {
    "numbers": tf.constant([[0.5, 1.0], [2.0, -1.0], [0.0, 0.3]]),
    "categories": tf.constant([[3, 2], [1, 4], [2, 2]]),  # rows 0 and 2 have the same item
    "tags": tf.constant([[1, 3], [0, 0], [2, 0]]),
}
LOSS = SparseCategoricalCrossentropy(reduction=None)


def two_tower(**options: Any) -> Any:
    keras.utils.set_random_seed(0)
    chosen = {
        "user": ["user", "day"],
        "hidden_units": [],
        "output_dim": 2,
        "embedding_dim": 3,
        "temperature": 1.0,
        **options,
    }
    return TwoTower(FEATURES, 1, **chosen)


def vectors(model: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns u and v of INPUTS, whose length is 1, (3, 2) each."""
    weights = {variable.path: variable.numpy() for variable in model.trainable_variables}
    tags = weights["item/tokens_1/embeddings"]
    bag = np.stack([(tags[1] + tags[3]) / 2, np.zeros(3), tags[2]])
    user = np.concatenate([[[0.5], [2.0], [0.0]], weights["user/embeddings"][[3, 1, 2]]], axis=1)
    item = np.concatenate([[[1.0], [-1.0], [0.3]], weights["item/embeddings"][[2, 4, 2]], bag], axis=1)
    towers = [
        values @ weights[f"{side}/output/kernel"] + weights[f"{side}/output/bias"]
        for side, values in (("user", user), ("item", item))
    ]
    u, v = (tower / np.linalg.norm(tower, axis=1, keepdims=True) for tower in towers)
    return u, v


def test_the_score_is_the_product_of_both_vectors() -> None:
    model = two_tower(temperature=0.5)
    u, v = vectors(model)
    np.testing.assert_allclose(model(INPUTS)[:, 0], (u * v).sum(axis=1) / 0.5, rtol=1e-5, atol=1e-6)
    scores, items = model.pair_scores(INPUTS)
    np.testing.assert_allclose(scores, u @ v.T / 0.5, rtol=1e-5, atol=1e-6)
    assert items.numpy().tolist() == [[2], [4], [2]]


def softmax_losses(scores: np.ndarray, log_p: np.ndarray) -> list[float]:
    """Returns each row's loss; rows 0 and 2 have the same item, so neither is compared with the other."""
    weights = np.exp(scores - log_p)
    weights[0, 2] = weights[2, 0] = 0.0
    return [float(-np.log(weights[i, i] / weights[i].sum())) for i in range(3)]


def test_each_row_is_compared_with_the_other_items_of_the_batch() -> None:
    model = two_tower()
    algorithm = InBatchSoftmax(correct_frequency=False, top_k=1)
    losses, own = algorithm.evaluate(model, LOSS, INPUTS, tf.zeros([3, 1]))
    scores = model.pair_scores(INPUTS)[0].numpy()
    np.testing.assert_allclose(losses, softmax_losses(scores, np.zeros(3)), rtol=1e-5)
    np.testing.assert_allclose(own[:, 0], np.diag(scores))
    rivals = {0: [1], 1: [0, 2], 2: [1]}
    hits = [all(scores[i, j] <= scores[i, i] for j in others) for i, others in rivals.items()]
    assert 0 < sum(hits) < 3  # so that the test can tell a hit from a miss
    assert float(algorithm.hits.result()) == pytest.approx(sum(hits) / 3)
    total, _ = algorithm.forward(model, LOSS, INPUTS, tf.zeros([3, 1]))
    assert float(total) == pytest.approx(np.mean(losses), rel=1e-6)
    assert algorithm.variables == []


def test_frequent_items_are_corrected_by_the_probability_of_their_batches() -> None:
    model = two_tower()
    algorithm = InBatchSoftmax(rate=0.25, buckets=1000)
    other = {**INPUTS, "categories": tf.constant([[3, 5], [1, 4], [2, 1]])}
    for x in (INPUTS, other, other, other):  # item 2 is in batch 1, items 5 and 1 in 2 to 4, item 4 in all
        algorithm.forward(model, LOSS, x, tf.zeros([3, 1]))
    losses, _ = algorithm.evaluate(model, LOSS, INPUTS, tf.zeros([3, 1]))
    again, _ = algorithm.evaluate(model, LOSS, INPUTS, tf.zeros([3, 1]))
    np.testing.assert_array_equal(losses, again)  # validation changes nothing
    scores = model.pair_scores(INPUTS)[0].numpy()
    np.testing.assert_allclose(losses, softmax_losses(scores, np.zeros(3)), rtol=1e-5)  # all gaps are 1 until now
    algorithm.forward(model, LOSS, INPUTS, tf.zeros([3, 1]))  # item 2 once more, 4 steps after the first time
    losses, _ = algorithm.evaluate(model, LOSS, INPUTS, tf.zeros([3, 1]))
    log_p = -np.log([0.75 * 1 + 0.25 * 4, 1.0, 0.75 * 1 + 0.25 * 4])
    np.testing.assert_allclose(losses, softmax_losses(scores, log_p), rtol=1e-5)


def test_an_item_of_no_batch_has_the_longest_gap() -> None:
    gaps = ItemGaps(100, rate=0.5)
    seen, unseen = (gaps.places(tf.constant([[id]])) for id in (1, 2))
    for _ in range(7):
        gaps.update(seen)
    assert float(gaps.log_probabilities(seen)[0]) == 0.0
    assert float(gaps.log_probabilities(unseen)[0]) == pytest.approx(-np.log(8))


@pytest.mark.parametrize("jit_compile", [False, True])
def test_compiled_steps_count_like_those_in_python(jit_compile: bool) -> None:
    model, compiled, eager = two_tower(), InBatchSoftmax(), InBatchSoftmax()
    step = tf.function(lambda: compiled.forward(model, LOSS, INPUTS, tf.zeros([3, 1]))[0], jit_compile=jit_compile)
    for _ in range(3):
        assert float(step()) == pytest.approx(float(eager.forward(model, LOSS, INPUTS, tf.zeros([3, 1]))[0]), rel=1e-5)
    for one, other in zip(compiled.variables, eager.variables, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-6)
    assert int(compiled.variables[0].numpy()) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"user": ["users"]}, "model.user: unknown column. Received: 'users'.*'user'"),
        ({"item": ["itm"]}, "model.item: unknown column. Received: 'itm'.*'item'"),
        ({"user": []}, "model.user: needs at least one column. Known: day:month, day, price, user, item, tags"),
        ({"user": ["day", "price", "user", "item", "tags"]}, "model.item: needs at least one column"),
        ({"embedding_dim": {"itm": 3}}, "embedding_dim: unknown text column. Received: 'itm'.*'item'"),
    ],
)
def test_columns_that_a_tower_can_t_have(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        two_tower(**options)


def test_neither_classes_nor_other_models_work() -> None:
    with pytest.raises(ConfigError, match="one output, the score of a pair. Received: a target of 3 classes"):
        TwoTower(FEATURES, 3, user=["user"])
    model = mlp(Features({"a": ()}, {}, {}), 1)
    with pytest.raises(ConfigError, match="Use model=two_tower"):
        InBatchSoftmax().forward(model, LOSS, {"numbers": tf.zeros([2, 1])}, tf.zeros([2, 1]))


def test_items_without_categories_differ_by_their_tokens_or_numbers() -> None:
    tokens = two_tower(item=["tags", "price"]).pair_scores(INPUTS)[1]
    assert tokens.numpy().tolist() == INPUTS["tags"].numpy().tolist()
    numbers = two_tower(item=["price"]).pair_scores(INPUTS)[1].numpy()
    assert len({*numbers[:, 0]}) == 3 and (two_tower(item=["price"]).pair_scores(INPUTS)[1].numpy() == numbers).all()


def test_it_reloads(tmp_path: Any) -> None:
    model = two_tower(hidden_units=[4], embedding_rows=2, normalize=False)
    model(INPUTS)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(INPUTS), model(INPUTS))
    assert [v.path for v in loaded.trainable_variables] == [v.path for v in model.trainable_variables]
