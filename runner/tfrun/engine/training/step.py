"""One training step: forward, loss, gradients, the check, then every optimizer group and the metrics."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfrun.data.targets import MAIN_OUTPUT, TargetScale, of_output
from tfrun.engine.training.averages import AveragedWeights
from tfrun.engine.training.groups import Group
from tfrun.engine.training.loss_scale import LossScale
from tfrun.engine.training.skips import Skips
from tfrun.engine.training.vectorize import either
from tfrun.errors import ConfigError

MAX_SUMMED = 2048  # one after the other


class Step:
    """What happens to the state at one step; called in the compiled program, or eagerly by a person debugging.

    A batch goes through two phases. `compute` runs on each replica and changes nothing but what a forward pass
    changes. Where loss and gradients are finite, `_update` changes the weights; where they are not, nothing is left
    changed, so the state stays that of the last good step.

    Args:
        strategy: the devices.
        model, algorithm, loss: what is trained, and how.
        groups: which optimizer updates which variables.
        loss_mean, metrics: of an epoch's batches.
        target: the target's unit.
        microbatches: how many equal parts of a batch are worked through one after the other, their gradients averaged.
        loss_scale: for gradients in float16.
        averages: of the weights, over the steps.
        skips: counts the steps that are taken without an update; None where such a step ends the run.
        other_targets: further targets' units, by output.
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
        microbatches: int = 1,
        loss_scale: LossScale | None = None,
        averages: AveragedWeights | None = None,
        skips: Skips | None = None,
        other_targets: Mapping[str, TargetScale] = {},  # noqa: B006 (never changed)
    ):
        self.strategy = strategy
        self.model = model
        self.algorithm = algorithm
        self.loss = loss
        self.groups = groups
        self.active = [group for group in groups if group.optimizer is not None]
        self.loss_mean = loss_mean
        self.metrics = metrics
        self.targets = {MAIN_OUTPUT: target, **other_targets}
        self.microbatches = microbatches
        self.loss_scale = loss_scale
        self.averages = averages
        self.skips = skips
        self._tolerances = [own for own in (loss_scale, skips) if own is not None]
        # those that the model and the algorithm update themselves, in training and in validation
        self.own_metrics = [*model.metrics, *getattr(algorithm, "metrics", [])]
        self.sums_by_halves = False  # set while the step is traced
        self._trained = [variable for group in self.active for variable in group.variables]

    @property
    def learns_targets(self) -> bool:
        """Whether the model predicts the data's targets, or the algorithm has others of its own."""
        return learns_targets(self.algorithm)

    def __call__(self, data: Any, rows: tf.Tensor, step: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Trains on one batch.

        Args:
            data: examples, (inputs, targets, weights); () for no weights.
            rows: the batch's row numbers, (batch_size,) int32.
            step: the number of steps done before this one, a scalar int64.

        Returns:
            The loss and the gradients' global norm (scalar float32), the learning rate of each active group
            (num_groups,) float32, and whether the step was taken (scalar bool).
        """
        loss, norm, gradients, outputs, changed = self.strategy.run(self.compute, args=(data, rows))
        loss, norm = self._sum(loss), self._one(norm)
        finite = tf.math.is_finite(loss) & tf.math.is_finite(norm)
        rates = tf.stack([group.learning_rate(step) for group in self.active])

        def update() -> tf.Tensor:
            self._update(gradients, outputs, rates, step)
            self.loss_mean.update_state(loss)
            if self.averages is not None:
                self.averages.update(step)
            return rates

        def put_back() -> tf.Tensor:
            for variable, value in zip(self.model.non_trainable_variables, changed, strict=True):
                variable.assign(self._one(value))
            return rates

        rates, ok = either(finite, update, put_back), finite
        for own in self._tolerances:  # then the step is taken without an update
            ok |= own.tolerates(loss)
        for own in self._tolerances:
            own.update(finite, ok)
        return loss, norm, rates, ok

    def compute(self, data: Any, rows: tf.Tensor) -> tuple[Any, ...]:
        """Returns a batch's loss, its gradients and what else an update takes, on one replica."""
        replicas = self.strategy.num_replicas_in_sync
        before = [tf.identity(variable.value) for variable in self.model.non_trainable_variables]
        x, y, weights = gather(data, own_share(rows))
        differentiate = functools.partial(self._differentiate_parts, x, y, weights)
        if hasattr(self.algorithm, "gradients"):
            loss, y_pred, gradients = self.algorithm.gradients(differentiate, self._trained)
        else:
            loss, y_pred, gradients = differentiate()
        if replicas > 1:
            gradients = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        by_group, norms, start = [], [], 0
        for group in self.active:
            own = gradients[start : start + len(group.variables)]
            start += len(group.variables)
            norms.append(tf.sqrt(tf.add_n([self._sum_of_squares(gradient) for gradient in own])))
            if group.clip_norm is not None:
                own, _ = tf.clip_by_global_norm(own, group.clip_norm, use_norm=norms[-1])
            by_group.append(own)
        norm = tf.sqrt(tf.add_n([tf.square(own) for own in norms]))
        return loss, tf.cast(norm, tf.float32), by_group, (y, y_pred, weights), before

    def _differentiate_parts(self, *batch: Any) -> tuple[tf.Tensor, Any, list[tf.Tensor]]:
        """Returns what `_differentiate` does of all parts of a batch together."""
        count = self.microbatches
        if count == 1:
            return self._differentiate(*batch)
        parts = tf.nest.map_structure(lambda own: tf.reshape(own, [count, -1, *own.shape[1:]]), batch)

        def part(k: Any) -> tuple[tf.Tensor, Any, list[tf.Tensor]]:
            return self._differentiate(*tf.nest.map_structure(lambda own: own[k], parts))

        def add(k: Any, loss: Any, outputs: Any, gradients: Any) -> tuple[Any, ...]:
            own_loss, own_outputs, own_gradients = part(k)
            outputs = tf.nest.map_structure(
                lambda all, own: tf.tensor_scatter_nd_update(all, [[k]], [own]), outputs, own_outputs
            )
            return k + 1, loss + own_loss, outputs, [a + b for a, b in zip(gradients, own_gradients, strict=True)]

        loss, first, gradients = part(0)  # tells the shapes of the others
        outputs = tf.nest.map_structure(lambda own: tf.repeat(own[None], count, axis=0), first)
        start = (tf.constant(1), loss, outputs, gradients)
        # one at a time, which is what saves memory
        _, loss, outputs, gradients = tf.while_loop(lambda k, *_: k < count, add, start, parallel_iterations=1)
        outputs = tf.nest.map_structure(lambda own: tf.reshape(own, [-1, *own.shape[2:]]), outputs)
        return loss / count, outputs, [gradient / count for gradient in gradients]

    def _differentiate(self, x: Any, y: tf.Tensor, weights: Any) -> tuple[tf.Tensor, Any, list[tf.Tensor]]:
        """Returns this replica's share of the loss, a scalar float32, y_pred, and each trained variable's gradient."""
        scale = self.loss_scale
        with tf.GradientTape(persistent=True) as tape:
            tape.watch([variable.value for variable in self._trained])
            total, y_pred = self.algorithm.forward(self.model, weighted(self.loss, weights), x, y)
            totals = total if isinstance(total, dict) else {"": total}
            totals = {
                name: tf.cast(own, tf.float32) / self.strategy.num_replicas_in_sync for name, own in totals.items()
            }
            scaled = totals if scale is None else {name: scale.up(own) for name, own in totals.items()}
        if not isinstance(total, dict):
            gradients = tape.gradient(scaled[""], [variable.value for variable in self._trained])
        elif totals.keys() == {group.name for group in self.active}:
            of_groups = [tape.gradient(scaled[group.name], [v.value for v in group.variables]) for group in self.active]
            gradients = [gradient for own in of_groups for gradient in own]
        else:
            raise ConfigError(
                f"optimizer.groups: the algorithm has a loss for each of {', '.join(totals)}. "
                f"Received: {', '.join(group.name for group in self.active)}"
            )
        missing = [v.path for v, gradient in zip(self._trained, gradients, strict=True) if gradient is None]
        if missing:
            raise ConfigError(
                "model: the loss doesn't depend on every trainable variable, so these get no gradient. "
                f"Received: {', '.join(missing)}. Put them into a group with frozen: true, or use them"
            )
        gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]
        return next(iter(totals.values())), y_pred, gradients if scale is None else [*map(scale.down, gradients)]

    def evaluate(self, loss: Any, x: Any, y: tf.Tensor) -> tuple[tf.Tensor, Any]:
        """Returns the loss of each example, (B,), and y_pred, outside of training."""
        if hasattr(self.algorithm, "evaluate"):
            return self.algorithm.evaluate(self.model, loss, x, y)
        y_pred = self.model(x, training=False)
        losses = loss(y, y_pred)
        return (losses + tf.add_n(self.model.losses) if self.model.losses else losses), y_pred

    def _sum_of_squares(self, gradient: tf.Tensor) -> tf.Tensor:
        """Returns a scalar.

        In a loop of XLA on a CPU a sum is one addition after the other, which took a third of a step of a
        784-300-100-10 net; halves that are added to each other are many additions at a time.
        """
        if not self.sums_by_halves:
            return 2.0 * tf.nn.l2_loss(gradient)
        squares, rest = tf.square(tf.reshape(gradient, [-1])), tf.zeros([], gradient.dtype)
        size = squares.shape[0]
        while size > MAX_SUMMED:
            if size % 2:
                rest += squares[size - 1]
            size //= 2
            squares = squares[:size] + squares[size : 2 * size]
        return tf.reduce_sum(squares) + rest

    def _update(self, gradients: Any, outputs: Any, rates: tf.Tensor, step: tf.Tensor) -> None:
        for k, group in enumerate(self.active):
            group.optimizer.learning_rate.assign(rates[k])
            apply = functools.partial(self._apply, k, gradients[k], rates[k])
            updates = group.updates(step)
            if updates is None:
                apply()
            else:
                either(updates, apply, lambda: rates[k])  # noqa: B023 (called at once)
        if self.metrics:
            self.strategy.run(self.update_metrics, args=outputs)

    def _apply(self, k: int, gradients: list[Any], rate: tf.Tensor) -> tf.Tensor:
        group = self.active[k]
        self.strategy.run(lambda own: group.optimizer.apply(own, group.variables), args=(gradients,))
        return rate

    def update_metrics(self, y: tf.Tensor, y_pred: Any, weights: Any) -> None:
        """Updates every metric but the loss, in the target's own unit."""
        update(self.metrics, self.targets, y, y_pred, None if isinstance(weights, tuple) else weights)

    def _sum(self, value: Any) -> tf.Tensor:
        return value if self.strategy.num_replicas_in_sync == 1 else self.strategy.reduce("SUM", value, axis=None)

    def _one(self, value: Any) -> tf.Tensor:
        """Returns a value that all replicas agree on."""
        return self.strategy.experimental_local_results(value)[0]


