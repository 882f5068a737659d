from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tfrun.reports.comparison import compare
from tfrun.reports.importance import importances, is_logarithmic


def test_what_mattered_most(grid: Path) -> None:
    shares = importances(compare([str(grid)]))
    assert list(shares) == ["optimizer.rate", "model.kind"]
    assert shares["optimizer.rate"] > 0.95 and sum(shares.values()) == pytest.approx(1.0)


def test_few_runs_say_nothing_of_importance(sweep: Path) -> None:
    assert importances(compare([str(sweep)])) == {}


def test_the_loss_of_different_losses_has_no_importances(tmp_path: Path, write_run: Callable[..., None]) -> None:
    for number in range(10):
        loss = {"name": "huber", "delta": 0.5 + number % 2}
        write_run(tmp_path, number, 1.0 + number, loss=loss, model={"units": number})
    assert importances(compare([str(tmp_path)])) == {}
    assert importances(compare([str(tmp_path)], "val/hits")) != {}


def test_numbers_of_several_sizes_are_logarithmic() -> None:
    assert is_logarithmic([0.001, 1.0]) and is_logarithmic([1.0, 30.0])
    assert not is_logarithmic([1.0, 29.0]) and not is_logarithmic([0.0, 100.0]) and not is_logarithmic([-1.0, 100.0])
