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
from tfrun.engine.training import ftrl, replicas
from tfrun.engine.training.augmentation import Augmenter, Batch, mixed_loss
from tfrun.engine.training.averages import AveragedWeights
from tfrun.engine.training.batches import gather, has_weights, share_of_replica
from tfrun.engine.training.class_weights import ClassWeights
from tfrun.engine.training.clipping import clip_groups
from tfrun.engine.training.epoch_metrics import EpochMetrics
from tfrun.engine.training.forward_graph import ForwardGraph
from tfrun.engine.training.groups import Group
from tfrun.engine.training.rows import Tracing, add_part, each_number, first_part, mean_of_parts
from tfrun.engine.training.stages import Stage, Stages
from tfrun.engine.training.table import Table
from tfrun.engine.training.tables import Tables, Undo
from tfrun.engine.training.tolerances import LossScale, Skips
from tfrun.engine.training.vectorize import cond
from tfrun.errors import ConfigError
from tfrun.protocols import AlgorithmOffer

NO_STEP = -1


@dataclass(frozen=True)
class StepOptions:
    """The parts of a step beside the update itself.

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
    """The results of a step.

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
    """The results of a step on one replica before it changes anything.

    Attributes:
        loss: the batch's loss, scalar float32.
        norm: the global norm of all gradients, before they are clipped, scalar float32.
        by_group: the clipped gradients of each active group, those of tables as `RowGradient`s.
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
        tables: the variables that are updated by rows.
        stages: which groups a step trains, and whose layers it calls as in inference.
        forward: the graph of the forward pass and the loss, once the step is traced.
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
        self.tables = Tables([], self.active, strategy)
        self.stages = Stages(model, groups)
        self.forward = ForwardGraph()
        self._trained = [variable for group in self.active for variable in group.variables]

    def update_by_rows(self, tables: Sequence[Table]) -> None:
        """Makes the step update these tables by rows; called before it is traced."""
        self.tables = Tables(tables, self.active, self.strategy)

    @property
    def learns_targets(self) -> bool:
        """Whether the model predicts the data's targets; if not, the algorithm has targets of its own."""
        return not self.algorithm.own_targets

    @property
    def all_metrics(self) -> list[Any]:
        """Every metric of the training split, the loss first."""
        return [*self.metrics.all, *self.own_metrics]

    @property
    def changed_by_forward(self) -> list[Any]:
        """The variables that a forward pass may change."""
        of_metrics = [variable for metric in self.own_metrics for variable in metric.variables]
        return [*self.model.non_trainable_variables, *of_metrics, *self.algorithm.variables]

    @property
    def _other_changes(self) -> list[Any]:
        """The variables that a step changes beside those of the model and of its optimizers."""
        of_metrics = [variable for metric in self.all_metrics for variable in metric.variables]
        known = {id(variable) for variable in self._must_stay_finite}
        return [v for v in (*of_metrics, *self.algorithm.variables) if id(v) not in known]

    @property
    def _must_stay_finite(self) -> list[Any]:
        """The variables of the model and of its optimizers that a step changes, without tables and their slots."""
        by_rows = {id(variable) for variable in self.tables.variables}
        of_optimizers = [variable for group in self.active for variable in group.optimizer.variables]
        changed = (*self._trained, *self.model.non_trainable_variables, *of_optimizers)
        return [variable for variable in changed if id(variable) not in by_rows]

    def __call__(self, data: Any, rows: tf.Tensor, step: tf.Tensor, *, tracing: Tracing = Tracing()) -> StepResult:  # noqa: B008 (frozen)
        """Trains on one batch.

        Args:
            data: examples, (inputs, targets, weights).
            rows: the batch's row numbers, (batch_size,) int32.
            step: the number of steps done before this one, a scalar int64.
            tracing: how the step is traced.
        """
        with seeds_of_replicas() if self.strategy.num_replicas_in_sync > 1 else contextlib.nullcontext():
            computed = self.strategy.run(self.compute, args=(data, rows, step), kwargs={"tracing": tracing})
        loss = self._one(computed.loss)
        norm = self._one(computed.norm)
        rates = tf.stack([group.learning_rate(step) for group in self.active])
        may_update = tf.reduce_all(tf.math.is_finite(rates))
        may_update &= tf.cast(step, tf.int64) != tf.convert_to_tensor(self.refused)
        finite = tf.math.is_finite(loss) & tf.math.is_finite(norm) & may_update
        update_if = functools.partial(self._update_if, computed=computed, loss=loss, rates=rates, step=step)
        if self.tables:
            proposed = self.strategy.run(self.tables.propose, args=(computed.by_group, rates))
            undo = self._undo(computed)
            all_finite = finite & self.tables.are_finite(proposed)
            rates = update_if(all_finite, proposed)
            all_finite &= undo.unless_finite()
            self.strategy.run(self.tables.write, args=(proposed, all_finite, step, tracing))
            may_update &= all_finite | ~finite
            finite = all_finite
        else:
            rates = update_if(finite, [])
        # the loss scale isn't to blame for a learning rate, or for an update, that isn't finite
        usable_loss = tf.where(may_update, loss, np.nan)
        return StepResult(loss, norm, rates, self._is_taken(usable_loss, finite))

    def _update_if(
        self,
        finite: tf.Tensor,
        proposed: Any,
        *,
        computed: Gradients,
        loss: tf.Tensor,
        rates: tf.Tensor,
        step: tf.Tensor,
    ) -> tf.Tensor:
        """Updates everything except tables, or undoes the forward pass if a number isn't finite; returns the rates."""

        def update() -> tf.Tensor:
            self.synchronize()
            self._update(computed.by_group, computed.outputs, rates=rates, step=step, proposed=proposed)
            self.strategy.run(self._add_loss, args=(loss,))
            if self.options.averages is not None:
                self.options.averages.update(step)
            return rates

        def undo() -> tf.Tensor:
            self.undo_forward(computed)
            return rates

        return cond(finite, update, undo)

    def undo_forward(self, computed: Gradients) -> None:
        """Takes back what the forward pass of `compute` has changed."""
        for variable, value in zip(self.changed_by_forward, computed.before, strict=True):
            self._assign(variable, value)

    def _undo(self, computed: Gradients) -> Undo:
        """Returns what takes back this step, apart from its tables."""
        forward = list(zip(self.changed_by_forward, computed.before, strict=True))
        changed = [*self._must_stay_finite, *self._other_changes]
        return Undo(self.strategy, changed, watched=self._must_stay_finite, forward=forward)

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

    def compute(self, data: Any, rows: tf.Tensor, step: tf.Tensor, *, tracing: Tracing = Tracing()) -> Gradients:  # noqa: B008 (frozen)
        """Computes a batch's loss and gradients, on one replica. The arguments are those of a call."""
        before = [tf.identity(tf.convert_to_tensor(variable)) for variable in self.changed_by_forward]
        augmenter = self.options.augmenter
        batch = Batch(*gather(data, share_of_replica(rows))) if augmenter is None else augmenter.batch(data, rows, step)
        differentiate = functools.partial(self._differentiate_parts, *batch, stage=tracing.stage)
        with self.stages.entered(tracing.stage):
            if self.algorithm.gradients is not None:
                differentiate_once = functools.partial(self.tables.with_sums, differentiate, self._trained, tracing)
                loss, y_pred, gradients = self.algorithm.gradients(differentiate_once, self._trained)
            else:
                loss, y_pred, gradients = differentiate()
        if self.strategy.num_replicas_in_sync > 1:
            loss, *gradients = replicas.summed([loss, *gradients])
        gradients = self.tables.summed(gradients, self._trained, tracing)
        by_group, norms = clip_groups(self.active, gradients, sums_by_halves=tracing.sums_by_halves)
        norm = tf.sqrt(tf.add_n([tf.square(group_norm) for group_norm in norms]))
        y, weights = batch.for_metrics
        return Gradients(loss, tf.cast(norm, tf.float32), by_group, (y, y_pred, weights), before)

    def synchronize(self) -> None:
        """Makes what forward passes have changed the same on all replicas."""
        replicas.synchronize(self.strategy, self.changed_by_forward)

    def _differentiate_parts(self, *batch: Any, stage: Stage) -> tuple[tf.Tensor, Any, list[tf.Tensor]]:
        """Runs `_differentiate` on each microbatch and averages losses and gradients."""
        count = self.options.microbatches
        if count == 1:
            return self._differentiate(*batch, stage=stage)
        parts = tf.nest.map_structure(lambda tensor: tf.reshape(tensor, [count, -1, *tensor.shape[1:]]), batch)

        def part(k: Any) -> tuple[tf.Tensor, Any, list[tf.Tensor]]:
            return self._differentiate(*tf.nest.map_structure(lambda tensor: tensor[k], parts), stage=stage)

        def add(k: Any, loss: Any, outputs: Any, gradients: Any) -> tuple[Any, ...]:
            part_loss, part_outputs, part_gradients = part(k)
            outputs = tf.nest.map_structure(
                lambda all, one: tf.tensor_scatter_nd_update(all, [[k]], [one]), outputs, part_outputs
            )
            return k + 1, loss + part_loss, outputs, add_part(gradients, part_gradients, k)

        loss, first, of_first = part(0)  # gives the shapes of the others
        outputs = tf.nest.map_structure(lambda tensor: tf.repeat(tensor[None], count, axis=0), first)
        start = (tf.constant(1), loss, outputs, first_part(of_first, count))
        # one at a time, which is what saves memory
        _, loss, outputs, gradients = tf.while_loop(lambda k, *_: k < count, add, start, parallel_iterations=1)
        outputs = tf.nest.map_structure(lambda tensor: tf.reshape(tensor, [-1, *tensor.shape[2:]]), outputs)
        return loss / count, outputs, mean_of_parts(gradients, of_first, count)

    def _differentiate(
        self, x: Any, y: tf.Tensor, weights: Any, parts: tuple[Any, ...], *, stage: Stage
    ) -> tuple[tf.Tensor, Any, list[tf.Tensor]]:
        """Returns this replica's share of the loss, a scalar float32, y_pred, and each trained variable's gradient.

        The gradients of tables are tf.IndexedSlices.
        """
        loss, y_pred, gradients = self.raw_gradients(x, y, weights, parts, stage=stage)
        gradients = self.tables.kept_by_rows(gradients, self._trained)
        scale = self.options.loss_scale
        return loss, y_pred, gradients if scale is None else [each_number(g, scale.down) for g in gradients]

    def raw_gradients(
        self,
        x: Any,
        y: tf.Tensor,
        weights: Any,
        parts: tuple[Any, ...],
        *,
        stage: Stage = Stage(),  # noqa: B008 (frozen)
    ) -> tuple[tf.Tensor, Any, list[Any]]:
        """Returns the same with the gradients as TensorFlow returns them: scaled, and by rows wherever it can."""
        idle = self._not_differentiated(stage)
        scale, of_classes = self.options.loss_scale, self.options.class_weights
        with tf.GradientTape(persistent=True) as tape:
            tape.watch([variable.value for variable in self._trained])
            with (
                self.forward.noted(self.model.name),
                contextlib.nullcontext() if of_classes is None else of_classes.applied(),
            ):
                total, y_pred = self.algorithm.forward(self.model, mixed_loss(self.loss, weights, parts), x, y)
            totals = total if isinstance(total, dict) else {"": total}
            count = self.strategy.num_replicas_in_sync
            totals = {name: tf.cast(value, tf.float32) / count for name, value in totals.items()}
            scaled = totals if scale is None else {name: scale.up(value) for name, value in totals.items()}

        def gradients_of(scalar: tf.Tensor, variables: Sequence[keras.Variable]) -> list[Any]:
            sources = [variable.value for variable in variables if id(variable) not in idle]
            computed = iter(tape.gradient(scalar, sources) if sources else [])
            return [tf.zeros_like(v.value) if id(v) in idle else next(computed) for v in variables]

        if not isinstance(total, dict):
            gradients = gradients_of(scaled[""], self._trained)
        elif totals.keys() == {group.name for group in self.active}:
            by_group = [gradients_of(scaled[group.name], group.variables) for group in self.active]
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
        return next(iter(totals.values())), y_pred, gradients

    def _not_differentiated(self, stage: Stage) -> set[int]:
        """Returns the identities of the variables whose group isn't trained in a stage: they need no gradient.

        Tables are left out, since their gradients are by rows and cost little.
        """
        idle = [group for group in self.active if group.name in stage.idle]
        return {id(v) for group in idle for v in group.variables if v not in self.tables}

    def evaluate(self, loss: Any, x: Any, y: tf.Tensor) -> tuple[tf.Tensor, Any]:
        """Returns the loss of each example, (B,), and y_pred, outside of training."""
        if self.algorithm.evaluate is not None:
            return self.algorithm.evaluate(self.model, loss, x, y)
        y_pred = self.model(x, training=False)
        losses = loss(y, y_pred)
        return (losses + tf.add_n(self.model.losses) if self.model.losses else losses), y_pred

    def _update(self, by_group: Any, outputs: Any, *, rates: tf.Tensor, step: tf.Tensor, proposed: Any) -> None:
        for k, group in enumerate(self.active):
            gradients = by_group[k]
            apply = functools.partial(self._apply, k, gradients, rates[k], proposed)
            updates = self._set_rate(group, rates[k], step)
            if updates is None:
                apply()
            else:
                cond(updates, apply, lambda: rates[k])  # noqa: B023 (called at once)
        if self.metrics.metrics:
            self.strategy.run(self.update_metrics, args=outputs)

    def _set_rate(self, group: Group, rate: tf.Tensor, step: tf.Tensor) -> tf.Tensor | None:
        """Sets a group's rate at a step, and returns whether it updates; None if it updates at every step."""
        updates = group.updates(step)
        if group.schedule is None or not ftrl.has_sums(group):
            group.optimizer.learning_rate.assign(rate)
            return updates
        before = tf.convert_to_tensor(group.optimizer.learning_rate)
        after = tf.where(rate > 0, rate, before)  # no weights follow from a rate of 0
        self.strategy.run(ftrl.keep_weights_at_rate, args=(group, before, after))
        group.optimizer.learning_rate.assign(after)
        return rate > 0 if updates is None else updates & (rate > 0)

    def _apply(self, k: int, gradients: list[Any], rate: tf.Tensor, proposed: Any) -> tf.Tensor:
        """Updates the variables of the k-th active group, except its tables."""

        def update_whole(gradients: list[Any], proposed: Any) -> None:
            whole, variables = self.tables.whole(k, gradients)
            if variables:
                _apply_in_part(self.active[k], whole, variables)
            else:
                self.tables.count_update(k, proposed)

        self.strategy.run(update_whole, args=(gradients, proposed))
        return rate

    def update_metrics(self, y: tf.Tensor, y_pred: Any, weights: Any) -> None:
        """Updates every metric but the loss."""
        self.metrics.update(y, y_pred, weights if has_weights(weights) else None)

    def _add_loss(self, loss: tf.Tensor) -> None:
        """Adds the batch's loss to its mean, on one replica: each of them adds an equal part."""
        count = self.strategy.num_replicas_in_sync
        self.metrics.loss_mean.update_state(loss, sample_weight=None if count == 1 else 1.0 / count)

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


def _apply_in_part(group: Group, gradients: list[Any], variables: list[keras.Variable]) -> None:
    """Updates a group's variables; some of them by a part of what the optimizer's update would be."""
    before = [(v, tf.identity(tf.convert_to_tensor(v)), group.factors.get(id(v))) for v in variables if group.factors]
    group.optimizer.apply(gradients, variables)
    for variable, value, factor in before:
        if factor is not None:
            variable.assign(value + tf.cast(factor, value.dtype) * (tf.convert_to_tensor(variable) - value))