def update(metrics: Sequence[Any], targets: Mapping[str, TargetScale], y: Any, y_pred: Any, weights: Any) -> None:
    """Updates metrics with a batch, each with the target and the output that it is of, in the target's own unit."""
    restored: dict[str, tuple[tf.Tensor, tf.Tensor]] = {}
    for metric in metrics:
        name = getattr(metric, "output", MAIN_OUTPUT)
        if name not in restored:
            scale = targets.get(name, targets[MAIN_OUTPUT])
            restored[name] = scale.restore(of_output(y, name)), scale.restore(of_output(y_pred, name))
        metric.update_state(*restored[name], sample_weight=weights)


def learns_targets(algorithm: Any) -> bool:
    """Returns whether an algorithm learns the data's targets."""
    return not getattr(algorithm, "own_targets", False)


def weighted(loss: Callable[..., tf.Tensor], weights: Any) -> Callable[..., tf.Tensor]:
    """Returns a loss whose values are multiplied with the rows' weights, if there are any."""
    if isinstance(weights, tuple):
        return loss
    return lambda y, y_pred: loss(y, y_pred) * weights


def gather(data: Any, rows: tf.Tensor) -> Any:
    """Returns the given rows of every resident tensor."""
    return tf.nest.map_structure(lambda tensor: tf.gather(tensor, rows), data)


def own_share(rows: tf.Tensor) -> tf.Tensor:
    """Returns this replica's equal share of a batch's leading axis."""
    context = tf.distribute.get_replica_context()
    share = rows.shape[0] // context.num_replicas_in_sync
    return tf.reshape(tf.slice(rows, [context.replica_id_in_sync_group * share], [share]), [share])
