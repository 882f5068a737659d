"""Histograms of a run's weights and of its gradients, for the tabs Histograms and Distributions of TensorBoard."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfrun.engine.building.pieces import Pieces
from tfrun.engine.private import seeds_of_replicas
from tfrun.engine.training.block_result import BlockResult
from tfrun.engine.training.groups import Group
from tfrun.engine.training.loop import Observer
from tfrun.engine.training.program import Program
from tfrun.engine.training.rows import RowGradient, Tracing

NUM_BUCKETS = 30  # as TensorFlow's own histograms have
MAX_VALUES = 100_000  # of a variable that are looked at
MAX_VARIABLES = 1_000

Write = Callable[[int, Mapping[str, np.ndarray]], None]


class Histograms(Observer):
    """Looks at the weights, and at the gradients of the next batch, after some epochs and after the last step.

    The gradients are those that the next step uses: of its batch, with the run's loss, class weights and augmentation,
    unscaled, averaged over microbatches, and clipped. They are computed in Python and change nothing: what a forward
    pass changes is undone. Of a table that is updated by rows, they are those of the rows that the batch reads.

    Of more than `MAX_VALUES` numbers, every second, third, … is looked at, and counts as two, three, …

    Args:
        pieces: the run's.
        program: the run's.
        every_steps: how often, in steps.
        write: receives a step and histograms by tag, (buckets, 3) each.
        load_variables: loads the run's values into the program's variables.
    """

    def __init__(
        self, pieces: Pieces, program: Program, *, every_steps: int, write: Write, load_variables: Callable[[], None]
    ):
        self._pieces = pieces
        self._program = program
        self._every_steps = every_steps
        self._write = write
        self._load_variables = load_variables
        self._last: int | None = None

    def on_block(self, first_step: int, result: BlockResult) -> None:
        step = first_step + len(result.losses)
        if result.finite and len(result.losses) and step % self._every_steps == 0:
            self.look(step)

    def look(self, step: int) -> None:
        """Writes the histograms of the state after a step, unless they are written."""
        if step != self._last:
            self._last = step
            self._load_variables()
            values = {
                f"{what}/{name}": array
                for what, arrays in (("weights", self._weights()), ("gradients", self._gradients(step)))
                for name, array in arrays
            }
            histograms = {tag: histogram(array) for tag, array in values.items()}
            self._write(step, {tag: buckets for tag, buckets in histograms.items() if buckets is not None})

    def _weights(self) -> Iterator[tuple[str, tuple[np.ndarray, int]]]:
        for group in self._groups:
            for variable in group.variables[:MAX_VARIABLES]:
                yield self._name(group, variable), _some(self._local(variable.value))

    def _gradients(self, step: int) -> Iterator[tuple[str, tuple[np.ndarray, int]]]:
        training = self._pieces.parts.step
        batch = self._program.feed.batches(step, 1, length=self._pieces.order.batch_size)
        arguments = (batch.data, batch.rows, tf.constant(step, tf.int64))
        several = training.strategy.num_replicas_in_sync > 1
        with seeds_of_replicas() if several else contextlib.nullcontext():
            tracing = Tracing(stage=training.stages.at(step))
            computed = training.strategy.run(training.compute, args=arguments, kwargs={"tracing": tracing})
        training.undo_forward(computed)
        for group, gradients in zip(self._groups, computed.by_group, strict=True):
            for variable, gradient in zip(group.variables[:MAX_VARIABLES], gradients, strict=False):
                if isinstance(gradient, RowGradient):
                    rows = tf.boolean_mask(self._local(gradient.values), self._local(gradient.is_first))
                    yield self._name(group, variable), _some(rows)
                else:
                    yield self._name(group, variable), _some(tf.convert_to_tensor(self._local(gradient)))

    @property
    def _groups(self) -> list[Group]:
        return self._pieces.parts.step.active

    def _name(self, group: Group, variable: keras.Variable) -> str:
        return variable.path if len(self._groups) == 1 else f"{group.name}/{variable.path}"

    def _local(self, value: Any) -> Any:
        """Returns the first replica's value."""
        return self._pieces.strategy.experimental_local_results(value)[0]


def _some(tensor: tf.Tensor) -> tuple[np.ndarray, int]:
    """Returns at most MAX_VALUES of a tensor's numbers, evenly taken, and for how many each of them stands.

    The host waits for the device here.
    """
    every = max(1, -(-int(tf.size(tensor)) // MAX_VALUES))
    flat = tf.reshape(tensor, [-1])
    return np.asarray(tf.cast(flat[::every], tf.float64)), every


def histogram(values: tuple[np.ndarray, int]) -> np.ndarray | None:
    """Returns the left edge, the right edge and the count of each of 30 buckets, (30, 3); None without finite numbers.

    Args:
        values: (N,) numbers, and what each of them counts.
    """
    numbers, count = values
    finite = numbers[np.isfinite(numbers)]
    if not len(finite):
        return None
    counts, edges = np.histogram(finite, NUM_BUCKETS)
    return np.stack([edges[:-1], edges[1:], count * counts], axis=1)
