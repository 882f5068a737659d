"""One training step: forward, loss, gradients, the check, then every optimizer group and the metrics."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from tfrun.engine.split import Group
from tfrun.errors import ConfigError


@dataclass(frozen=True)
class TargetScale:
    """How the target was scaled for training; metrics are worked out in the target's own unit."""

    mean: float = 0.0
    standard_deviation: float = 1.0

    def restore(self, values: tf.Tensor) -> tf.Tensor:
        """Returns scaled targets or predictions in the target's own unit."""
        if (self.mean, self.standard_deviation) == (0.0, 1.0):
            return values
        return values * tf.cast(self.standard_deviation, values.dtype) + tf.cast(self.mean, values.dtype)


class Step:
    """What happens to the state at one step; called in the compiled program, or eagerly by a person debugging.

    A batch goes through two phases. `_compute` runs on each replica and changes nothing but what a forward pass
    changes. Where loss and gradients are finite, `_update` changes the weights; where they are not, nothing is left
    changed, so the state stays that of the last good step.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        model: keras.Model,
        algorithm: Any,
        loss: Any,
        groups: Sequence[Group],
        loss_mean: keras.metrics.Mean,
        metrics: Sequence[keras.metrics.Metric],
        target: TargetScale,
    ):
        self.strategy = strategy
        self.model = model
        self.algorithm = algorithm
        self.loss = loss
        self.groups = groups
        self.active = [group for group in groups if group.optimizer is not None]
        self.loss_mean = loss_mean
        self.metrics = metrics
        self.target = target
        self._trained = [variable for group in self.active for variable in group.variables]

    def __call__(self, data: Any, rows: tf.Tensor, step: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Trains on one batch.

        Args:
            data: examples, (inputs, targets).
            rows: the batch's row numbers, (batch_size,) int32.
            step: the number of steps done before this one, a scalar int64.

        Returns:
            The loss and the gradients' global norm (scalar float32), the learning rate of each active group
            (num_groups,) float32, and whether the update was made (scalar bool).
        """
        loss, norm, gradients, outputs, changed = self.strategy.run(self._compute, args=(data, rows))
        loss, norm = self._sum(loss), self._one(norm)
        ok = tf.math.is_finite(loss) & tf.math.is_finite(norm)
        rates = tf.stack([group.learning_rate(step) for group in self.active])

        def update() -> tf.Tensor:
            self._update(gradients, outputs, rates, step)
            self.loss_mean.update_state(loss)
            return rates

        def put_back() -> tf.Tensor:
            for variable, value in zip(self.model.non_trainable_variables, changed, strict=True):
                variable.assign(self._one(value))
            return rates

        return loss, norm, tf.cond(ok, update, put_back), ok

    def _compute(self, data: Any, rows: tf.Tensor) -> tuple[Any, ...]:
        replicas = self.strategy.num_replicas_in_sync
        before = [tf.identity(variable.value) for variable in self.model.non_trainable_variables]
        x, y = gather(data, own_share(rows))
        with tf.GradientTape() as tape:
            loss, y_pred = self.algorithm.forward(self.model, self.loss, x, y)
            loss = tf.cast(loss, tf.float32) / replicas
        gradients = tape.gradient(loss, [variable.value for variable in self._trained])
        missing = [v.path for v, gradient in zip(self._trained, gradients, strict=True) if gradient is None]
        if missing:
            raise ConfigError(
                "model: the loss doesn't depend on every trainable variable, so these get no gradient. "
                f"Received: {', '.join(missing)}. Put them into a group with frozen: true, or use them"
            )
        gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]
        if replicas > 1:
            gradients = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        by_group, norms, start = [], [], 0
        for group in self.active:
            own = gradients[start : start + len(group.variables)]
            start += len(group.variables)
            norms.append(tf.linalg.global_norm(own))
            if group.clip_norm is not None:
                own, _ = tf.clip_by_global_norm(own, group.clip_norm, use_norm=norms[-1])
            by_group.append(own)
        return loss, tf.cast(tf.linalg.global_norm(norms), tf.float32), by_group, (y, y_pred), before

    def _update(self, gradients: Any, outputs: Any, rates: tf.Tensor, step: tf.Tensor) -> None:
        for k, group in enumerate(self.active):
            group.optimizer.learning_rate.assign(rates[k])
            apply = functools.partial(self._apply, k, gradients[k], rates[k])
            if group.every == 1:
                apply()
            else:
                tf.cond((step + 1) % group.every == 0, apply, lambda: rates[k])  # noqa: B023 (called at once)
        self.strategy.run(self.update_metrics, args=(outputs[0], outputs[1]))

    def _apply(self, k: int, gradients: list[Any], rate: tf.Tensor) -> tf.Tensor:
        group = self.active[k]
        self.strategy.run(lambda own: group.optimizer.apply(own, group.variables), args=(gradients,))
        return rate

    def update_metrics(self, y: tf.Tensor, y_pred: tf.Tensor, weights: tf.Tensor | None = None) -> None:
        """Updates every metric but the loss, in the target's own unit."""
        y, y_pred = self.target.restore(y), self.target.restore(y_pred)
        for metric in self.metrics:
            metric.update_state(y, y_pred, sample_weight=weights)

    def _sum(self, value: Any) -> tf.Tensor:
        return value if self.strategy.num_replicas_in_sync == 1 else self.strategy.reduce("SUM", value, axis=None)

    def _one(self, value: Any) -> tf.Tensor:
        """Returns a value that all replicas agree on."""
        return self.strategy.experimental_local_results(value)[0]


def gather(data: Any, rows: tf.Tensor) -> Any:
    """Returns the given rows of every resident tensor."""
    return tf.nest.map_structure(lambda tensor: tf.gather(tensor, rows), data)


def own_share(rows: tf.Tensor) -> tf.Tensor:
    """Returns this replica's equal share of a batch's leading axis."""
    context = tf.distribute.get_replica_context()
    share = rows.shape[0] // context.num_replicas_in_sync
    return tf.reshape(tf.slice(rows, [context.replica_id_in_sync_group * share], [share]), [share])
