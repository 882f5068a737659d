"""A block: many steps, over the ends of epochs and their validation, as one compiled program.

    for each epoch of the block:
        for each of its steps:   train on one batch; stop where the numbers stop being finite
        at its end:              validate, compare with the best, keep the best weights, see whether to stop early

Python gets arrays back and decides only between blocks.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfrun.engine.training.feed import Feed, Part
from tfrun.engine.training.order import Order
from tfrun.engine.training.step import Step, gather, own_share, update, weighted
from tfrun.engine.training.traces import Traces
from tfrun.engine.training.vectorize import Alone, Lanes
from tfrun.errors import ConfigError
from tfrun.files.failpoints import reach
from tfrun.files.xla_cache import throw_away

MAX_STEPS = 4096  # of a block: the arrays it returns have this length, and its order this many batches
MAX_ORDER_BYTES = 32 * 2**20
EVALUATION_ROWS = 1024
ALONE = Alone()


class XlaError(ConfigError):
    """The step uses something that XLA lacks."""


class Tracker:
    """Follows one monitored value through the epochs, inside the program.

    Attributes:
        monitor: the value's name, `val/loss` for instance.
        best: the best value so far; the worst possible one before the first epoch. Scalar float32 variable.
        best_step: the step it was reached at; 0 before the first epoch. Scalar int64 variable.
        wait: epochs since then. Scalar int32 variable.
    """

    def __init__(self, monitor: str, mode: str, min_delta: float = 0.0, patience: int | None = None):
        self.monitor = monitor
        self._sign = 1.0 if mode == "min" else -1.0
        self._min_delta = min_delta
        self._patience = patience
        self.best = keras.Variable(self._sign * np.inf, dtype="float32", trainable=False, name="best")
        self.best_step = keras.Variable(0, dtype="int64", trainable=False, name="best_step")
        self.wait = keras.Variable(0, dtype="int32", trainable=False, name="wait")

    @property
    def variables(self) -> list[keras.Variable]:
        return [self.best, self.best_step, self.wait]

    def update(self, value: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        """Takes an epoch's value; returns whether it is the best so far (a NaN never is)."""
        better = self._sign * value < self._sign * self.best - self._min_delta
        self.best.assign(tf.where(better, value, self.best))
        self.best_step.assign(tf.where(better, step, self.best_step))
        self.wait.assign(tf.where(better, 0, self.wait + 1))
        return better

    def patience_is_over(self) -> tf.Tensor:
        """Returns whether `patience` epochs in a row were no better; 0 is like 1, as in Keras."""
        return tf.constant(False) if self._patience is None else self.wait >= max(1, self._patience)


@dataclass(frozen=True)
class BlockResult:
    """What a block did, as NumPy arrays.

    Attributes:
        losses, norms: the loss and the gradients' global norm of each step, (steps,) float32.
        learning_rates: (steps, num_active_groups) float32.
        train, val: metrics at the end of each epoch that ended in the block, loss first, (epochs, 1 + num_metrics).
        improved: whether that epoch is the best so far, (epochs,) bool.
        finite: False where the step after the last one gave a loss or a gradient that is not finite.
        stopped: whether early stopping's patience is over.
        has_val: whether there is a validation split.
    """

    losses: np.ndarray
    norms: np.ndarray
    learning_rates: np.ndarray
    train: np.ndarray
    val: np.ndarray
    improved: np.ndarray
    finite: bool
    stopped: bool
    has_val: bool


class Curves(NamedTuple):
    """What a block gives of each step; `BlockResult` explains."""

    losses: tf.Tensor
    norms: tf.Tensor
    learning_rates: tf.Tensor


class Epochs(NamedTuple):
    """What a block gives of each epoch that ended in it."""

    train: tf.Tensor
    val: tf.Tensor
    improved: tf.Tensor


