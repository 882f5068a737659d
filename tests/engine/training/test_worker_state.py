"""The state of several processes, as one of them sees it: the exchange between them is replaced."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrun.engine.training import replicas
from tfrun.engine.training.worker_state import WorkerState
from tfrun.files.checkpoints import Checkpoint

# of three replicas, each in a process of its own; this one has the second
STRATEGY = SimpleNamespace(num_replicas_in_sync=3, experimental_local_results=lambda value: (value,))


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> tuple[WorkerState, keras.Variable, keras.Variable, list[Any]]:
    weight, total = keras.Variable([1.0, 2.0]), keras.Variable(4.0)
    announced: list[Any] = []
    monkeypatch.setattr(replicas, "first_of_process", lambda _: 1)
    monkeypatch.setattr(replicas, "gathered", lambda _, split: [tf.constant([1.0, 4.0, 0.5]) for _ in split])
    worker_state = WorkerState(
        {"model": [weight], "train": [total]},
        [total],
        strategy=cast(tf.distribute.Strategy, STRATEGY),
        announce=lambda do, arrays=None, **_: announced.append((do, sorted(arrays or {}))),
    )
    return worker_state, weight, total, announced


def test_all_parts_are_read_and_the_sum_is_theirs(state: Any) -> None:
    worker_state, _, _, announced = state
    arrays = worker_state.read()
    assert {name: array.tolist() for name, array in arrays.items()} == {
        "model/0000": [1.0, 2.0],
        "train/0000": 5.5,
        "replicas/0000": 1.0,
        "replicas/0001": 4.0,
        "replicas/0002": 0.5,
    }
    assert announced == [("read", [])]
    described = worker_state.describe()
    assert described.keys() == arrays.keys() and described["replicas/0002"]["shape"] == []


def test_a_process_gets_its_part(state: Any) -> None:
    worker_state, weight, total, announced = state
    arrays = {name: np.asarray(array) for name, array in worker_state.read().items()} | {
        "model/0000": np.array([3.0, 4.0], np.float32)
    }
    worker_state.write(arrays)
    assert (weight.numpy().tolist(), float(total)) == ([3.0, 4.0], 4.0)  # not the sum, which is 5.5
    assert announced[-1] == ("write", sorted(arrays))


def test_parts_of_other_replicas_are_left_out(state: Any) -> None:
    worker_state, _, total, announced = state
    arrays, slots = worker_state.read(), worker_state.describe()
    for items in (arrays, slots):
        del items["replicas/0002"]  # two replicas have saved it
    checkpoint = Checkpoint(Path("step-1"), 1, slots, arrays, {}, [])
    worker_state.restore(checkpoint, ["replicas"])
    assert float(total) == 5.5  # the sum, of which the strategy gives each replica an equal part
    assert announced[-1] == ("write", ["model/0000", "train/0000"])
