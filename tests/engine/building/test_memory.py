"""A model that the memory has no room for."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrun import cli
from tfrun.engine.building import memory
from tfrun.errors import ResourceError


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> None:
    """1 GiB of memory is free."""
    monkeypatch.setattr(memory, "_free_bytes", lambda: 2.0**30)


def refuse(shape: Any, dtype: Any) -> None:
    """Stands for what checks a variable: fails for one that is too large, since it should not get that far."""
    assert math.prod(shape) < 2**24


@pytest.mark.parametrize("units", ["1000000000000", "200000,200000"])
def test_a_model_larger_than_the_memory_leaves_nothing(
    units: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(memory, "_check_variable", refuse)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["model=mlp", f"model.hidden_units=[{units}]", "trainer.max_epochs=1"]) == 5
    err = capsys.readouterr().err
    assert err.startswith("tfrun: error: model: the memory has no room for it. Received: ")
    assert err.endswith(" A smaller model.hidden_units makes it smaller\n")
    assert err.count("\n") == 1
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_variable_gets_no_memory_that_is_not_there(free: None) -> None:
    kept = keras.layers.Dense(3)
    message = r"shape \(20000, 10000\), which needs 1.5 GiB while it is made"
    with pytest.raises(ResourceError, match=message), memory.enough_to_build():
        kept.build((None, 2))
        keras.layers.Dense(10_000).build((None, 20_000))
    assert kept.kernel.shape == (2, 3)


def test_the_sum_is_checked_once_before_variables_that_are_large_together() -> None:
    calls: list[float] = []
    with memory.enough_to_build(calls.append):
        keras.layers.Dense(2**11).build((None, 2**12))  # 2^23 weights of 4 bytes are 2^25 of 2^26 bytes
        assert calls == []
        keras.layers.Dense(2**11).build((None, 2**12))
        assert len(calls) == 1
        keras.layers.Dense(2**11).build((None, 2**12))
    assert len(calls) == 1


def test_an_error_that_keras_drops_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keras makes the variable after all; it is small, since the process keeps its memory."""
    monkeypatch.setattr(memory, "_free_bytes", lambda: 2.0**27)

    class Model(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = keras.layers.Dense(4_100)

        def call(self, x: Any) -> Any:
            return self.dense(x)

    with pytest.raises(ResourceError, match=r"shape \(4100, 4100\)"), memory.enough_to_build():
        Model()(np.zeros((1, 4_100), np.float32))


def test_training_needs_more_than_the_model(free: None, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = [keras.Variable(np.zeros((100, 100), np.float32))]
    memory.check_training(weights, weights)
    monkeypatch.setattr(memory, "_free_bytes", lambda: 79_999.0)  # the best weights, and as many gradients
    with pytest.raises(ResourceError, match="no room to train it"):
        memory.check_training(weights, weights)
    memory.check_training(weights, [])


@pytest.mark.parametrize("error", [MemoryError(), tf.errors.ResourceExhaustedError(None, None, "OOM when\nand more")])
def test_an_error_in_between_is_one_line(error: Exception) -> None:
    message = "^the memory is used up: (no memory left|OOM when). "
    with pytest.raises(ResourceError, match=message) as raised, memory.one_line_errors():
        raise error
    assert "\n" not in str(raised.value)
