"""Why a step was not taken: once more in Python, each row's loss looked at and each operation's numbers checked."""

from __future__ import annotations

import re
import traceback
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfrun.engine.training.step import Step
from tfrun.protocols import AlgorithmOffer

LIBRARIES = [Path(module.__file__).parent for module in (tf, keras)] + [
    Path(__file__).parents[1]
]  # not a person's code


class Diagnosis(NamedTuple):
    """What wasn't finite.

    Attributes:
        rows: the numbers of the rows whose own loss isn't finite; the whole batch where only the gradient isn't.
        tensor: what the first operation was that gave nan or infinity, and where it is called.
    """

    rows: list[int]
    tensor: str


def diagnose(step: Step, data: Any, batch: tf.Tensor, numbers: np.ndarray) -> Diagnosis:
    """Takes a step's first phase again and returns what it finds; the state is left as it is.

    Args:
        step: its state is that before the step.
        data: examples, (inputs, targets, weights).
        batch: the batch's row numbers in them.
        numbers: the same rows' numbers in the data set.
    """
    changed = [*step.model.non_trainable_variables, *AlgorithmOffer.of(step.algorithm).variables]
    before = [variable.numpy() for variable in changed]
    loss, losses = step.loss, list[np.ndarray]()

    def noting(y: Any, y_pred: Any) -> tf.Tensor:
        values = loss(y, y_pred)
        losses.append(np.atleast_1d(values.numpy()))
        return values

    def compute() -> None:
        try:
            step.strategy.run(step.compute, args=(data, batch))
        finally:
            for variable, value in zip(changed, before, strict=True):
                variable.assign(value)

    step.loss = noting
    try:
        compute()
        own = np.concatenate(losses) if losses else np.zeros(0)
        # an algorithm may ask for more losses than a batch has rows, or for others
        wrong = ~np.isfinite(own) if len(own) == len(numbers) else np.zeros(len(numbers), bool)
        tf.debugging.enable_check_numerics()
        try:
            compute()
            tensor = "nothing that the same step in Python gives: only the compiled one isn't finite"
        except tf.errors.InvalidArgumentError as error:
            tensor = _described(error)
        finally:
            tf.debugging.disable_check_numerics()
    finally:
        step.loss = loss
    return Diagnosis([int(number) for number in (numbers[wrong] if wrong.any() else numbers)], tensor)


def _described(error: tf.errors.InvalidArgumentError) -> str:
    """Returns for example `the output of Log, my_losses.py:12`."""
    found = re.search(r'op "(\w+)"', str(error))
    what = f"the output of {found[1]}" if found else "an operation's output"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not any(Path(frame.filename).is_relative_to(root) for root in LIBRARIES)]
    if any(frame.name == "gradient" and frame.filename.endswith("backprop.py") for frame in frames):
        return f"{what}, on the way back through the gradient"
    return f"{what}, {own[-1].filename}:{own[-1].lineno}" if own else what
