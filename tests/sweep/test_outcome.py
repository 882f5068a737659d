"""How jobs ended, and which one is best."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tfrun.files.runs import RunFolder
from tfrun.sweep.outcome import Outcome, objective, read_outcome, read_outcomes


def outcome(
    number: int, value: float | None, status: str = "completed", monitor: str = "val/mae", **swept: str
) -> Outcome:
    return Outcome(RunFolder(Path(str(number))), swept, status, monitor, value, "")


def test_an_outcome_is_read_from_run_json(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "3")
    folder.path.mkdir()
    folder.write_run(
        {
            "status": "failed",
            "overrides": ["model=mlp", "seed=1"],
            "best": {"monitor": "val/loss", "val/loss": 0.5},
            "error": {"type": "ValueError", "message": "a bug\nin two lines"},
            "branch": {"run_id": "sweep/1"},
        }
    )
    assert read_outcome(folder, {"seed"}) == Outcome(
        folder, {"seed": "1"}, "failed", "val/loss", 0.5, "ValueError: a bug", source="1"
    )
    assert read_outcome(folder, {"seed"}).label == "#3 seed=1"


def test_a_job_without_run_json_has_failed(tmp_path: Path) -> None:
    assert read_outcome(RunFolder(tmp_path), ()) == Outcome(RunFolder(tmp_path), {}, "failed", None, None, "")


def test_outcomes_are_sorted_by_number(tmp_path: Path) -> None:
    for name in ("10", "9", "best", ".hydra"):
        (tmp_path / name).mkdir()
    assert [item.folder.path.name for item in read_outcomes(tmp_path, ())] == ["9", "10"]


@pytest.mark.parametrize(
    ("status", "failed", "has_error"),
    [("completed", False, False), ("pruned", False, False), ("stopped", True, False), ("diverged", True, True)],
)
def test_what_counts_as_failed(status: str, failed: bool, has_error: bool) -> None:
    assert (outcome(0, 1.0, status).failed, outcome(0, 1.0, status).has_error) == (failed, has_error)


def test_the_objective_is_the_best_monitored_value() -> None:
    assert objective({"best": {"monitor": "val/mae", "val/mae": 2.5, "val/loss": 9.0}}) == 2.5
    assert objective({"best": {}}) is None and objective({}) is None


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_defined_is_none(tmp_path: Path, value: float | None) -> None:
    assert objective({"best": {"monitor": "val/auc", "val/auc": value}}) is None
    assert objective({"best": {"monitor": "val/auc", "val/auc": 0.0}}) == 0.0
    folder = RunFolder(tmp_path)
    folder.write_run({"status": "completed", "best": {"monitor": "val/auc", "val/auc": value}})
    assert read_outcome(folder, ()).value is None
