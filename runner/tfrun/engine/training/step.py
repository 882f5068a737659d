"""One training step: forward, loss, gradients, the check, then every optimizer group and the metrics."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfrun.engine.private import seeds_of_replicas
from tfrun.engine.training import replicas
from tfrun.engine.training.augmentation import Augmenter, Batch, mixed_loss
from tfrun.engine.training.averages import AveragedWeights
from tfrun.engine.training.batches import gather, has_weights, share_of_replica
from tfrun.engine.training.class_weights import ClassWeights
from tfrun.engine.training.epoch_metrics import EpochMetrics
from tfrun.engine.training.groups import Group
from tfrun.engine.training.tolerances import LossScale, Skips
from tfrun.engine.training.vectorize import cond
from tfrun.errors import ConfigError
from tfrun.protocols import AlgorithmOffer

NO_STEP = -1
MAX_SEQUENTIAL_SUM = 2048  # numbers that are added one after the other


@dataclass(frozen=True)
class StepOptions:
    """What a step does beside the update itself.

    Attributes:
        microbatches: the number of equal parts that a batch is computed in, one after the other; their gradients are
            averaged.
        loss_scale: for gradients in float16, or None.
        averages: the moving averages of the weights, or None.
        skips: counts the steps that are taken without an update; None ends the run at such a step.
        augmenter: changes the batches at random, or None.
        class_weights: the weights of the classes in the loss, which apply to training alone, or None.
    """

    microbatches: int = 1
    loss_scale: LossScale | None = None
    averages: AveragedWeights | None = None
    skips: Skips | None = None
    augmenter: Augmenter | None = None
    class_weights: ClassWeights | None = None


class StepResult(NamedTuple):
    """What a step returns.

    Attributes:
        loss: with a loss for each optimizer group, the first one; scalar float32.
        norm: the global norm of all gradients, scalar float32.
        learning_rates: of each active group, (num_groups,) float32.
        taken: whether the step was taken, scalar bool.
    """

    loss: tf.Tensor
    norm: tf.Tensor
    learning_rates: tf.Tensor
    taken: tf.Tensor


class Gradients(NamedTuple):
    """What a step computes on one replica before it changes anything.

    Attributes:
        loss: this replica's share of the loss, scalar float32.
        norm: the global norm of all gradients, before they are clipped, scalar float32.
        by_group: the clipped gradients of each active group.
        outputs: (y, y_pred, weights), for the metrics.
        before: the values that the variables had which a forward pass may change.
    """

    loss: tf.Tensor
    norm: tf.Tensor
    by_group: list[list[Any]]
    outputs: tuple[Any, Any, Any]
    before: list[tf.Tensor]


class Step:
    """Trains on one batch; called inside the compiled program, or eagerly by a person who debugs.

    A batch goes through two phases. `compute` runs on each replica and changes nothing but what a forward pass
    changes. If loss, gradients and learning rates are finite, `_update` changes the weights; if not, the forward pass'
    changes are undone too, so that the state stays that of the last good step.

    Args:
        strategy: the devices.
        model: the model that is trained.
        algorithm: says which loss is minimized.
        loss: a function (y_true, y_pred) → (B,).
        groups: the optimizer groups.
        metrics: the training metrics of an epoch.
        options: what else a step does.

    Attributes:
        active: the groups that aren't frozen.
        own_metrics: the metrics that the model and the algorithm update themselves, in training and in validation.
        refused: the step, counted from 0, that must make no update, or NO_STEP. A scalar int64 variable.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        model: keras.Model,
        *,
        algorithm: AlgorithmOffer,
        loss: Any,
        groups: Sequence[Group],
        metrics: EpochMetrics,
        options: StepOptions = StepOptions(),  # noqa: B008 (frozen)
    ):
        self.strategy = strategy
        self.model = model
        self.algorithm = algorithm
        self.loss = loss
        self.groups = groups
        self.active = [group for group in groups if group.optimizer is not None]
        self.metrics = metrics
        self.options = options
        self.own_metrics = [*model.metrics, *algorithm.metrics]
        self.refused = keras.Variable(
            NO_STEP, dtype="int64", trainable=False, aggregation="only_first_replica", name="refused"
        )
        self._trained = [variable for group in self.active for variable in group.variables]

    @property
    def learns_targets(self) -> bool:
        """Whether the model predicts the data's targets; if not, the algorithm has targets of its own."""
        return not self.algorithm.own_targets

    @property
    def all_metrics(self) -> list[Any]:
        """Every metric of the training split, the loss first."""
        return [*self.metrics.all, *self.own_metrics]

    @property
    def _changed_by_forward(self) -> list[Any]:
        """The variables that a forward pass may change."""
        of_metrics = [variable for metric in self.own_metrics for variable in metric.variables]
        return [*self.model.non_trainable_variables, *of_metrics, *self.algorithm.variables]

    def __call__(self, data: Any, rows: tf.Tensor, step: tf.Tensor, *, sums_by_halves: bool = False) -> StepResult:
        """Trains on one batch.

        Args:
            data: examples, (inputs, targets, weights).
            rows: the batch's row numbers, (batch_size,) int32.
            step: the number of steps done before this one, a scalar int64.
            sums_by_halves: how sums of squares are computed; `_sum_of_squares` explains it.
        """
        with seeds_of_replicas() if self.strategy.num_replicas_in_sync > 1 else contextlib.nullcontext():
            computed = self.strategy.run(
                self.compute, args=(data, rows, step), kwargs={"sums_by_halves": sums_by_halves}
            )
        loss = self._sum(computed.loss)
        norm = self._one(computed.norm)
        rates = tf.stack([group.learning_rate(step) for group in self.active])
        may_update = tf.reduce_all(tf.math.is_finite(rates))
        may_update &= tf.cast(step, tf.int64) != tf.convert_to_tensor(self.refused)
        finite = tf.math.is_finite(loss) & tf.math.is_finite(norm) & may_update

        def update() -> tf.Tensor:
            self.synchronize()
            self._update(computed.by_group, computed.outputs, rates=rates, step=step)
            self.metrics.loss_mean.update_state(loss)
            if self.options.averages is not None:
                self.options.averages.update(step)
            return rates

        def undo_forward() -> tf.Tensor:
            for variable, value in zip(self._changed_by_forward, computed.before, strict=True):
                self._assign(variable, value)
            return rates

        rates = cond(finite, update, undo_forward)
        # the loss scale isn't to blame for a learning rate, or for an update, that isn't finite
        usable_loss = tf.where(may_update, loss, np.nan)
        return StepResult(loss, norm, rates, self._is_taken(usable_loss, finite))

    def _is_taken(self, loss: tf.Tensor, finite: tf.Tensor) -> tf.Tensor:
        """Returns whether a step is taken, without an update if its numbers aren't finite; a scalar bool."""
        scale, skips = self.options.loss_scale, self.options.skips
        explained = finite  # or the loss scale is too large
        if scale is not None:
            explained |= scale.tolerates(loss)
        taken = explained if skips is None else explained | skips.tolerates(loss)
        if scale is not None:
            scale.update(finite, taken)
        if skips is not None:
            skips.update(explained, taken)
        return taken

    def compute(self, data: Any, rows: tf.Tensor, step: tf.Tensor, *, sums_by_halves: bool = False) -> Gradients:
        """Computes a batch's loss and gradients, on one replica. The arguments are those of a call."""
        before = [tf.identity(tf.convert_to_tensor(variable)) for variable in self._changed_by_forward]
        augmenter = self.options.augmenter
        batch = Batch(*gather(data, share_of_replica(rows))) if augmenter is None else augmenter.batch(data, rows, step)
        differentiate = functools.partial(self._differentiate_parts, *batch)
        if self.algorithm.gradients is not None:
            loss, y_pred, gradients = self.algorithm.gradients(differentiate, self._trained)
        else:
            loss, y_pred, gradients = differentiate()
        if self.strategy.num_replicas_in_sync > 1:
            gradients = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        by_group, norms = self._clip(gradients, sums_by_halves=sums_by_halves)
        norm = tf.sqrt(tf.add_n([tf.square(group_norm) for group_norm in norms]))
        y, weights = batch.for_metrics
        return Gradients(loss, tf.cast(norm, tf.float32), by_group, (y, y_pred, weights), before)

    def synchronize(self) -> None:
        """Makes what forward passes have changed the same on all replicas."""
        replicas.synchronize(self.strategy, self._changed_by_forward)

    def _clip(self, gradients: list[Any], *, sums_by_halves: bool) -> tuple[list[list[Any]], list[tf.Tensor]]:
        """Returns the gradients of each active group, clipped, and their global norms before that."""
        by_group: list[list[Any]] = []
        norms = []
        start = 0
        for group in self.active:
            of_group = gradients[start : start + len(group.variables)]
            start += len(group.variables)
            squares = [self._sum_of_squares(gradient, by_halves=sums_by_halves) for gradient in of_group]
            norms.append(tf.sqrt(tf.add_n(squares)))
            if group.clip_norm is not None:
                of_group, _ = tf.clip_by_global_norm(of_group, group.clip_norm, use_norm=norms[-1])
            by_group.append(of_group)
        return by_group, norms

    def _differentiate_parts(self, *batch: Any) -> tuple[tf.Tensor, Any, list[tf.Tensor]]:
        """Runs `_differentiate` on each microbatch and averages losses and gradients."""
        count = self.options.microbatches
        if count == 1:
            return self._differentiate(*batch)
        parts = tf.nest.map_structure(lambda tensor: tf.reshape(tensor, [count, -1, *tensor.shape[1:]]), batch)

        def part(k: Any) -> tuple[tf.Tensor, Any, list[tf.Tensor]]:
            return self._differentiate(*tf.nest.map_structure(lambda tensor: tensor[k], parts))

        def add(k: Any, loss: Any, outputs: Any, gradients: Any) -> tuple[Any, ...]:
            part_loss, part_outputs, part_gradients = part(k)
            outputs = tf.nest.map_structure(
                lambda all, one: tf.tensor_scatter_nd_update(all, [[k]], [one]), outputs, part_outputs
            )
            return k + 1, loss + part_loss, outputs, [a + b for a, b in zip(gradients, part_gradients, strict=True)]

        loss, first, gradients = part(0)  # gives the shapes of the others
        outputs = tf.nest.map_structure(lambda tensor: tf.repeat(tensor[None], count, axis=0), first)
        start = (tf.constant(1), loss, outputs, gradients)
        # one at a time, which is what saves memory
        _, loss, outputs, gradients = tf.while_loop(lambda k, *_: k < count, add, start, parallel_iterations=1)
        outputs = tf.nest.map_structure(lambda tensor: tf.reshape(tensor, [-1, *tensor.shape[2:]]), outputs)
        return loss / count, outputs, [gradient / count for gradient in gradients]

    def _differentiate(
        self, x: Any, y: tf.Tensor, weights: Any, parts: tuple[Any, ...]
    ) -> tuple[tf.Tensor, Any, list[tf.Tensor]]:
        """Returns this replica's share of the loss, a scalar float32, y_pred, and each trained variable's gradient."""
        scale, of_classes = self.options.loss_scale, self.options.class_weights
        with tf.GradientTape(persistent=True) as tape:
            tape.watch([variable.value for variable in self._trained])
            with contextlib.nullcontext() if of_classes is None else of_classes.applied():
                total, y_pred = self.algorithm.forward(self.model, mixed_loss(self.loss, weights, parts), x, y)
            totals = total if isinstance(total, dict) else {"": total}
            count = self.strategy.num_replicas_in_sync
            totals = {name: tf.cast(value, tf.float32) / count for name, value in totals.items()}
            scaled = totals if scale is None else {name: scale.up(value) for name, value in totals.items()}
        if not isinstance(total, dict):
            gradients = tape.gradient(scaled[""], [variable.value for variable in self._trained])
        elif totals.keys() == {group.name for group in self.active}:
            by_group = [tape.gradient(scaled[group.name], [v.value for v in group.variables]) for group in self.active]
            gradients = [gradient for of_group in by_group for gradient in of_group]
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
        if self.algorithm.evaluate is not None:
            return self.algorithm.evaluate(self.model, loss, x, y)
        y_pred = self.model(x, training=False)
        losses = loss(y, y_pred)
        return (losses + tf.add_n(self.model.losses) if self.model.losses else losses), y_pred

    def _sum_of_squares(self, gradient: tf.Tensor, *, by_halves: bool) -> tf.Tensor:
        """Returns a scalar.

        In a loop of XLA on a CPU a sum is one addition after the other, which took a third of a step of a
        784-300-100-10 net. Halves that are added to each other are many additions at a time.
        """
        if not by_halves:
            return 2.0 * tf.nn.l2_loss(gradient)
        squares = tf.square(tf.reshape(gradient, [-1]))
        rest = tf.zeros([], gradient.dtype)
        size = squares.shape[0]
        while size > MAX_SEQUENTIAL_SUM:
            if size % 2:
                rest += squares[size - 1]
            size //= 2
            squares = squares[:size] + squares[size : 2 * size]
        return tf.reduce_sum(squares) + rest

    def _update(self, gradients: Any, outputs: Any, *, rates: tf.Tensor, step: tf.Tensor) -> None:
        for k, group in enumerate(self.active):
            group.optimizer.learning_rate.assign(rates[k])
            apply = functools.partial(self._apply, k, gradients[k], rates[k])
            updates = group.updates(step)
            if updates is None:
                apply()
            else:
                cond(updates, apply, lambda: rates[k])  # noqa: B023 (called at once)
        if self.metrics.metrics:
            self.strategy.run(self.update_metrics, args=outputs)

    def _apply(self, k: int, gradients: list[Any], rate: tf.Tensor) -> tf.Tensor:
        group = self.active[k]
        self.strategy.run(lambda values: group.optimizer.apply(values, group.variables), args=(gradients,))
        return rate

    def update_metrics(self, y: tf.Tensor, y_pred: Any, weights: Any) -> None:
        """Updates every metric but the loss."""
        self.metrics.update(y, y_pred, weights if has_weights(weights) else None)

    def _sum(self, value: Any) -> tf.Tensor:
        return value if self.strategy.num_replicas_in_sync == 1 else self.strategy.reduce("SUM", value, axis=None)

    def _assign(self, variable: Any, value: Any) -> None:
        """Assigns to a variable the value of each replica."""
        if self.strategy.num_replicas_in_sync == 1:
            variable.assign(value)
            return
        of_replicas = self.strategy.experimental_local_results(value)
        for component, part in zip(replicas.components(self.strategy, variable), of_replicas, strict=True):
            component.assign(part)

    def _one(self, value: Any) -> tf.Tensor:
        """Returns a value that all replicas agree on."""
        return self.strategy.experimental_local_results(value)[0]
