"""A model that the memory has no room for."""

from __future__ import annotations

from pathlib import Path

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


@pytest.mark.parametrize("units", ["1000000000000", "200000,200000"])
def test_a_model_larger_than_the_memory_leaves_nothing(
    units: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["model=mlp", f"model.hidden_units=[{units}]", "trainer.max_epochs=1"]) == 5
    err = capsys.readouterr().err
    assert err.startswith("tfrun: error: model: the memory has no room for it. Received: a variable of the shape (")
    assert err.count("\n") == 1
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_variable_gets_no_memory_that_is_not_there(free: None) -> None:
    with memory.enough_to_build():
        kept = keras.layers.Dense(3)
        kept.build((None, 2))
        with pytest.raises(ResourceError, match=r"shape \(20000, 10000\), which needs 1.5 GiB while it is made"):
            keras.layers.Dense(10_000).build((None, 20_000))
    assert kept.kernel.shape == (2, 3)


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
