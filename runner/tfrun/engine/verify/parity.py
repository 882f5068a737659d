"""Compares compiled steps with the same steps in Python.

Both take a few steps, one at a time, from one state; after each of them every variable is compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tfrun.engine.training.program import Program, XlaError
from tfrun.engine.training.state import State
from tfrun.errors import ConfigError

MODES = {"graph_loop": "graph", "xla_loop": "xla"}
TOLERANCE = 1e-4  # relative to a tensor's largest value, or absolute if that is below 1


class ParityError(ConfigError):
    """A compiled step gives another result than the same step in Python."""


class Difference(NamedTuple):
    """Where two runs of the same steps are furthest apart.

    Attributes:
        mode: the mode that was compared with eager steps, as `trainer.compile` calls it.
        off: the largest difference, relative as TOLERANCE says; nan if the step can't be compiled.
        tensor: the path of the variable that has it, or why the step can't be compiled.
        first: the first step, from 1, and variable that differ by more than the tolerance, or None.
    """

    mode: str
    off: float
    tensor: str
    first: tuple[int, str] | None


def compare(program: Program, state: State, *, num_steps: int) -> list[Difference]:
    """Returns how far the steps of each compiled mode are from eager ones.

    Args:
        program: over examples. It is left in the mode that was compared last.
        state: all its variables; they are restored.
        num_steps: how many steps to take.
    """
    before = state.read()
    paths = {slot: description["path"] for slot, description in state.describe().items()}

    def states(mode: str) -> list[dict[str, np.ndarray]]:
        """Returns the state after each step."""
        state.write(before)
        program.mode = mode
        after = []
        for step in range(min(num_steps, program.max_steps)):
            program.run(step, 1)
            after.append(state.read())
        return after

    expected = states("eager")
    differences = []
    for mode, name in MODES.items():
        try:
            differences.append(_difference(name, states(mode), expected=expected, paths=paths))
        except XlaError as error:
            differences.append(Difference(name, float("nan"), str(error), None))
    state.write(before)
    return differences


def _difference(
    mode: str,
    actual: Sequence[Mapping[str, np.ndarray]],
    *,
    expected: Sequence[Mapping[str, np.ndarray]],
    paths: Mapping[str, str],
) -> Difference:
    """Returns the largest and the first difference between the states after each step, arrays by slot."""
    off = 0.0
    tensor = ""
    first = None
    for step, (arrays, expected_arrays) in enumerate(zip(actual, expected, strict=True), start=1):
        for slot, array in arrays.items():
            distance = _distance(array, expected_arrays[slot])
            if distance > off:
                off = distance
                tensor = paths[slot]
            if distance > TOLERANCE and first is None:
                first = (step, paths[slot])
    return Difference(mode, off, tensor, first)


def _distance(actual: np.ndarray, expected: np.ndarray) -> float:
    """Returns the largest difference of two arrays, relative to the largest expected value if that is above 1."""
    a = actual.astype("float64")
    b = expected.astype("float64")
    is_same = (a == b) | (np.isnan(a) & np.isnan(b))  # two infinities are the same too
    with np.errstate(invalid="ignore"):
        off = np.where(is_same, 0.0, np.abs(a - b))
    largest = np.max(np.abs(b), initial=1.0, where=np.isfinite(b))
    return float(np.max(np.nan_to_num(off, nan=np.inf), initial=0.0)) / float(largest)
