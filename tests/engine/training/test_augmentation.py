"""Augmented batches: draws that follow from seed, step and place, and the loss of mixed rows."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrun.components.augmentations.color import RandomBrightness, RandomContrast
from tfrun.components.augmentations.cutting import Cutout
from tfrun.components.augmentations.geometry import RandomCrop, RandomFlip, RandomRotate, RandomShift
from tfrun.components.augmentations.mixing import Cutmix, Mixup
from tfrun.components.augmentations.noise import Noise
from tfrun.engine.training.augmentation import Augmentation, Augmenter, Draws, Part, mixed_loss, rolled
from tfrun.engine.training.batches import NO_WEIGHTS
from tfrun.engine.training.step import StepOptions

IMAGES = np.random.default_rng(0).uniform(size=(12, 6, 5)).astype("float32")
TARGETS = np.arange(12, dtype="float32")[:, None]
DATA = (tf.constant(IMAGES), tf.constant(TARGETS), NO_WEIGHTS)
ROWS = tf.constant([3, 1, 4, 11, 5, 9, 2, 6])


def augmenter(*augmentations: Augmentation, seed: int = 1) -> Augmenter:
    return Augmenter(augmentations, keras.Variable(seed, dtype="int64", trainable=False))


FLIPPED = Augmentation(RandomFlip(), mixes=False)
CROPPED = Augmentation(RandomCrop(2), mixes=False)
MIXED = Augmentation(Mixup(1.0), mixes=True)


def draws(size: int = 4, state: Sequence[int] = (1, 0), share: Callable[..., Any] = lambda tensor: tensor) -> Draws:
    return Draws(tf.constant(state, tf.uint32), size, share=share)


def test_draws_of_a_share_are_those_of_the_batch() -> None:
    whole, half = draws(), draws(share=lambda tensor: tensor[2:])
    for shape in ((), (3,), (2, 2)):
        np.testing.assert_array_equal(whole.uniform(*shape)[2:], half.uniform(*shape))
    np.testing.assert_array_equal(whole.normal(5)[2:], half.normal(5))


def test_no_two_draws_are_the_same() -> None:
    first = draws(1000)
    numbers = [first.uniform().numpy(), first.uniform().numpy()]
    numbers += [draws(1000, state).uniform().numpy() for state in ((1, 1), (2, 0), (2, 1))]
    correlations = np.corrcoef(numbers) - np.eye(len(numbers))
    assert np.abs(correlations).max() < 0.1


def test_a_batch_follows_from_seed_and_step() -> None:
    def batch(seed: int, step: int) -> np.ndarray:
        return augmenter(FLIPPED, CROPPED, seed=seed).batch(DATA, ROWS, tf.constant(step, tf.int64)).x.numpy()

    np.testing.assert_array_equal(batch(1, 7), batch(1, 7))
    assert (batch(1, 7) != batch(1, 8)).any() and (batch(1, 7) != batch(2, 7)).any()
    assert batch(1, 7).shape == (8, 6, 5)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_compiled_batches_have_the_same_bits(jit_compile: bool) -> None:
    change = augmenter(FLIPPED, CROPPED, MIXED)
    step = tf.constant(5, tf.int64)
    eager = change.batch(DATA, ROWS, step)
    compiled = tf.function(functools.partial(change.batch, DATA), jit_compile=jit_compile, autograph=False)(ROWS, step)
    np.testing.assert_array_equal(eager.parts[1].share, compiled.parts[1].share)
    np.testing.assert_array_equal(eager.y, compiled.y)
    np.testing.assert_allclose(eager.x, compiled.x, atol=1e-7)  # XLA adds products in one operation
    if not jit_compile:
        np.testing.assert_array_equal(eager.x, compiled.x)
    moved = augmenter(FLIPPED, CROPPED)
    expected = moved.batch(DATA, ROWS, step).x
    again = tf.function(functools.partial(moved.batch, DATA), jit_compile=jit_compile, autograph=False)(ROWS, step).x
    np.testing.assert_array_equal(expected, again)


def test_only_the_named_inputs_change_and_all_by_the_same_draws() -> None:
    x = {"image": tf.constant(IMAGES[:4]), "mask": tf.constant(IMAGES[:4]), "numbers": tf.ones([4, 2])}
    changed, share = Augmentation(RandomCrop(2), mixes=False, inputs=("image", "mask"))(x, draws)
    np.testing.assert_array_equal(changed["image"], changed["mask"])
    assert (changed["image"].numpy() != IMAGES[:4]).any() and share is None
    assert changed["numbers"] is x["numbers"]


def test_mixed_rows_have_the_targets_of_both() -> None:
    weights = tf.range(1.0, 13.0)
    batch = augmenter(MIXED).batch((DATA[0], DATA[1], weights), ROWS, tf.constant(0, tf.int64))
    own, other = batch.parts
    rows = ROWS.numpy()
    before = np.roll(rows, 1)
    np.testing.assert_array_equal(own.y, TARGETS[rows])
    np.testing.assert_array_equal(other.y, TARGETS[before])
    np.testing.assert_array_equal(other.weights, before + 1)
    share = own.share.numpy()[:, None, None]
    np.testing.assert_allclose(own.share + other.share, np.ones(8), atol=1e-6)
    np.testing.assert_allclose(batch.x, share * IMAGES[rows] + (1 - share) * IMAGES[before], atol=1e-6)
    y, of_metrics = batch.for_metrics
    is_own = own.share.numpy() >= 0.5
    np.testing.assert_array_equal(y[:, 0], np.where(is_own, rows, before))
    np.testing.assert_array_equal(of_metrics, np.where(is_own, rows, before) + 1)


def test_rows_mixed_twice_have_four_parts() -> None:
    batch = augmenter(MIXED, MIXED).batch(DATA, ROWS, tf.constant(3, tf.int64))
    shares = np.array([part.share for part in batch.parts])
    targets = np.array([part.y[:, 0] for part in batch.parts]).astype(int)
    assert len(shares) == 4
    np.testing.assert_allclose(shares.sum(axis=0), np.ones(8), atol=1e-6)
    expected = sum(share[:, None, None] * IMAGES[rows] for share, rows in zip(shares, targets, strict=True))
    np.testing.assert_allclose(batch.x, expected, atol=1e-6)


def test_the_loss_of_mixed_rows_is_the_sum_over_their_parts() -> None:
    def squared(y: Any, y_pred: Any) -> tf.Tensor:
        return tf.reduce_sum(tf.square(y - y_pred), axis=-1)

    parts = (
        Part(tf.constant([[1.0], [2.0]]), tf.constant([1.0, 3.0]), tf.constant([0.75, 0.5])),
        Part(tf.constant([[2.0], [1.0]]), tf.constant([3.0, 1.0]), tf.constant([0.25, 0.5])),
    )
    loss = mixed_loss(squared, tf.constant([1.0, 3.0]), parts)
    # 0.75·1·(1−0)² + 0.25·3·(2−0)² and 0.5·3·(2−4)² + 0.5·1·(1−4)²
    np.testing.assert_allclose(loss(parts[0].y, tf.constant([[0.0], [4.0]])), [3.75, 10.5])
    np.testing.assert_allclose(mixed_loss(squared, tf.constant([1.0, 3.0]), ())(parts[0].y, tf.zeros([2, 1])), [1, 12])


def test_each_row_is_mixed_with_the_one_before_it() -> None:
    np.testing.assert_array_equal(rolled(tf.constant([1, 2, 3])), [3, 1, 2])


@pytest.mark.parametrize("augmentation", [Augmentation(Noise(0.3), mixes=False), MIXED])
def test_microbatches_and_modes_take_the_same_steps(build: Any, augmentation: Augmentation) -> None:
    """The draws of a microbatch are its rows' own in the whole batch."""
    data = (tf.constant(IMAGES[:, :, 0]), tf.constant(TARGETS), NO_WEIGHTS)

    def weights(microbatches: int, wrap: Callable[..., Any] = lambda function: function) -> np.ndarray:
        model = build.linear([0.1] * 6, 0.0)
        options = StepOptions(microbatches=microbatches, augmenter=augmenter(augmentation))
        step = build.step(model, [build.group(model.trainable_variables, 0.1)], options=options)
        take = wrap(lambda number: step(data, ROWS, number))
        for number in range(3):
            take(tf.constant(number, tf.int64))
        return np.concatenate([variable.numpy().ravel() for variable in model.variables])

    expected = weights(1)
    np.testing.assert_allclose(weights(2), expected, rtol=1e-5)
    np.testing.assert_allclose(weights(4), expected, rtol=1e-5)
    for jit_compile in (False, True):
        compiled = functools.partial(tf.function, autograph=False, jit_compile=jit_compile)
        np.testing.assert_allclose(weights(1, compiled), expected, rtol=1e-5)


ALL = [RandomFlip(), RandomCrop(2), RandomShift(), RandomRotate(), RandomBrightness(), RandomContrast(), Cutout()]


@pytest.mark.parametrize("change", [*ALL, Noise(), Mixup(), Cutmix()], ids=lambda change: type(change).__name__)
def test_runs_that_are_trained_together_see_their_own_batches(change: Any) -> None:
    """Every operation can be vectorized over the lanes, each of which has a seed of its own."""
    change = Augmentation(change, mixes=isinstance(change, Mixup | Cutmix))
    step = tf.constant(4, tf.int64)

    def batch(seed: Any) -> tf.Tensor:
        return Augmenter([change], seed).batch(DATA, ROWS, step).x

    together = tf.vectorized_map(batch, tf.constant([3, 8], tf.int64), fallback_to_while_loop=False)
    alone = [batch(tf.constant(seed, tf.int64)) for seed in (3, 8)]
    np.testing.assert_allclose(together, alone, atol=1e-6)
    assert (together[0].numpy() != together[1].numpy()).any()
