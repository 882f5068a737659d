"""The inner loop of training: calls compiled blocks of steps, and brings their results to the host.

`block` traces a block, `epoch_end` the ends of epochs in it. Python gets arrays back and decides only between blocks.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfrun.engine.training import replicas
from tfrun.engine.training.batches import evaluation_size
from tfrun.engine.training.block import BlockGraph, BlockValues, Span, Validation
from tfrun.engine.training.block_result import BlockResult, joined
from tfrun.engine.training.broken_update import broken_by_update
from tfrun.engine.training.epoch_end import EpochEnd, Epochs
from tfrun.engine.training.epoch_metrics import EpochMetrics
from tfrun.engine.training.exchange_limit import exchange_limit
from tfrun.engine.training.feed import Feed, Selection
from tfrun.engine.training.guard import Guard, GuardedState, made_not_finite, rates_not_finite
from tfrun.engine.training.order import Order
from tfrun.engine.training.rows import Tracing
from tfrun.engine.training.stages import Stage
from tfrun.engine.training.step import Step
from tfrun.engine.training.traces import Traces
from tfrun.engine.training.tracker import Tracker
from tfrun.engine.training.vectorize import ALONE, Alone, Lanes
from tfrun.engine.training.worker_state import Announce, announce_nothing
from tfrun.errors import ConfigError
from tfrun.files import failpoints
from tfrun.files.xla_cache import throw_away
from tfrun.protocols import MetricOffer

MAX_STEPS = 4096  # of a block: the arrays that it returns have this length
LARGE_TABLES_BYTES = 2**26  # of tables and their slots, whose copies a block with the end of an epoch would make
UNKNOWN_UPDATE = made_not_finite([])
MAX_ORDER_BYTES = 32 * 2**20  # of the row numbers that a block gets


class XlaError(ConfigError):
    """The step uses something that XLA lacks."""


class Program:
    """The compiled block and the compiled evaluation over one run's state.

    Args:
        step: trains on one batch.
        order: which training rows each step sees.
        feed: provides the examples.
        val_rows: row numbers of the validation split; may be empty.
        val_metrics: the validation's own mean of losses and metrics.
        best: tracks the value whose best weights are kept, or None.
        stopper: tracks the value that early stopping monitors, or None.

    Attributes:
        mode: `xla_loop`, `graph_loop` or `eager`; may be changed at any time, the state is the same.
        max_steps: how many steps a block has at most.
        names: of an epoch's values, the loss first.
        step_count: the number of steps done, a scalar int64 variable.
        traces: how often each function was traced, and why.
        on_new_stage: called with the first step of a stage before its block is compiled, which can take a minute; not
            for the first stage of a run.
        matrices: the last evaluation's metrics that are more than a number, by name.
        announce: lets other workers do what this one does; all that needs them is announced before it is done.
        limit_seconds: how long a block or an evaluation may take, which several workers do together; None: any time.
    """

    def __init__(
        self,
        step: Step,
        order: Order,
        *,
        feed: Feed,
        val_rows: np.ndarray,
        val_metrics: EpochMetrics,
        best: Tracker | None,
        stopper: Tracker | None,
    ):
        self.mode = "graph_loop"
        self.traces = Traces()
        self.on_new_stage: Callable[[int], None] = _ignore
        self.matrices: dict[str, np.ndarray] = {}
        self.announce: Announce = announce_nothing
        self.limit_seconds: float | None = None
        self.step_count = keras.Variable(
            0, dtype="int64", trainable=False, aggregation="only_first_replica", name="step"
        )
        self._step = step
        self._table_bytes = sum(v.value.shape.num_elements() * v.value.dtype.size for v in step.tables.variables)
        self._epoch_end = EpochEnd(step, val_metrics, step_count=self.step_count, best=best, stopper=stopper)
        self.names = self._epoch_end.names
        steps = min(MAX_STEPS, max(1, MAX_ORDER_BYTES // (4 * order.batch_size)))
        max_epochs = max(1, steps // order.steps_per_epoch)
        self.max_steps = min(steps, max_epochs * order.steps_per_epoch)  # whole epochs, or a part of one
        self._graph = BlockGraph(
            step=step,
            epoch_end=self._epoch_end,
            step_count=self.step_count,
            batch_size=order.batch_size,
            steps_per_epoch=order.steps_per_epoch,
            max_steps=self.max_steps,
            max_epochs=max_epochs,
        )
        self._guards: dict[Alone | Lanes, Guard] = {}
        self._blocks: dict[tuple[str, Alone | Lanes, Stage], Callable[..., Any]] = {}
        self._is_new_block = False  # the last one that was called
        self._evaluate = self._without_xla("evaluation", self._evaluate_part)
        self._begin_validation = self._without_xla("begin_validation", self._epoch_end.begin_validation)
        self._end_epoch = self._without_xla("epoch_end", self._epoch_end.end_epoch)
        self._feed: Feed | None = None
        self._val_rows = val_rows
        self._validation: Selection | None = None
        self.use_feed(feed, val_rows)

    def use_feed(self, feed: Feed, val_rows: np.ndarray) -> None:
        """Takes the examples from a feed from now on."""
        self._feed = feed
        self._val_rows = val_rows
        # if it is not None, a block evaluates the validation split itself
        self._validation = feed.select(val_rows) if len(val_rows) else None

    def start(self, feed: Feed, val_rows: np.ndarray) -> None:
        """Goes back to the first step, for another run whose variables have their first values already."""
        self.traces.start()
        self.use_feed(feed, val_rows)
        self.step_count.assign(0)
        self._epoch_end.start()
        self.state_was_written()

    def state_was_written(self) -> None:
        """Must be called after the state was restored, so that no state from before is gone back to."""
        for guard in self._guards.values():
            guard.start()

    def release(self) -> None:
        """Releases the examples, until the next start."""
        self._feed = None
        self._validation = None

    @property
    def feed(self) -> Feed:
        """The feed that provides the examples."""
        assert self._feed is not None, "start() first"
        return self._feed

    @property
    def step(self) -> int:
        """The number of steps done; the host waits for the device here."""
        return int(self.step_count.numpy())

    @property
    def state_bytes(self) -> int:
        """The memory of everything that a block changes."""
        return self._guard(ALONE).state.num_bytes

    @property
    def best_weights(self) -> list[keras.Variable]:
        """The model's weights of the best epoch so far."""
        return self._epoch_end.best_weights

    @property
    def val_variables(self) -> list[keras.Variable]:
        """The state of the validation's own metrics, which is empty between two epochs."""
        return self._epoch_end.val_variables

    @property
    def is_stopped(self) -> bool:
        """Whether early stopping's patience is over already, in a run that is resumed."""
        stopper = self._epoch_end.stopper
        return stopper is not None and bool(stopper.patience_is_over())

    @property
    def has_tables(self) -> bool:
        """Whether tables are updated by rows."""
        return bool(self._step.tables)

    @property
    def steps_of_first_stage(self) -> float:
        """After how many steps other groups are trained, or other layers run as in inference; infinity if never."""
        return self._step.stages.end_of(0)

    @property
    def ids_per_step(self) -> int:
        """How many rows of tables a step updates, at most; 0 without tables."""
        return sum(int(table.stand_in.table.shape[0]) for table in self._step.tables)

    def compile(self) -> None:
        """Compiles the block and trains nothing. Raises XlaError if XLA can't."""
        self._run(0, 1, on=False)

    def run(self, first_step: int, num_steps: int) -> BlockResult:
        """Trains `num_steps` steps, at most `max_steps`, from `first_step` on."""
        self.announce("run", first_step=first_step, num_steps=num_steps, mode=self.mode)
        with exchange_limit(self.limit_seconds):
            return self._train(first_step, num_steps)

    def _train(self, first_step: int, num_steps: int) -> BlockResult:
        """Trains steps in as many calls of the block as they need."""
        results: list[BlockResult] = []
        for first, count in self._blocks_of(first_step, num_steps):
            if self.has_tables:  # each of its steps checks the state itself
                results.append(self._run(first, count))
            else:
                results += self._guard(ALONE).train(
                    lambda _, first, count: [self._run(first, count)], [True], first_step=first, num_steps=count
                )
            if not results[-1].finite or results[-1].stopped:
                break
        return joined(results)

    def _blocks_of(self, first_step: int, num_steps: int) -> Iterator[tuple[int, int]]:
        """Yields the first step and the number of steps of each call of the block."""
        for first, count in self.feed.blocks(first_step, num_steps):
            end = first + count
            while first < end:
                to_epoch_end = self._graph.steps_per_epoch - first % self._graph.steps_per_epoch
                length = min(end - first, to_epoch_end) if self._ends_epochs_outside else end - first
                length = min(length, int(min(end, self._step.stages.end_of(first))) - first)
                yield first, length
                first += length

    def run_lanes(
        self, lanes: Lanes, batches: Sequence[Selection], *, on: Sequence[bool], first_step: int, num_steps: int
    ) -> list[BlockResult]:
        """Trains `num_steps` steps, at most `max_steps`, of every lane that is on.

        Args:
            lanes: the runs, of which this program is one.
            batches: each run's batches from the first step on, padded to `max_steps`; their examples are the same.
            on: which lanes train.
            first_step, num_steps: the same for all.
        """
        rows = tf.stack([selection.rows for selection in batches])

        def train(on: Sequence[bool], first: int, count: int) -> list[BlockResult]:
            begin = (first - first_step) * self._graph.batch_size
            later = tf.roll(rows, -begin, axis=1) if begin else rows
            values = self._call(
                lanes, batches[0].data, rows=later, on=tf.constant(on), first_step=first, num_steps=count
            )
            return [self._result(values.lane(k)) for k in range(lanes.count)]

        return self._guard(lanes).train(train, on, first_step=first_step, num_steps=num_steps)

    def _guard(self, runs: Alone | Lanes) -> Guard:
        """Returns the guard of this run's state, or of the lanes'."""
        if runs not in self._guards:
            state = GuardedState.of(self._step, self._epoch_end, self.step_count, lanes=runs)
            # how much is repeated follows from the clock, and several workers must repeat the same
            may_repeat = runs is ALONE and not replicas.spans_processes(self._step.strategy)
            self._guards[runs] = Guard(state, self._step.refused, join=joined, may_repeat=may_repeat)
        return self._guards[runs]

    def batches(self, feed: Feed, first_step: int, *, num_steps: int) -> Selection:
        """Returns the batches of a block's steps, their rows padded to those of the longest block."""
        return feed.batches(first_step, num_steps, length=self.max_steps * self._graph.batch_size)

    def evaluate(self, rows: np.ndarray) -> dict[str, float]:
        """Returns the loss and the metrics of the given rows, with the weights as they are."""
        self.announce("evaluate", {"rows": rows})
        with exchange_limit(self.limit_seconds):
            self._add(rows)
            values = self._epoch_end.read().numpy().tolist()
        metrics = map(MetricOffer.of, self._epoch_end.val_metrics.metrics)
        self.matrices = {metric.component.name: metric.matrix() for metric in metrics if metric.matrix is not None}
        return dict(zip(self.names, values, strict=True))

    def _run(self, first_step: int, num_steps: int, *, on: bool = True) -> BlockResult:
        batches = self.batches(self.feed, first_step, num_steps=num_steps)
        values = self._call(
            ALONE, batches.data, rows=batches.rows, on=tf.constant(on), first_step=first_step, num_steps=num_steps
        )
        is_over = (first_step + num_steps) % self._graph.steps_per_epoch == 0
        if self._ends_epochs_outside and values.ok and is_over:
            values = self._end_epoch_outside(values)
        result = self._result(values)
        return self._with_names(result, batches, first_step) if result.cause == UNKNOWN_UPDATE else result

    def _with_names(self, result: BlockResult, batches: Selection, first_step: int) -> BlockResult:
        """Returns a result whose cause names the variables that the update of the failed step breaks."""
        place, size = len(result.losses), self._graph.batch_size
        rows = batches.rows[place * size : (place + 1) * size]
        names = broken_by_update(self._step, batches.data, rows, step_number=first_step + place)
        return replace(result, cause=made_not_finite(names))

    def _end_epoch_outside(self, values: BlockValues) -> BlockValues:
        """Validates a part of the rows at a time, after the last block of an epoch."""
        train_values = self._begin_validation()
        failpoints.reach("validation")
        self._add(self._val_rows)
        epochs, stop = tf.nest.map_structure(lambda value: value.numpy(), self._end_epoch(train_values))
        return values._replace(epochs=Epochs(*(np.array([value]) for value in epochs)), num_epochs=1, stop=stop)

    def _call(
        self, runs: Alone | Lanes, data: Any, *, rows: tf.Tensor, on: tf.Tensor, first_step: int, num_steps: int
    ) -> BlockValues:
        """Calls a block and waits for its values."""
        per_epoch = self._graph.steps_per_epoch
        first_epoch, begin = divmod(first_step, per_epoch)
        last_epoch, end = divmod(first_step + num_steps - 1, per_epoch)
        span = Span(tf.constant(begin), tf.constant(end + 1), tf.constant(last_epoch - first_epoch + 1))
        arguments = (data, rows, self._validation, on, span)
        key = (self.mode, runs, self._step.stages.at(first_step))
        self._is_new_block = key not in self._blocks
        if self._is_new_block:
            if any(known[:2] == key[:2] for known in self._blocks):
                self.on_new_stage(first_step)
            self._blocks[key] = self._compiled(*key)
        try:
            values = self._blocks[key](*arguments)
        except (tf.errors.OutOfRangeError, tf.errors.DataLossError):
            if not throw_away():  # a compiled program of the cache, and damaged
                raise
            self._blocks[key] = self._compiled(*key)  # TensorFlow remembers the failure of the old one
            values = self._blocks[key](*arguments)
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
            if self.mode != "xla_loop" or "tf2xla" not in str(error):
                raise
            reason = str(error).strip().splitlines()[0]
            raise XlaError(f"trainer.compile: XLA can't compile this step, graph or auto can: {reason}") from error
        return tf.nest.map_structure(lambda value: value.numpy(), values)  # the host waits here for the device

    def _without_xla(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Returns a compiled function that is called at most once in an epoch: not worth XLA's compile time."""
        return tf.function(self.traces.recorded(name, function), autograph=False)

    def _compiled(self, mode: str, runs: Alone | Lanes, stage: Stage) -> Callable[..., Any]:
        block = functools.partial(self._block, mode, runs, stage)
        if mode == "eager":
            return block
        # AutoGraph would rewrite the block's loops, which are TensorFlow's already, in half a second
        in_stage = f", {stage}" if str(stage) else ""
        recorded = self.traces.recorded(f"block, {mode}{runs.name}{in_stage}", block)
        return tf.function(recorded, autograph=False, jit_compile=mode == "xla_loop")

    def _block(
        self,
        mode: str,
        runs: Alone | Lanes,
        stage: Stage,
        data: Any,
        rows: tf.Tensor,
        validation: Selection | None,
        on: Any,
        span: Span,
    ) -> BlockValues:
        """Traces a block. The tensors are arguments of their own, so that `traces` can name the ones that are new."""
        ends_epochs = not self._ends_epochs_outside
        return self._graph.run(
            runs,
            on,
            data=data,
            rows=rows,
            span=span,
            validation=self._validated(validation) if ends_epochs else None,
            tracing=Tracing(in_xla=mode == "xla_loop", in_lanes=runs is not ALONE, stage=stage),
        )

    def _validated(self, selection: Selection | None) -> Validation:
        return Validation(selection, evaluation_size(len(self._val_rows), most=self.feed.evaluation_rows))

    @property
    def _ends_epochs_outside(self) -> bool:
        """Whether the host ends an epoch, after its last block.

        It does if the validation split is streamed, a part at a time. And with large tables: a block that keeps the
        best weights copies them, as XLA does with all that a branch may write to, each time it is called.
        """
        streams_validation = self._validation is None and len(self._val_rows) > 0
        return streams_validation or self._table_bytes > LARGE_TABLES_BYTES

    def _add(self, rows: np.ndarray) -> None:
        """Adds rows to the validation's metrics."""
        size = evaluation_size(len(rows), most=self.feed.evaluation_rows)
        for selection in self.feed.selections(rows, size):
            self._evaluate(selection.data, selection.rows, size)

    def _evaluate_part(self, data: Any, rows: tf.Tensor, size: int) -> None:
        self._epoch_end.evaluate(ALONE, True, data=data, rows=rows, size=size)

    def _result(self, values: BlockValues) -> BlockResult:
        losses, norms, rates = (curve[: values.num_steps] for curve in values.curves)
        train, val, improved = (epochs[: values.num_epochs] for epochs in values.epochs)
        has_failed = not values.ok and values.num_steps < self.max_steps
        cause = rates_not_finite(self._step, values.curves.learning_rates[values.num_steps]) if has_failed else ""
        is_rate = bool(cause)
        if has_failed and not cause and all(np.isfinite(curve[values.num_steps]) for curve in values.curves[:2]):
            cause = UNKNOWN_UPDATE
        return BlockResult(
            losses=losses,
            norms=norms,
            learning_rates=rates,
            train=train,
            val=val,
            improved=improved,
            finite=bool(values.ok),
            stopped=bool(values.stop),
            has_val=len(self._val_rows) > 0,
            names=self.names,
            cause=cause,
            is_rate=is_rate,
            compiled=self._is_new_block,
        )


def _ignore(first_step: int) -> None:
    """What `Program.on_new_stage` is until something is shown."""
