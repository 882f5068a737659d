"""Losses of training rows are multiplied by the weights of their classes, as Keras' fit does it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrun.engine.training.class_weights import ClassWeights
from tfrun.engine.training.feed import take

WEIGHTS = ClassWeights({"output": (1.0, 3.0, 0.5), "other": (2.0, 0.25)})
BATCH = 16
LENGTH = ["data.batch_size=16", "trainer.max_epochs=1", "optimizer=sgd", "optimizer.learning_rate=0.1"]


@pytest.mark.parametrize(
    ("target", "y_true", "factors"),
    [
        ("output", np.array([[2], [0], [1]], np.int32), [0.5, 1.0, 3.0]),
        ("output", np.array([[0.5, 0.5, 0], [0, 0, 1], [0, 0.5, 0.5]], np.float32), [2.0, 0.5, 1.75]),  # mixed rows
        ("other", np.array([[0.0], [1.0], [0.5]], np.float32), [2.0, 0.25, 1.125]),
        ("third", np.array([[0], [1], [1]], np.int32), [1.0, 1.0, 1.0]),
    ],
)
def test_losses_are_weighed_in_training_alone(target: str, y_true: np.ndarray, factors: list[float]) -> None:
    losses = tf.constant([10.0, 100.0, 1000.0])
    with WEIGHTS.applied():
        weighed = WEIGHTS.weigh(losses, tf.constant(y_true), target=target)
        wide = WEIGHTS.weigh(tf.stack([losses, losses], axis=1), tf.constant(y_true), target=target)
    np.testing.assert_allclose(weighed, np.array([10.0, 100.0, 1000.0]) * factors, rtol=1e-6)
    np.testing.assert_array_equal(wide, np.stack([weighed, weighed], axis=1))
    assert WEIGHTS.weigh(losses, tf.constant(y_true), target=target) is losses


def test_a_traced_step_takes_other_weights() -> None:
    weights = ClassWeights({"output": (1.0, 3.0)})
    with weights.applied():
        weigh = tf.function(lambda: weights.weigh(tf.constant([1.0, 1.0]), tf.constant([[0], [1]]), target="output"))
        assert weigh().numpy().tolist() == [1.0, 3.0]
        weights.inputs["output"].assign(np.array([0.5, 2.0], np.float32))
        assert weigh().numpy().tolist() == [0.5, 2.0]


@pytest.fixture
def rows(tmp_path: Path) -> str:
    """A file of 90 rows of the classes a (63) and b (27) in a column, and in another one a, b (18) and c (9)."""
    dice = np.random.default_rng(0)
    two = ["ab"[k % 10 > 6] for k in range(90)]
    three = ["c" if k % 10 == 9 else two[k] for k in range(90)]
    lines = [f"{dice.normal()},{dice.normal()},{1 + k % 3},{two[k]},{three[k]}" for k in range(90)]
    (tmp_path / "rows.csv").write_text("x,z,w,two,three\n" + "\n".join(lines) + "\n")
    return str(tmp_path / "rows.csv")


@pytest.mark.parametrize(
    ("words", "loss"),
    [
        (["data.target=two", "data.exclude=[three]"], keras.losses.BinaryCrossentropy(from_logits=True)),
        (["data.target=three", "data.exclude=[two]"], keras.losses.SparseCategoricalCrossentropy(from_logits=True)),
        (
            ["data.target=two", "data.exclude=[three]", "data.sample_weight=w", "trainer.microbatches=2"],
            keras.losses.BinaryCrossentropy(from_logits=True),
        ),
    ],
    ids=["two classes", "three classes", "with weights of rows"],
)
def test_a_run_does_what_keras_fit_does(small: Any, rows: str, words: list[str], loss: keras.losses.Loss) -> None:
    """An epoch of the same rows in the same order from the same initial weights: the same weights and losses."""
    is_binary = isinstance(loss, keras.losses.BinaryCrossentropy)
    name = "binary_crossentropy" if is_binary else "sparse_categorical_crossentropy"
    config = ["data=csv", f"data.path={rows}", "data.class_weight=balanced", f"loss={name}", "metric=accuracy", *LENGTH]
    pieces, reference = small.pieces(*config, *words), small.pieces(*config, *words).parts.model
    weights = pieces.examples.class_weights["output"]
    train = pieces.examples.splits["train"]
    y = np.asarray(pieces.examples.targets)
    counts = np.bincount(y[train, 0].astype(int))
    assert weights == pytest.approx((len(train) / (len(counts) * counts)).tolist())  # scikit-learn's formula

    for initial, same in zip(pieces.parts.model.get_weights(), reference.get_weights(), strict=True):
        np.testing.assert_array_equal(initial, same)
    reference.compile(keras.optimizers.SGD(0.1), loss=loss)
    num_steps = 4
    order = np.concatenate([pieces.order.block(step, 1)[:BATCH] for step in range(num_steps)])
    x, y_ordered, row_weights = take(pieces.examples, order)
    of_classes: dict[str, Any] = {"class_weight": dict(enumerate(weights))}
    if len(row_weights):  # Keras takes one of the two
        of_classes = {"sample_weight": row_weights * np.array(weights)[y_ordered[:, 0].astype(int)]}
    history = reference.fit(
        x,
        y_ordered,
        **of_classes,
        batch_size=BATCH,
        shuffle=False,
        epochs=1,
        verbose=0,
    )
    program = pieces.make_program()
    losses = []
    for step in range(num_steps):
        batch = program.feed.batches(step, 1, length=BATCH)
        losses.append(float(pieces.parts.step(batch.data, batch.rows, tf.constant(step, tf.int64)).loss))
    for trained, expected in zip(pieces.parts.model.get_weights(), reference.get_weights(), strict=True):
        np.testing.assert_allclose(trained, expected, rtol=1e-5, atol=1e-6)
    assert np.mean(losses) == pytest.approx(history.history["loss"][0], rel=1e-5)


def test_several_outputs_have_the_weights_of_their_own_targets(small: Any, rows: str) -> None:
    """And so do the losses that a loss of all outputs consists of; evaluation has none."""
    config = ["data=csv", f"data.path={rows}", "data.target=[two,three]", "model=multi_task", "metric=none", *LENGTH]
    chosen = "data.class_weight={two: {b: 5}, three: {c: 7, a: 2}}"
    losses = "loss.losses={output: binary_crossentropy, three: sparse_categorical_crossentropy}"
    weighed, plain = (small.pieces(*config, "loss=per_output", losses, *more) for more in ([chosen], []))
    assert weighed.examples.class_weights == {"output": (1.0, 5.0), "three": (2.0, 1.0, 7.0)}
    assert weighed.describe()["data"]["class_weight"] == {
        "two": {"a": 1.0, "b": 5.0},
        "three": {"a": 2.0, "b": 1.0, "c": 7.0},
    }
    assert "class_weight" not in plain.describe()["data"]
    x, y, _ = take(weighed.examples, np.arange(8))
    y_pred = weighed.parts.model(x)
    y_true = {name: tf.constant(values) for name, values in y.items()}
    with weighed.parts.step.options.class_weights.applied():
        found = weighed.parts.step.loss(y_true, y_pred)
    two = keras.losses.binary_crossentropy(y["output"], y_pred["output"], from_logits=True)
    three = keras.losses.sparse_categorical_crossentropy(y["three"], y_pred["three"], from_logits=True)
    expected = np.where(y["output"][:, 0] == 1, 5.0, 1.0) * two + np.array([2.0, 1.0, 7.0])[y["three"][:, 0]] * three
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_allclose(weighed.parts.step.loss(y_true, y_pred), two + three, rtol=1e-5)
    assert weighed.structure(streams=False) != plain.structure(streams=False)
