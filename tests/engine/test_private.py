from __future__ import annotations

import keras
import pytest
import tensorflow as tf
from tensorflow.python.eager import context

from tfrun.engine import private


@pytest.fixture
def forgotten(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Is added to whenever TensorFlow forgets its kernels."""
    times: list[int] = []
    forget = context.pywrap_tfe.TFE_ContextClearCaches

    def noting(handle: object) -> None:
        times.append(1)
        forget(handle)

    monkeypatch.setattr(context.pywrap_tfe, "TFE_ContextClearCaches", noting)
    monkeypatch.setattr(private, "_stateful", [])
    return times


def begin(seed: int) -> None:
    with private.kept():
        keras.utils.clear_session(free_memory=False)
        keras.utils.set_random_seed(seed)


def test_kernels_stay_where_only_stateless_ops_are_random(forgotten: list[int]) -> None:
    drawn = []
    for seed in (1, 2, 1):
        begin(seed)
        drawn.append(keras.random.normal([4]).numpy().tolist())
    assert drawn[0] == drawn[2] != drawn[1]
    assert forgotten == []


def test_they_go_where_an_op_has_a_state_of_its_own(forgotten: list[int]) -> None:
    drawn = []
    for _ in range(3):
        begin(1)
        drawn.append(tf.random.normal([4]).numpy().tolist())
        tf.random.normal([4])
    assert drawn[0] == drawn[1] == drawn[2]
    assert len(forgotten) == 4  # twice in each run but the first
