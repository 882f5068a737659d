"""A batch size that is tried: what it measures, and that a lack of memory is an error of one line."""

from __future__ import annotations

from typing import Any

import pytest
import tensorflow as tf

from tfrun.engine.finding import batch_trial
from tfrun.engine.finding.batch_trial import BatchTrial, steps_per_second, try_batch_size
from tfrun.engine.training.program import Program
from tfrun.errors import ResourceError


def tried(small: Any, *words: str) -> BatchTrial:
    settings = small.settings("model=linear", "trainer.compile=graph", *words)
    return try_batch_size(settings, small.catalog, table=small.table(*words))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_trial, "SECONDS", 0.0)


@pytest.mark.parametrize(("size", "used"), [(4, 4), (32, 32), (10_000, 354)])
def test_a_size_that_fits(small: Any, size: int, used: int) -> None:
    trial = tried(small, f"data.batch_size={size}")
    assert (trial.batch_size, trial.train_rows, trial.mode) == (used, 354, "graph_loop")
    assert trial.steps_per_second > 0 and trial.peak_bytes > 2**20
    assert trial.examples_per_second == trial.batch_size * trial.steps_per_second


def test_without_validation_rows(small: Any) -> None:
    assert tried(small, "data.validation_split=0", "checkpoint.monitor=train/loss").train_rows == 398


def test_a_learning_rate_that_diverges_does_not_matter(small: Any) -> None:
    assert tried(small, "optimizer=sgd", "optimizer.learning_rate=100").steps_per_second > 0


def test_a_lack_of_memory(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: object) -> None:
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[9,9]")

    monkeypatch.setattr(Program, "run", run)
    with pytest.raises(ResourceError, match=r"the memory is used up: OOM when allocating"):
        tried(small)


def test_the_fastest_block_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step takes 0.01 s, and the machine is slow in some blocks; blocks grow to 0.1 s: 1, 4 and 16 steps."""
    monkeypatch.setattr(batch_trial, "SECONDS", 1.0)
    now, lengths = [0.0], []

    def train(num_steps: int) -> None:
        lengths.append(num_steps)
        now[0] += num_steps * (0.01 if len(lengths) == 5 else 0.02)

    assert steps_per_second(train, 1000, clock=lambda: now[0]) == pytest.approx(100)
    assert lengths[:3] == [1, 4, 16] and set(lengths[3:]) == {16} and len(lengths) >= 6
    lengths.clear()
    assert steps_per_second(train, 3, clock=lambda: now[0]) == pytest.approx(100)
    assert max(lengths) == 3
