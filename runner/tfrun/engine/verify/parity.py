"""Whether the compiled step does what the same step does in Python.

Both take a few steps, one at a time, from one state; after each of them every variable is compared.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tfrun.engine.training.program import Program, XlaError
from tfrun.engine.training.state import State
from tfrun.errors import ConfigError

MODES = {"graph_loop": "graph", "xla_loop": "xla"}
TOLERANCE = 1e-4  # relative to a tensor's largest value, or to 1 where that is smaller


class ParityError(ConfigError):
    """A compiled step gives something else than the same step in Python."""


class Difference(NamedTuple):
    """Where two runs of the same steps are furthest apart.

    Attributes:
        mode: what was compared with eager steps, as `trainer.compile` calls it.
        off: the largest difference, relative as TOLERANCE says; nan where it couldn't be compiled.
        tensor: the path of the variable that has it, or why it couldn't.
        first: the step, from 1, and the variable that were the first beyond the tolerance, or None.
    """

    mode: str
    off: float
    tensor: str
    first: tuple[int, str] | None


def compare(program: Program, state: State, num_steps: int) -> list[Difference]:
    """Returns what eager steps and those of each compiled mode have come to.

    Args:
        program: over examples; it is left where it was.
        state: all its variables.
        num_steps: how many steps to take.
    """
    before, paths = state.read(), {slot: own["path"] for slot, own in state.describe().items()}

    def states(mode: str) -> list[dict[str, np.ndarray]]:
        state.write(before)
        program.mode, after = mode, []
        for step in range(min(num_steps, program.max_steps)):
            program.run(step, 1)
            after.append(state.read())
        return after

    expected, found = states("eager"), []
    for mode, name in MODES.items():
        try:
            actual = states(mode)
        except XlaError as error:
            found.append(Difference(name, float("nan"), str(error), None))
            continue
        off, tensor, first = 0.0, "", None
        for step, (own, theirs) in enumerate(zip(actual, expected, strict=True), start=1):
            for slot in own:
                distance = _distance(own[slot], theirs[slot])
                if distance > off:
                    off, tensor = distance, paths[slot]
                if distance > TOLERANCE and first is None:
                    first = step, paths[slot]
        found.append(Difference(name, off, tensor, first))
    state.write(before)
    return found


def _distance(actual: np.ndarray, expected: np.ndarray) -> float:
    a, b = actual.astype("float64"), expected.astype("float64")
    same = (a == b) | (np.isnan(a) & np.isnan(b))  # two infinities are the same too
    with np.errstate(invalid="ignore"):
        off = np.where(same, 0.0, np.abs(a - b))
    largest = np.max(np.abs(b), initial=1.0, where=np.isfinite(b))
    return float(np.max(np.nan_to_num(off, nan=np.inf), initial=0.0)) / float(largest)
