"""Tries a batch size: whether a run with it has the memory to train and validate, and how fast it is."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import tensorflow as tf

from tfrun.config.catalog import Catalog
from tfrun.config.settings import Settings
from tfrun.data.table import Table
from tfrun.engine.building import memory
from tfrun.engine.building.alone import AloneDriver, Engine, Ready
from tfrun.engine.building.pieces import Pieces
from tfrun.engine.building.reuse import Reuse
from tfrun.engine.training import feed
from tfrun.engine.training.program import Program
from tfrun.errors import DivergedError

RATE_FACTOR = 1e-6  # of the learning rates
SHORT_EPOCH = 64  # steps
BLOCK_SECONDS = 0.1  # of a timed block, so that what a call costs doesn't count
SECONDS = 1.0  # of timing, in which a busy machine is idle for at least a block
MIN_BLOCKS = 3


@dataclass(frozen=True)
class BatchTrial:
    """What a batch size that fits has shown.

    Attributes:
        batch_size: rows of a step.
        train_rows: the number of training rows.
        steps_per_second: of training alone.
        peak_bytes: the most memory that was in use: a GPU's, or this process's.
        mode: how the program was compiled, as `run.json` calls it.
    """

    batch_size: int
    train_rows: int
    steps_per_second: float
    peak_bytes: int
    mode: str

    @property
    def examples_per_second(self) -> float:
        """The training rows of a second."""
        return self.batch_size * self.steps_per_second


def try_batch_size(settings: Settings, catalog: Catalog, *, table: Table) -> BatchTrial:
    """Trains some steps, the last of an epoch among them, which validates a part of the rows.

    Args:
        settings: the config with the batch size to try.
        catalog: the components that exist.
        table: the raw rows of the config's data. Its columns are released.

    Raises:
        ResourceError: there isn't enough memory.
        TfrunError: a run with this config would stop for this reason.
    """
    with memory.one_line_errors():
        reuse = Reuse()
        pieces = _with_part_of_validation(reuse.build_pieces(settings, catalog, table=table))
        engine = AloneDriver(reuse)(Ready(pieces))
        assert isinstance(engine, Engine)
        program = engine.program
        steps_per_epoch = pieces.order.steps_per_epoch
        for group in pieces.parts.step.active:  # neither memory nor speed depends on it, and no weight becomes infinite
            group.base_learning_rate.assign(RATE_FACTOR * group.base_learning_rate)
        _train(program, steps_per_epoch - 1, 1)
        most_steps = min(steps_per_epoch - 1, program.max_steps)
        if steps_per_epoch <= SHORT_EPOCH:  # blocks of a few steps are mostly overhead, and longer ones validate
            program.use_feed(program.feed, pieces.val_rows[:0])
            _train(program, 0, 1)
            most_steps = program.max_steps
        rate = steps_per_second(lambda num_steps: _train(program, 0, num_steps), most_steps)
    mode = str(engine.description["mode"])
    return BatchTrial(pieces.order.batch_size, len(pieces.order.rows), rate, _peak_bytes(), mode)


def _with_part_of_validation(pieces: Pieces) -> Pieces:
    """Returns pieces with as many validation rows as are evaluated at once: the others need no more memory."""
    examples = pieces.examples
    part = pieces.val_rows[: feed.rows_to_evaluate(examples)]
    return replace(pieces, examples=replace(examples, splits={**examples.splits, "val": part}))


def steps_per_second(
    train: Callable[[int], object], most_steps: int, *, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Returns how fast blocks are trained; the fastest one counts, since noise can only slow down.

    Args:
        train: trains a block of the given number of steps.
        most_steps: the longest block.
        clock: returns seconds.
    """

    def seconds(num_steps: int) -> float:
        started = clock()
        train(num_steps)
        return clock() - started

    num_steps = 1
    while (fastest := seconds(num_steps)) < BLOCK_SECONDS and num_steps < most_steps:
        num_steps = min(most_steps, 4 * num_steps)
    started, num_blocks = clock(), 1
    while num_blocks < MIN_BLOCKS or clock() - started < SECONDS:
        fastest = min(fastest, seconds(num_steps))
        num_blocks += 1
    return num_steps / fastest


def _train(program: Program, first_step: int, num_steps: int) -> None:
    if not program.run(first_step, num_steps).finite:
        raise DivergedError("find batch_size: the loss or its gradient is not finite, so that the model can't be timed")


def _peak_bytes() -> int:
    if tf.config.list_logical_devices("GPU"):
        return int(tf.config.experimental.get_memory_info("GPU:0")["peak"])
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
