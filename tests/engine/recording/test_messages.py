"""What a run reports to its sweep."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfrun.engine.recording.messages import Messages
from tfrun.engine.training.block_result import BlockResult
from tfrun.engine.training.plan import Plan


def block(losses: list[float], epochs: list[float]) -> BlockResult:
    steps, ended = np.array(losses, np.float32), np.array(epochs, np.float32)[:, None]
    return BlockResult(
        losses=steps,
        norms=steps,
        learning_rates=steps[:, None],
        train=ended,
        val=10 * ended,
        improved=ended[:, 0] > 0,
        finite=True,
        stopped=False,
        has_val=True,
    )


def test_blocks_and_epochs_are_reported() -> None:
    calls: list[tuple[Any, ...]] = []

    def report(step: int, last_step: int | None, epoch: int, values: Any, is_epoch: bool) -> None:
        calls.append((step, last_step, epoch, dict(values), is_epoch))

    messages = Messages(report, Plan(steps_per_epoch=4, last_step=8))
    messages.on_block(0, block([5.0, 4.0], []))
    messages.on_block(2, block([3.0, 2.0], [3.5]))
    messages.on_epoch(1, 4, {"train/loss": 3.5, "val/loss": 35.0})
    messages.on_block(4, block([1.0], []))
    assert calls == [
        (2, 8, 0, {"train/loss": 4.0}, False),
        (4, 8, 1, {"train/loss": 3.5, "val/loss": 35.0}, False),
        (4, 8, 1, {"train/loss": 3.5, "val/loss": 35.0}, True),
        (5, 8, 1, {"train/loss": 1.0, "val/loss": 35.0}, False),  # the newest value of each
    ]


def test_a_run_without_a_last_step_reports_none() -> None:
    calls: list[int | None] = []
    messages = Messages(lambda step, last_step, *_: calls.append(last_step), Plan(4, None))
    messages.on_block(0, block([5.0], []))
    assert calls == [None]