class Program:
    """The compiled block and the compiled evaluation.

    Args:
        step: what to do with a batch.
        feed: brings the examples.
        order: which training rows each step sees.
        val_rows: row numbers of the validation split; may be empty.
        loss_mean, metrics: the validation's own mean of losses and metrics.
        best: follows the value whose best weights are kept, or None.
        stopper: follows the value that early stopping watches, or None.

    Attributes:
        mode: `xla_loop`, `graph_loop` or `eager`; may be changed at any time, the state is the same.
        traces: how often each function was traced, and why.
        matrices: what the last evaluation found of the metrics that are more than a number, by name.
    """

    def __init__(
        self,
        step: Step,
        feed: Feed,
        order: Order,
        val_rows: np.ndarray,
        loss_mean: keras.metrics.Mean,
        metrics: Sequence[keras.metrics.Metric],
        best: Tracker | None,
        stopper: Tracker | None,
    ):
        self.mode = "graph_loop"
        self.traces = Traces()
        self.matrices: dict[str, np.ndarray] = {}
        self._feed: Feed | None = None
        self._validation: Part | None = None
        self.step_count = keras.Variable(
            0, dtype="int64", trainable=False, aggregation="only_first_replica", name="step"
        )
        self.best = best
        self.best_weights = (
            [keras.Variable(tf.identity(v.value), dtype=v.dtype, trainable=False) for v in step.model.variables]
            if best
            else []
        )
        self.names = ["loss", *(metric.name for metric in [*metrics, *step.own_metrics])]
        self._step = step
        self._batch_size, self._per_epoch = order.batch_size, order.steps_per_epoch
        self._stopper = stopper
        self._loss_mean = loss_mean
        self._metrics = metrics
        steps = min(MAX_STEPS, max(1, MAX_ORDER_BYTES // (4 * self._batch_size)))
        self._max_epochs = max(1, steps // self._per_epoch)
        self.max_steps = min(steps, self._per_epoch) if self._max_epochs == 1 else self._max_epochs * self._per_epoch
        self._blocks: dict[tuple[str, Alone | Lanes], Callable[..., Any]] = {}
        # once or twice in a run: not worth XLA's compile time
        self._compiled_evaluation, self._compiled_begin, self._compiled_epoch_end = (
            tf.function(self.traces.noting(name, function), autograph=False)
            for name, function in (
                ("evaluation", functools.partial(self._evaluate, ALONE, True)),
                ("begin_validation", self._begin_validation),
                ("epoch_end", self._end_epoch),
            )
        )
        self.take(feed, val_rows)

    def start(self, feed: Feed, val_rows: np.ndarray) -> None:
        """Goes back to the first step, for another run whose variables have their first values already."""
        self.take(feed, val_rows)
        self.step_count.assign(0)
        for kept, variable in zip(self.best_weights, self._step.model.variables, strict=True):
            kept.assign(variable.value)
        for metric in [self._loss_mean, *self._metrics, *self._step.own_metrics]:
            metric.reset_state()

    def release(self) -> None:
        """Lets go of the examples, until the next start."""
        self._feed, self._validation = None, None

    @property
    def feed(self) -> Feed:
        """Brings the examples."""
        assert self._feed is not None, "start() first"
        return self._feed

    def run(self, first_step: int, num_steps: int) -> BlockResult:
        """Trains `num_steps` steps, at most `max_steps`, from `first_step` on."""
        results: list[BlockResult] = []
        for first, count in self.feed.blocks(first_step, num_steps):
            results.append(self._run(first, count))
            if not results[-1].finite or results[-1].stopped:
                break
        return results[0] if len(results) == 1 else _joined(results)

    @property
    def val_variables(self) -> list[keras.Variable]:
        """The validation's own, which hold nothing between two epochs."""
        return [variable for metric in [self._loss_mean, *self._metrics] for variable in metric.variables]

    @property
    def is_stopped(self) -> bool:
        """Whether early stopping's patience is over already, in a run that goes on from a checkpoint."""
        return self._stopper is not None and bool(self._stopper.patience_is_over())

    def batches(self, feed: Feed, first_step: int, num_steps: int) -> Part:
        """Returns what the steps of a block see, its rows padded to those of the longest one."""
        return feed.batches(first_step, num_steps, self.max_steps * self._batch_size)

    def evaluate(self, rows: np.ndarray) -> dict[str, float]:
        """Returns the loss and the metrics over the given rows, with the weights as they are."""
        self._add(rows)
        self.matrices = {metric.name: metric.matrix() for metric in self._metrics if hasattr(metric, "matrix")}
        values = read_and_reset(self._loss_mean, self._metrics, self._step.own_metrics).numpy()
        return dict(zip(self.names, values.tolist(), strict=True))

    def run_lanes(
        self, lanes: Lanes, parts: Sequence[Part], on: Sequence[bool], first_step: int, num_steps: int
    ) -> list[BlockResult]:
        """Trains `num_steps` steps of every lane that is on, at most `max_steps`.

        Args:
            lanes: the runs, of which this program is one.
            parts: each one's batches from the first step on, padded to `max_steps`; their examples are the same.
            on: which ones train.
            first_step, num_steps: the same for all.
        """
        rows = tf.stack([part.rows for part in parts])
        values = self._call(lanes, parts[0].data, rows, tf.constant(on), first_step, num_steps)
        curves, epochs, *counts = values
        return [
            self._result(
                Curves(*(own[:, k] for own in curves)),
                Epochs(*(own[:, k] for own in epochs)),
                *(own[k] for own in counts),
            )
            for k in range(lanes.count)
        ]

    def _run(self, first_step: int, num_steps: int) -> BlockResult:
        batches = self.batches(self.feed, first_step, num_steps)
        values = self._call(ALONE, batches.data, batches.rows, tf.constant(True), first_step, num_steps)
        curves, epochs, steps, ended, ok, stop = values
        if self._validates_outside and ok and (first_step + num_steps) % self._per_epoch == 0:
            train_values = self._compiled_begin()
            reach("validation")
            self._add(self._val_rows)
            epochs, stop = tf.nest.map_structure(lambda value: value.numpy(), self._compiled_epoch_end(train_values))
            epochs, ended = Epochs(*(np.array([value]) for value in epochs)), 1
        return self._result(curves, epochs, steps, ended, ok, stop)

    def _result(self, curves: Curves, epochs: Epochs, steps: int, ended: int, ok: bool, stop: bool) -> BlockResult:
        losses, norms, rates = (curve[:steps] for curve in curves)
        train, val, improved = (values[:ended] for values in epochs)
        return BlockResult(losses, norms, rates, train, val, improved, bool(ok), bool(stop), len(self._val_rows) > 0)

    def _call(
        self, among: Alone | Lanes, data: Any, rows: tf.Tensor, on: tf.Tensor, first_step: int, num_steps: int
    ) -> Any:
        """Calls a block and waits for its values."""
        first_epoch, begin = divmod(first_step, self._per_epoch)
        last_epoch, end = divmod(first_step + num_steps - 1, self._per_epoch)
        span = (tf.constant(begin), tf.constant(end + 1), tf.constant(last_epoch - first_epoch + 1))
        arguments, key = (data, rows, self._validation, on, *span), (self.mode, among)
        if key not in self._blocks:
            self._blocks[key] = self._compiled(*key)
        try:
            values = self._blocks[key](*arguments)
        except (tf.errors.OutOfRangeError, tf.errors.DataLossError):
            if not throw_away():  # a compiled program that was kept, and is damaged
                raise
            self._blocks[key] = self._compiled(*key)  # TensorFlow remembers the failure of the old one
            values = self._blocks[key](*arguments)
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
            if self.mode != "xla_loop" or "tf2xla" not in str(error):
                raise
            reason = str(error).strip().splitlines()[0]
            raise XlaError(f"trainer.compile: XLA can't compile this step, graph or auto can: {reason}") from error
        return tf.nest.map_structure(lambda value: value.numpy(), values)  # the host waits here for the device

    @property
    def _validates_outside(self) -> bool:
        """Whether the validation split is brought a stretch at a time, after the epoch's last block."""
        return self._validation is None and len(self._val_rows) > 0

    def _compiled(self, mode: str, among: Alone | Lanes) -> Callable[..., Any]:
        block = functools.partial(self._block, among)
        if mode == "eager":
            return block
        # AutoGraph would rewrite the loops below, which are TensorFlow's already, in half a second
        noted = self.traces.noting(f"block, {mode}{among.name}", block)
        return tf.function(noted, autograph=False, jit_compile=mode == "xla_loop")

    def take(self, feed: Feed, val_rows: np.ndarray) -> None:
        """Has the examples brought by a feed from now on."""
        self._feed, self._val_rows, self._validation = feed, val_rows, None
        part = feed.keep(val_rows, self._chunk(val_rows)) if len(val_rows) else None
        if part is not None:  # then a block goes over the validation split itself
            self._validation = part._replace(num_rows=tf.constant(part.num_rows))

    def _add(self, rows: np.ndarray) -> None:
        """Adds rows to the validation's loss and metrics."""
        chunk = self._chunk(rows)
        for part in self.feed.parts(rows, chunk):
            self._compiled_evaluation(part.data, part.rows, tf.constant(part.num_rows), chunk)

    def _chunk(self, rows: np.ndarray) -> int:
        """Returns how many rows are evaluated at once: equal parts of all of them, so that little has to be padded.

        Padding has no weight; only what a model works out over a batch by itself sees it.
        """
        replicas = self._step.strategy.num_replicas_in_sync
        num_chunks = -(-len(rows) // EVALUATION_ROWS)
        return replicas * -(-len(rows) // (num_chunks * replicas))

    def _block(
        self,
        among: Alone | Lanes,
        data: Any,
        rows: tf.Tensor,
        validation: Part | None,
        on: Any,
        first: Any,
        last: Any,
        num_epochs: Any,
    ) -> tuple[Any, ...]:
        """Trains from step `first` of the first epoch up to step `last` of the last.

        What is of one run alone, and has the leading axis of the lanes where there are several, are the numbers of
        `rows` and whether it is `on`, and what is returned: curves over steps and values of epochs (that axis comes
        second), how many of either there are, whether all was finite and whether to stop early.
        """
        each, lanes = among.each, list(on.shape)
        self._step.sums_by_halves = self.mode == "xla_loop" or among is not ALONE
        curve, rates = tf.zeros([self.max_steps, *lanes]), [self.max_steps, *lanes, len(self._step.active)]
        curves = Curves(curve, curve, tf.zeros(rates))
        values, size = [self._max_epochs, *lanes, len(self.names)], [*lanes, self._batch_size]
        epochs = Epochs(tf.zeros(values), tf.zeros(values), tf.zeros(values[:-1], tf.bool))

        def train_on(batch: tf.Tensor) -> tuple[Any, ...]:
            *point, ok = self._step(data, batch, self.step_count)
            self.step_count.assign_add(tf.cast(ok, tf.int64))
            return *point, ok

        def train(i: Any, at: Any, steps: Any, ok: Any, curves: Curves) -> tuple[Any, ...]:
            batch = tf.reshape(tf.slice(rows, [*(0 for _ in lanes), at * self._batch_size], size), size)
            *point, fine = each(train_on, ok, batch)
            ok &= fine
            return i + 1, at + 1, steps + tf.cast(ok, tf.int32), ok, written(curves, at, Curves(*point))

        def epoch(
            k: Any, at: Any, steps: Any, ended: Any, ok: Any, stop: Any, curves: Curves, epochs: Epochs
        ) -> tuple[Any, ...]:
            begin, end = tf.where(k == 0, first, 0), tf.where(k == num_epochs - 1, last, self._per_epoch)
            is_on = lambda i, at, steps, ok, curves: (i < end) & tf.reduce_any(ok)  # noqa: E731
            i, at, steps, trained, curves = tf.while_loop(is_on, train, (begin, at, steps, ok & ~stop, curves))
            ok = trained | stop
            if self._validates_outside:
                return k + 1, at, steps, ended, ok, stop, curves, epochs

            is_over = trained & (i == self._per_epoch)

            def end_epoch() -> tuple[Epochs, tf.Tensor]:
                train_values = each(self._begin_validation, is_over)
                if validation is not None:
                    self._evaluate(among, is_over, *validation, self._chunk(self._val_rows))
                own, stops = each(self._end_epoch, is_over, train_values)
                return written(epochs, k, own), stop | (is_over & stops)

            epochs, stop = tf.cond(tf.reduce_any(is_over), end_epoch, lambda: (epochs, stop))
            return k + 1, at, steps, ended + tf.cast(is_over, tf.int32), ok, stop, curves, epochs

        is_on = lambda k, at, steps, ended, ok, stop, *_: (k < num_epochs) & tf.reduce_any(ok & ~stop)  # noqa: E731
        none = tf.zeros(lanes, tf.int32)
        start = (tf.constant(0), tf.constant(0), none, none, on, tf.zeros(lanes, tf.bool), curves, epochs)
        _, _, steps, ended, ok, stop, curves, epochs = tf.while_loop(is_on, epoch, start)
        return curves, epochs, steps, ended, ok, stop

    def _begin_validation(self) -> tf.Tensor:
        """Reads the training metrics and goes over to validation, which uses the model's own ones too."""
        if self._step.averages is not None:
            self._step.averages.swap()
        return read_and_reset(self._step.loss_mean, self._step.metrics, self._step.own_metrics)

    def _end_epoch(self, train: tf.Tensor) -> tuple[Epochs, tf.Tensor]:
        """Ends validation: reads its metrics, keeps the best weights; returns all values and whether to stop."""
        val = read_and_reset(self._loss_mean, self._metrics, self._step.own_metrics)
        better, stop = tf.constant(False), tf.constant(False)
        if self.best is not None:
            better = self.best.update(self._named(train, val)[self.best.monitor], self.step_count)
            for kept, variable in zip(self.best_weights, self._step.model.variables, strict=True):
                kept.assign(tf.where(better, variable.value, kept))
        if self._stopper is not None:
            self._stopper.update(self._named(train, val)[self._stopper.monitor], self.step_count)
            stop = self._stopper.patience_is_over()
        for group in self._step.active:
            if group.watcher:
                group.watcher.end_epoch(self._named(train, val))
        if self._step.averages is not None:
            self._step.averages.swap()
        return Epochs(train, val, better), stop

    def _named(self, train: tf.Tensor, val: tf.Tensor) -> dict[str, tf.Tensor]:
        return {
            f"{split}/{name}": values[k]
            for split, values in (("train", train), ("val", val))
            for k, name in enumerate(self.names)
        }

    def _evaluate(
        self, among: Alone | Lanes, on: Any, data: Any, rows: tf.Tensor, num_rows: tf.Tensor, size: int
    ) -> None:
        """Adds the first `num_rows` of `rows`, `size` at a time, to the validation's metrics; the rest is padding."""

        def evaluate(k: tf.Tensor) -> list[tf.Tensor]:
            part = tf.reshape(tf.slice(rows, [k * size], [size]), [size])
            weights = tf.cast(k * size + tf.range(size) < num_rows, tf.float32)
            evaluate_chunk = lambda: self._step.strategy.run(self._evaluate_chunk, args=(data, part, weights))  # noqa: E731
            among.each(evaluate_chunk, on)
            return [k + 1]

        tf.while_loop(lambda k: k < tf.shape(rows)[0] // size, evaluate, [tf.constant(0)])

    def _evaluate_chunk(self, data: Any, rows: tf.Tensor, weights: tf.Tensor) -> None:
        rows, weights = own_share(rows), own_share(weights)
        x, y, own_weights = gather(data, rows)
        losses, y_pred = self._step.evaluate(weighted(self._step.loss, own_weights), x, y)
        self._loss_mean.update_state(losses, sample_weight=weights)
        if not isinstance(own_weights, tuple):
            weights *= tf.cast(own_weights, weights.dtype)
        if self._metrics:
            update(self._metrics, self._step.targets, y, y_pred, weights)


def written(arrays: Any, k: tf.Tensor, values: Any) -> Any:
    """Returns the named tuple of arrays with the values in their k-th places."""
    return type(arrays)(
        *(tf.tensor_scatter_nd_update(array, [[k]], [value]) for array, value in zip(arrays, values, strict=True))
    )


def read_and_reset(
    loss_mean: keras.metrics.Mean, metrics: Sequence[keras.metrics.Metric], own: Sequence[keras.metrics.Metric]
) -> tf.Tensor:
    """Returns the values so far, the model's own metrics last, float32, and starts the next epoch's."""
    everything = [loss_mean, *metrics, *own]
    values = tf.stack([tf.cast(metric.result(), tf.float32) for metric in everything])
    for metric in everything:
        metric.reset_state()
    return values


def _joined(results: list[BlockResult]) -> BlockResult:
    arrays = ("losses", "norms", "learning_rates", "train", "val", "improved")
    joined: dict[str, Any] = {name: np.concatenate([getattr(result, name) for result in results]) for name in arrays}
    return replace(results[-1], **joined)
