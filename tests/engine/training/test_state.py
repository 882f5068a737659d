"""Reading, writing and restoring the variables of a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrun.engine.training.state import State
from tfrun.errors import CheckpointError
from tfrun.files.checkpoints import Checkpoint


def make_state(value: float, *, shape: tuple[int, ...] = (2, 3), dtype: str = "float32", **more: list[Any]) -> State:
    kernel = keras.Variable(np.full(shape, value, dtype), name="kernel")
    position = tf.Variable(int(value), dtype=tf.int64)
    return State({"model": [kernel, tf.Variable(value, name="bias")], "position": [position], "none": [], **more})


def saved(state: State) -> Checkpoint:
    path = Path("step-000000009")
    return Checkpoint(path, step=9, slots=state.describe(), arrays=state.read(), extra={}, passed_over=[])


def values(state: State) -> dict[str, Any]:
    return {slot: array.tolist() for slot, array in state.read().items()}


def test_a_slot_is_a_role_and_a_number() -> None:
    state = make_state(4.5)
    assert values(state) == {"model/0000": [[4.5] * 3] * 2, "model/0001": 4.5, "position/0000": 4}
    assert state.describe()["model/0000"] == {"path": "kernel", "shape": [2, 3], "dtype": "float32"}
    assert state.describe()["position/0000"]["dtype"] == "int64"
    assert len(state.variables) == 3


def test_values_that_were_read_can_be_written_again() -> None:
    state = make_state(4.0)
    before = state.read()
    state.write(make_state(6.0).read())
    assert values(state)["model/0001"] == 6.0
    state.write(before)
    assert values(state)["model/0001"] == 4.0 and values(state)["position/0000"] == 4


@pytest.mark.parametrize("compiled", [None, False, True])
def test_values_that_were_read_stay_as_they_are(compiled: bool | None) -> None:
    """The background thread still writes them while the next steps change the variables, all of them or some rows."""
    variables = [keras.Variable(np.zeros((1000, 2), np.float32)), tf.Variable(tf.zeros((1000, 2)))]

    def change() -> None:
        for variable in (variables[0].value, variables[1]):
            rows = tf.constant([[1.0, 2.0], [3.0, 4.0]])
            tf.raw_ops.ResourceScatterUpdate(resource=variable.handle, indices=tf.constant([5, 7]), updates=rows)
            variable.assign_add(tf.ones((1000, 2)))
            tf.raw_ops.ResourceScatterUpdate(resource=variable.handle, indices=tf.constant([8, 9]), updates=rows)

    if compiled is not None:
        change = tf.function(change, autograph=False, jit_compile=compiled)
    state = State({"model": variables})
    held = []
    for _ in range(3):
        arrays = list(state.read().values())
        held.append((arrays, [array.copy() for array in arrays]))
        change()
    for arrays, copies in held:
        np.testing.assert_array_equal(arrays, copies)
    assert np.any(list(state.read().values())[0] != held[-1][1][0])


def test_a_checkpoint_is_restored() -> None:
    state = make_state(0.0)
    state.restore(saved(make_state(9.5)))
    assert values(state) == values(make_state(9.5))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: make_state(1.0, shape=(3, 3)), r"model/0000 doesn't fit.*2, 3.*Expected.*3, 3"),
        (lambda: make_state(1.0, dtype="float64"), r"model/0000 doesn't fit.*float32.*Expected.*float64"),
        (lambda: State({"model": make_state(1.0).variables[:1]}), "model/0001 doesn't fit.*Expected: nothing"),
        (lambda: make_state(1.0, average=[tf.Variable(1.0)]), "average/0000 doesn't fit.*Received: nothing"),
    ],
)
def test_a_checkpoint_that_does_not_fit_changes_nothing(make: Callable[[], State], message: str) -> None:
    state = make()
    before = values(state)
    with pytest.raises(CheckpointError, match=message):
        state.restore(saved(make_state(9.5)))
    assert values(state) == before


def test_an_optional_role_may_be_missing_on_either_side() -> None:
    longer = make_state(0.0, early_stopping=[tf.Variable(4.0)])
    longer.restore(saved(make_state(9.5)), ["early_stopping"])
    assert values(longer)["early_stopping/0000"] == 4.0 and values(longer)["position/0000"] == 9
    shorter = make_state(0.0)
    shorter.restore(saved(make_state(9.5, early_stopping=[tf.Variable(4.0)])), ["early_stopping"])
    assert values(shorter)["model/0001"] == 9.5
