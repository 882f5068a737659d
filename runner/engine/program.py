"""A block: many steps, over the ends of epochs and their validation, as one compiled program.

    for each epoch of the block:
        for each of its steps:   train on one batch; stop where the numbers stop being finite
        at its end:              validate, compare with the best, keep the best weights, see whether to stop early

Python gets arrays back and decides only between blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfrun.engine.autograph import as_it_is
from tfrun.engine.order import Order
from tfrun.engine.step import Step, gather, own_share
from tfrun.errors import ConfigError

MAX_STEPS = 4096  # of a block: the arrays it returns have this length, and its order this many batches
MAX_ORDER_BYTES = 32 * 2**20
EVALUATION_ROWS = 1024


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
        self.best = tf.Variable(self._sign * np.inf, dtype=tf.float32, trainable=False, name="best")
        self.best_step = tf.Variable(0, dtype=tf.int64, trainable=False, name="best_step")
        self.wait = tf.Variable(0, dtype=tf.int32, trainable=False, name="wait")

    @property
    def variables(self) -> list[tf.Variable]:
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


class Program:
    """The compiled block and the compiled evaluation over one resident data set.

    Args:
        step: what to do with a batch.
        data: the examples of all splits together, (inputs, targets), as arrays or tensors.
        order: which training rows each step sees.
        val_rows: row numbers of the validation split; may be empty.
        loss_mean, metrics: the validation's own mean of losses and metrics.
        best: follows the value whose best weights are kept, or None.
        stopper: follows the value that early stopping watches, or None.
        mode: `xla_loop`, `graph_loop` or `eager`, over rows that lie on the device; or `stream`, a graph loop over
            batches that `tf.data` brings from the host.
    """

    def __init__(
        self,
        step: Step,
        data: Any,
        order: Order,
        val_rows: np.ndarray,
        loss_mean: keras.metrics.Mean,
        metrics: Sequence[keras.metrics.Metric],
        best: Tracker | None,
        stopper: Tracker | None,
        mode: str,
    ):
        self.mode = mode
        self.step_count = tf.Variable(
            0,
            dtype=tf.int64,
            trainable=False,
            name="step",
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )
        self.best = best
        self.best_weights = [tf.Variable(v.value, trainable=False) for v in step.model.variables] if best else []
        self.names = ["loss", *(metric.name for metric in metrics)]
        self._step = step
        self._order = order
        self._stopper = stopper
        self._loss_mean = loss_mean
        self._metrics = metrics
        self._data = self._place(data)
        self._stream: tuple[int, Any] | None = None
        # padding is masked, so a small split needn't pay for a large chunk
        unit = 32 * step.strategy.num_replicas_in_sync
        self._chunk = unit * -(-min(EVALUATION_ROWS, len(val_rows) or EVALUATION_ROWS) // unit)
        steps = min(MAX_STEPS, max(1, MAX_ORDER_BYTES // (4 * order.batch_size)))
        self._max_epochs = max(1, steps // order.steps_per_epoch)
        self.max_steps = (
            min(steps, order.steps_per_epoch) if self._max_epochs == 1 else self._max_epochs * order.steps_per_epoch
        )
        self._val_rows, self._num_val = self._padded(val_rows)
        if mode == "eager":
            self._compiled_block, self._compiled_evaluation = self._block, self._evaluate
        else:
            self._compiled_block = tf.function(self._block, jit_compile=mode == "xla_loop")
            # once or twice in a run: not worth XLA's compile time
            self._compiled_evaluation = tf.function(self._evaluate, reduce_retracing=True)

    def run(self, first_step: int, num_steps: int) -> BlockResult:
        """Trains `num_steps` steps, at most `max_steps`, from `first_step` on."""
        per_epoch = self._order.steps_per_epoch
        first_epoch, begin = divmod(first_step, per_epoch)
        last_epoch, end = divmod(first_step + num_steps - 1, per_epoch)
        batches, val_rows = self._batches(first_step, num_steps), tf.constant(self._val_rows)
        span = (tf.constant(begin), tf.constant(end + 1), tf.constant(last_epoch - first_epoch + 1))
        try:
            results = self._compiled_block(self._data, batches, val_rows, *span)
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
            if self.mode != "xla_loop" or "tf2xla" not in str(error):
                raise
            reason = str(error).strip().splitlines()[0]
            raise XlaError(f"trainer.compile: XLA can't compile this step, graph or auto can: {reason}") from error
        # the host waits here for the device
        losses, norms, rates, train, val, improved, steps, epochs, ok, stop = (value.numpy() for value in results)
        return BlockResult(
            losses[:steps],
            norms[:steps],
            rates[:steps],
            train[:epochs],
            val[:epochs],
            improved[:epochs],
            bool(ok),
            bool(stop),
            self._num_val > 0,
        )

    @property
    def is_stopped(self) -> bool:
        """Whether early stopping's patience is over already, in a run that goes on from a checkpoint."""
        return self._stopper is not None and bool(self._stopper.patience_is_over())

    def evaluate(self, rows: np.ndarray) -> dict[str, float]:
        """Returns the loss and the metrics over the given rows, with the weights as they are."""
        padded, count = self._padded(rows)
        values = self._compiled_evaluation(self._data, tf.constant(padded), tf.constant(count)).numpy()
        return dict(zip(self.names, values.tolist(), strict=True))

    def _place(self, data: Any) -> Any:
        """Returns the examples as tensors: on every replica's device, or on the host for a stream."""
        if self.mode == "stream":
            with tf.device("CPU:0"):
                return tf.nest.map_structure(tf.convert_to_tensor, data)
        tensors = tf.nest.map_structure(tf.convert_to_tensor, data)
        return self._step.strategy.experimental_distribute_values_from_function(lambda _: tensors)

    def _batches(self, first_step: int, num_steps: int) -> Any:
        """Returns where a block gets its batches from: their row numbers, all of one length, or an iterator."""
        if self.mode != "stream":
            rows = self._order.block(first_step, num_steps)
            return tf.constant(np.pad(rows, (0, self.max_steps * self._order.batch_size - len(rows))))
        if self._stream is None or self._stream[0] != first_step:
            self._stream = (
                first_step,
                iter(self._step.strategy.experimental_distribute_dataset(self._dataset(first_step))),
            )
        self._stream = first_step + num_steps, self._stream[1]
        return self._stream[1]

    def _dataset(self, first_step: int) -> tf.data.Dataset:
        """Returns the batches from a step on. Their order is the program's own, so nothing of it needs saving."""

        def batch(step: tf.Tensor) -> Any:
            rows = tf.numpy_function(lambda k: self._order.block(int(k), 1), [step], tf.int32, stateful=False)
            return gather(self._data, tf.ensure_shape(rows, [self._order.batch_size]))

        options = tf.data.Options()
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
        steps = tf.data.Dataset.range(first_step, np.iinfo(np.int64).max)
        return steps.map(batch, tf.data.AUTOTUNE, deterministic=True).prefetch(tf.data.AUTOTUNE).with_options(options)

    def _padded(self, rows: np.ndarray) -> tuple[np.ndarray, int]:
        """Returns row numbers filled up to whole chunks, and how many of them count."""
        return np.pad(rows.astype(np.int32), (0, -len(rows) % self._chunk)), len(rows)

    def _block(self, data: Any, batches: Any, val_rows: Any, first: Any, last: Any, num_epochs: Any) -> tuple[Any, ...]:
        """Trains from step `first` of the first epoch up to step `last` of the last; AutoGraph makes the loops."""
        batch_size, per_epoch = self._order.batch_size, self._order.steps_per_epoch
        losses, norms = tf.zeros([self.max_steps]), tf.zeros([self.max_steps])
        rates = tf.zeros([self.max_steps, len(self._step.active)])
        train = tf.zeros([self._max_epochs, len(self.names)])
        val = tf.zeros([self._max_epochs, len(self.names)])
        improved = tf.zeros([self._max_epochs], tf.bool)
        steps, epoch, ended = tf.constant(0), tf.constant(0), tf.constant(0)
        ok, stop = tf.constant(True), tf.constant(False)
        while (epoch < num_epochs) & ok & ~stop:
            i = tf.where(epoch == 0, first, 0)
            end = tf.where(epoch == num_epochs - 1, last, per_epoch)
            while (i < end) & ok:
                if self.mode == "stream":  # known when the loop is traced
                    loss, norm, rate, ok = self._step(next(batches), None, self.step_count)
                else:
                    rows = tf.reshape(tf.slice(batches, [steps * batch_size], [batch_size]), [batch_size])
                    loss, norm, rate, ok = self._step(data, rows, self.step_count)
                losses = tf.tensor_scatter_nd_update(losses, [[steps]], [loss])
                norms = tf.tensor_scatter_nd_update(norms, [[steps]], [norm])
                rates = tf.tensor_scatter_nd_update(rates, [[steps]], [rate])
                steps += tf.cast(ok, tf.int32)
                i += tf.cast(ok, tf.int32)
                self.step_count.assign_add(tf.cast(ok, tf.int64))
            if ok & (i == per_epoch):
                values = self._evaluate(data, val_rows, self._num_val) if self._num_val else tf.zeros([len(self.names)])
                train_values = read_and_reset(self._step.loss_mean, self._step.metrics)
                train = tf.tensor_scatter_nd_update(train, [[epoch]], [train_values])
                val = tf.tensor_scatter_nd_update(val, [[epoch]], [values])
                better, stop = self._compare(train_values, values)
                improved = tf.tensor_scatter_nd_update(improved, [[epoch]], [better])
                ended += 1
            epoch += 1
        return losses, norms, rates, train, val, improved, steps, ended, ok, stop

    @as_it_is
    def _compare(self, train: tf.Tensor, val: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Keeps the best weights; returns whether this epoch is the best and whether to stop."""
        better, stop = tf.constant(False), tf.constant(False)
        if self.best is not None:
            better = self.best.update(self._value(self.best.monitor, train, val), self.step_count)
            for kept, variable in zip(self.best_weights, self._step.model.variables, strict=True):
                kept.assign(tf.where(better, variable.value, kept))
        if self._stopper is not None:
            self._stopper.update(self._value(self._stopper.monitor, train, val), self.step_count)
            stop = self._stopper.patience_is_over()
        return better, stop

    def _value(self, monitor: str, train: tf.Tensor, val: tf.Tensor) -> tf.Tensor:
        split, _, name = monitor.partition("/")
        return (train if split == "train" else val)[self.names.index(name)]

    def _evaluate(self, data: Any, rows: Any, num_rows: Any) -> tf.Tensor:
        """Returns loss and metrics over the first `num_rows` of `rows`; the rest is padding."""
        size = self._chunk
        for chunk in tf.range(tf.shape(rows)[0] // size):
            positions = chunk * size + tf.range(size)
            part = tf.reshape(tf.slice(rows, [chunk * size], [size]), [size])
            weights = tf.cast(positions < num_rows, tf.float32)
            self._step.strategy.run(self._evaluate_chunk, args=(data, part, weights))
        return read_and_reset(self._loss_mean, self._metrics)

    @as_it_is
    def _evaluate_chunk(self, data: Any, rows: tf.Tensor, weights: tf.Tensor) -> None:
        rows, weights = own_share(rows), own_share(weights)
        if self.mode == "stream":
            with tf.device("CPU:0"):  # the batch goes to the device, not the examples
                x, y = gather(data, rows)
        else:
            x, y = gather(data, rows)
        y_pred = self._step.model(x, training=False)
        losses = self._step.loss(y, y_pred)
        if self._step.model.losses:
            losses += tf.add_n(self._step.model.losses)
        self._loss_mean.update_state(losses, sample_weight=weights)
        y, y_pred = self._step.target.restore(y), self._step.target.restore(y_pred)
        for metric in self._metrics:
            metric.update_state(y, y_pred, sample_weight=weights)


@as_it_is
def read_and_reset(loss_mean: keras.metrics.Mean, metrics: Sequence[keras.metrics.Metric]) -> tf.Tensor:
    """Returns the values so far, (1 + num_metrics,) float32, and starts the next epoch's."""
    everything = [loss_mean, *metrics]
    values = tf.stack([tf.cast(metric.result(), tf.float32) for metric in everything])
    for metric in everything:
        metric.reset_state()
    return values
