from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tfrun.engine.experiment import _has_more_to_do, read_results, stop_on_signals, summary_metrics
from tfrun.runs import RunFolder

JOURNAL = """\
{"epoch": 1, "step": 10, "train/loss": 0.5, "val/loss": 1e-05}
{"epoch": 2, "step": 20, "train/loss": 0.25, "val/loss": Infinity}
{"epoch": 2, "step": 20, "test/loss": 2.0}
"""


def test_results_are_read_from_the_journal(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text(JOURNAL)
    results = read_results(RunFolder(tmp_path), 10, "val/loss")
    assert results == {
        "metrics": {"train/loss": 0.25, "val/loss": float("inf"), "test/loss": 2.0},
        "best": {"epoch": 1, "step": 10, "monitor": "val/loss", "train/loss": 0.5, "val/loss": 1e-05},
    }
    assert read_results(RunFolder(tmp_path), 0, "val/loss")["best"] == {}  # nothing was better than nothing
    assert summary_metrics(results) == {
        "best/val/loss": 1e-05,
        "last/val/loss": float("inf"),
        "test/loss": 2.0,
    }


def test_the_best_may_be_the_last(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text(JOURNAL)
    best = read_results(RunFolder(tmp_path), 20, "train/loss")["best"]
    assert best == {"epoch": 2, "step": 20, "monitor": "train/loss", "train/loss": 0.25, "val/loss": float("inf")}


@pytest.mark.parametrize(
    ("trainer", "stopping", "ended_by", "more"),
    [
        ({"max_epochs": 3}, None, "last step", False),
        ({"max_epochs": 4}, None, "last step", True),
        ({"max_epochs": 4, "max_steps": 30}, None, "last step", False),
        ({"max_steps": 31}, None, "last step", True),
        ({}, None, "max_seconds", True),
        ({"max_epochs": 9}, {"patience": 2}, "early stopping", False),
        ({"max_epochs": 9}, None, "early stopping", True),  # turned off since
    ],
)
def test_what_a_completed_run_has_left_to_do(
    trainer: dict[str, int], stopping: dict[str, Any] | None, ended_by: str, more: bool
) -> None:
    config = {"trainer": {"max_epochs": None, "max_steps": None} | trainer, "early_stopping": stopping}
    before = {"epoch": 3, "step": 30, "engine": {"ended_by": ended_by}}
    assert _has_more_to_do(config, before) is more


def test_the_first_signal_is_taken_note_of() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stop_on_signals() as received:
        assert received == []
        os.kill(os.getpid(), signal.SIGTERM)
        assert received == [signal.SIGTERM]
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL  # the second ends the process
        assert signal.getsignal(signal.SIGINT) is not signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) is before
