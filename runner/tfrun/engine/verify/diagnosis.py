"""Finds why a step's numbers are not finite: repeats it in Python and checks each row's loss and each operation."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfrun.data.table import Table
from tfrun.engine.building.pieces import Pieces
from tfrun.engine.training.program import Program
from tfrun.engine.training.step import Step
from tfrun.engine.verify.input_ranges import large_arrays
from tfrun.errors import DivergedError

# a person's own code is everywhere else
LIBRARIES = [*(Path(module.__file__).parent for module in (tf, keras)), Path(__file__).parents[1]]


class Diagnosis(NamedTuple):
    """The cause of numbers that aren't finite.

    Attributes:
        rows: the numbers of the rows whose loss isn't finite; the whole batch if only the gradient isn't.
        tensor: the first operation whose output is nan or infinite, and where it is called.
    """

    rows: list[int]
    tensor: str


def explained(error: DivergedError, pieces: Pieces, *, program: Program, table: Table) -> DivergedError:
    """Returns the error with the rows and the operation that caused it, if its cause isn't known yet.

    Args:
        error: says that the step after the last one failed.
        pieces: the run's.
        program: has the state before that step.
        table: the raw rows.
    """
    numbers = pieces.order.block(program.step, 1)
    message, details = str(error), error.details
    if "cause" not in details:
        batch = program.feed.batches(program.step, 1, length=pieces.order.batch_size)
        cause = diagnose(pieces.parts.step, batch.data, batch=batch.rows, numbers=numbers, position=program.step)
        message = f"{error}. First not finite is {cause.tensor}; {_describe_rows(table, cause.rows)}"
        details = cause._asdict()
    for _, sentence in large_arrays(pieces.examples, numbers):
        message = f"{message}; {sentence}"
    return DivergedError(message, **details)


def _describe_rows(table: Table, rows: Sequence[int]) -> str:
    """Returns where rows are: `in the row rows.csv:14`, or the first one and how many more."""
    first = table.find(rows[0])[0]
    return (
        f"in the row {first}"
        if len(rows) == 1
        else f"in {len(rows)} rows of the batch, {first} and {len(rows) - 1} more"
    )


def diagnose(step: Step, data: Any, *, batch: tf.Tensor, numbers: np.ndarray, position: int = 0) -> Diagnosis:
    """Repeats a step's first phase and returns the cause. The state is left unchanged.

    Args:
        step: its state is that before the step.
        data: examples, (inputs, targets, weights).
        batch: the batch's row numbers in them.
        numbers: the same rows' numbers in the data set.
        position: the number of steps done before it.
    """
    changed = [*step.model.non_trainable_variables, *step.algorithm.variables]
    before = [variable.numpy() for variable in changed]
    loss = step.loss
    recorded: list[np.ndarray] = []

    def record_losses(y: Any, y_pred: Any) -> tf.Tensor:
        values = loss(y, y_pred)
        recorded.append(np.atleast_1d(values.numpy()))
        return values

    def compute() -> None:
        try:
            step.strategy.run(step.compute, args=(data, batch, tf.constant(position, tf.int64)))
        finally:
            for variable, value in zip(changed, before, strict=True):
                variable.assign(value)

    step.loss = record_losses
    try:
        compute()
        losses = np.concatenate(recorded) if recorded else np.zeros(0)
        # an algorithm may compute more losses than a batch has rows, or other ones
        wrong = ~np.isfinite(losses) if len(losses) == len(numbers) else np.zeros(len(numbers), bool)
        tensor = _first_not_finite(compute)
    finally:
        step.loss = loss
    return Diagnosis([int(number) for number in (numbers[wrong] if wrong.any() else numbers)], tensor)


def _first_not_finite(compute: Callable[[], None]) -> str:
    """Returns which operation's output is the first that isn't finite when `compute` is called."""
    tf.debugging.enable_check_numerics()
    try:
        compute()
        return "nothing that the same step in Python computes: only the compiled one isn't finite"
    except tf.errors.InvalidArgumentError as error:
        return _describe(error)
    finally:
        tf.debugging.disable_check_numerics()


def _describe(error: tf.errors.InvalidArgumentError) -> str:
    """Returns for example `the output of Log, my_losses.py:12`."""
    operation = re.search(r'op "(\w+)"', str(error))
    output = f"the output of {operation[1]}" if operation else "an operation's output"
    frames = traceback.extract_tb(error.__traceback__)
    if any(frame.name == "gradient" and frame.filename.endswith("backprop.py") for frame in frames):
        return f"{output}, on the way back through the gradient"
    outside = [frame for frame in frames if not any(Path(frame.filename).is_relative_to(root) for root in LIBRARIES)]
    return f"{output}, {outside[-1].filename}:{outside[-1].lineno}" if outside else output
