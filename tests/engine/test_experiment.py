from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tfrun.engine.experiment import _has_more_to_do, summary_metrics
from tfrun.engine.writers import Results


def test_columns_of_the_hparams_table(tmp_path: Path) -> None:
    results = Results(tmp_path / "metrics.jsonl", 0, "val/loss")
    results.write_epoch(1, 10, {"train": {"loss": 0.5}, "val": {"loss": 0.25}}, is_best=True)
    results.write_epoch(2, 20, {"train": {"loss": 0.4}, "val": {"loss": 0.75}})
    results.write_epoch(2, 20, {"test": {"loss": 2.0}})
    assert summary_metrics(results) == {"val/loss_best": 0.25, "val/loss_last": 0.75, "test/loss": 2.0}


def test_columns_without_validation(tmp_path: Path) -> None:
    results = Results(tmp_path / "metrics.jsonl", 0, "train/loss")
    results.write_epoch(1, 10, {"train": {"loss": 0.5}}, is_best=True)
    assert summary_metrics(results) == {"train/loss_best": 0.5, "train/loss_last": 0.5}


@pytest.mark.parametrize(
    ("trainer", "stopping", "ended_by", "more"),
    [
        ({"max_epochs": 3}, None, "last step", False),
        ({"max_epochs": 4}, None, "last step", True),
        ({"max_epochs": 4, "max_steps": 30}, None, "last step", False),
        ({"max_steps": 31}, None, "last step", True),
        ({}, None, "max_seconds", True),
        ({"max_epochs": 9}, {"patience": 2}, "early stopping", True),  # only the state knows whether it is over
    ],
)
def test_what_a_completed_run_has_left_to_do(
    trainer: dict[str, int], stopping: dict[str, Any] | None, ended_by: str, more: bool
) -> None:
    config = {"trainer": {"max_epochs": None, "max_steps": None} | trainer, "early_stopping": stopping}
    before = {"epoch": 3, "step": 30, "engine": {"ended_by": ended_by}}
    assert _has_more_to_do(config, before) is more
