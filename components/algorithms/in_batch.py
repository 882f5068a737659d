"""Defines `in_batch_softmax`, which finds each user's item among those of the batch."""

from __future__ import annotations

from typing import Annotated, Any

import keras
import tensorflow as tf
from annotated_types import Gt, Le

from tfrun import register
from tfrun.components.layers.hashed import PRIME, universal_hash
from tfrun.errors import ConfigError
from tfrun.protocols import ModelOffer

FAR_BELOW = 30.0  # a score that much smaller has no weight in a softmax


@register.algorithm("in_batch_softmax")
class InBatchSoftmax:
    """In-batch softmax: total = mean_i −log(exp(s_ii − log p_i) / Σ_j exp(s_ij − log p_j)) over the batch, and the
    model's own losses.

    s_ij is the score of user i and item j of the batch, so the other rows' items are what a user didn't choose. Each
    row is a pair that belongs together, and the data's target isn't used; `data.sample_weight` weighs the rows. Rows j
    with the same item as row i are left out of the sum. p_j is the probability that a batch has item j: popular items
    are in many batches, and would be pushed down without it. It is 1 / (the mean number of steps between two batches
    with the item), estimated while training: gap ← (1 − rate)·gap + rate·(steps since the last batch with it).
    The loss of the config gets each row's number and its row of scores; `auto` is sparse_categorical_crossentropy.

    The share of rows whose item is among the `top_k` with the highest scores s_ij of the batch is reported as
    `in_batch_top_<top_k>`. That and the loss depend on the number of rows that are compared: `data.batch_size` in
    training, up to 1,024 in validation.

    The model must have `pair_scores(inputs)`, as model=two_tower does. With several replicas each compares the rows of
    its own share, and the steps are those of the first one.

    Source: Yi et al., "Sampling-bias-corrected neural modeling for large corpus item recommendations", 2019, equations
    2 to 5 and algorithm 2.

    Args:
        correct_frequency: whether log p_j is subtracted.
        rate: how much a new gap counts in the mean.
        buckets: the number of values of the hash by which the gaps of items are kept.
        top_k: the number of items in the metric.

    Raises:
        ConfigError: the model has no `pair_scores`.
    """

    own_targets = True
    auto_loss = "sparse_categorical_crossentropy"

    def __init__(
        self,
        correct_frequency: bool = True,
        rate: Annotated[float, Gt(0), Le(1)] = 0.01,
        buckets: Annotated[int, Gt(0)] = 65536,
        top_k: Annotated[int, Gt(0)] = 10,
    ):
        self.rate = rate
        self.buckets = buckets
        self.top_k = top_k
        self.hits = keras.metrics.Mean(f"in_batch_top_{top_k}")
        self.hits.higher_is_better = True
        self.gaps: ItemGaps | None = ItemGaps(buckets, rate) if correct_frequency else None

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return [self.hits]

    @property
    def variables(self) -> list[keras.Variable]:
        return [] if self.gaps is None else self.gaps.variables

    def forward(self, model: Any, loss: Any, x: Any, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the scalar total loss and the score of each row's own pair, (B, 1)."""
        losses, scores = self._compare(model, loss, x, training=True)
        total = tf.reduce_mean(losses)
        return tf.add_n([total, *(tf.cast(term, total.dtype) for term in model.losses)]), scores

    def evaluate(self, model: Any, loss: Any, x: Any, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the loss of each example, (B,), and the score of its pair, (B, 1)."""
        return self._compare(model, loss, x, training=False)

    def _compare(self, model: Any, loss: Any, x: Any, training: bool) -> tuple[tf.Tensor, tf.Tensor]:
        pair_scores = ModelOffer.of(model).pair_scores
        if pair_scores is None:
            raise ConfigError("algorithm=in_batch_softmax: needs a model of users and items. Use model=two_tower")
        scores, items = pair_scores(x, training=training)
        rows = tf.range(tf.shape(scores)[0])
        is_same = tf.reduce_all(items[:, None] == items[None], axis=-1) & (rows[:, None] != rows[None])
        own = tf.linalg.diag_part(scores)[:, None]
        better = tf.cast((scores > own) & ~is_same, tf.int32)
        self.hits.update_state(tf.reduce_sum(better, axis=1) < self.top_k)
        logits = scores
        if self.gaps is not None:
            places = self.gaps.places(items)
            if training:
                self.gaps.update(places)
            logits -= tf.cast(self.gaps.log_probabilities(places), scores.dtype)
        lowest = tf.stop_gradient(tf.reduce_min(logits, axis=1, keepdims=True))
        return loss(rows[:, None], tf.where(is_same, lowest - FAR_BELOW, logits)), own


class ItemGaps:
    """Estimates how many steps lie between two batches with an item; the mean gap of items with the same hash.

    Args:
        buckets: the number of hashes.
        rate: how much a new gap counts in the mean.
    """

    def __init__(self, buckets: int, rate: float):
        self.buckets = buckets
        self.rate = rate
        self.step = keras.Variable(0, dtype="int32", trainable=False, name="step")
        zeros = {"shape": (buckets,), "initializer": "zeros", "trainable": False}
        self.last = keras.Variable(dtype="int32", name="last_step", **zeros)  # 0: never
        self.gap = keras.Variable(dtype="float32", name="gap", **zeros)

    @property
    def variables(self) -> list[keras.Variable]:
        return [self.step, self.last, self.gap]

    def places(self, items: tf.Tensor) -> tf.Tensor:
        """Returns the hash of each item, (B,) int32, for the ids of items, (B, n)."""
        ids = tf.cast(items, tf.int64) % PRIME
        hashes = [universal_hash(ids[:, k], k, size=self.buckets) for k in range(items.shape[1])]
        return tf.add_n(hashes) % self.buckets

    def update(self, places: tf.Tensor) -> None:
        """Counts a step, whose batch has the items at some places, (B,)."""
        step = tf.convert_to_tensor(self.step) + 1
        last, gap = tf.convert_to_tensor(self.last), tf.convert_to_tensor(self.gap)
        before = tf.gather(last, places)
        new = tf.cast(step - before, tf.float32)
        mean = tf.where(before > 0, (1.0 - self.rate) * tf.gather(gap, places) + self.rate * new, new)
        self.step.assign(step)
        self.gap.assign(tf.tensor_scatter_nd_update(gap, places[:, None], mean))
        self.last.assign(tf.tensor_scatter_nd_update(last, places[:, None], tf.fill(tf.shape(places), step)))

    def log_probabilities(self, places: tf.Tensor) -> tf.Tensor:
        """Returns log p, (B,) float32, of the items at some places; one that was in no batch has the longest gap."""
        gap = tf.gather(tf.convert_to_tensor(self.gap), places)
        unseen = tf.cast(tf.convert_to_tensor(self.step) + 1, tf.float32)
        return -tf.math.log(tf.where(gap > 0, gap, unseen))
