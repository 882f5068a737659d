from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tfrun.reports.comparison import compare
from tfrun.reports.importance import explain_missing, importances, is_logarithmic, is_numeric


def test_what_mattered_most(grid: Path) -> None:
    shares = importances(compare([str(grid)]))
    assert list(shares) == ["optimizer.rate", "model.kind"]
    assert shares["optimizer.rate"] > 0.95 and sum(shares.values()) == pytest.approx(1.0)


def test_the_best_are_those_with_the_greatest_value(tmp_path: Path, write_run: Callable[..., None]) -> None:
    """`kind` decides which runs are best, `rate` which of the others are worst: only with mode=max is that reversed."""
    for number in range(40):
        kind, rate = "ab"[number % 2], number // 2 % 4
        best = 1.0 if kind == "a" else 2.0 + (10 * (rate == 3))
        write_run(tmp_path, number, best, model={"kind": kind, "rate": rate})
    assert next(iter(importances(compare([str(tmp_path)])))) == "model.kind"
    assert next(iter(importances(compare([str(tmp_path)], mode="max")))) == "model.rate"


def test_few_runs_say_nothing_of_importance(sweep: Path) -> None:
    assert importances(compare([str(sweep)])) == {}
    assert explain_missing(compare([str(sweep)])) == "it needs at least 8 completed runs"


def test_equal_values_say_nothing_of_importance(tmp_path: Path, write_run: Callable[..., None]) -> None:
    for number in range(8):
        write_run(tmp_path, number, 0.5, model={"units": number, "kind": "ab"[number % 2]})
    assert explain_missing(compare([str(tmp_path)])) == "val/loss is the same in all runs"
    assert importances(compare([str(tmp_path)])) == {}


def test_without_optuna(grid: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert importances(compare([str(grid)])) == {}
    assert explain_missing(compare([str(grid)])) == "it needs Optuna: pip install 'tfrun[search]'"


def test_the_loss_of_different_losses_has_no_importances(tmp_path: Path, write_run: Callable[..., None]) -> None:
    for number in range(10):
        loss = {"name": "huber", "delta": 0.5 + number % 2}
        write_run(tmp_path, number, 1.0 + number, loss=loss, model={"units": number})
    assert importances(compare([str(tmp_path)])) == {}
    assert importances(compare([str(tmp_path)], "val/hits")) != {}


def test_numbers_of_several_sizes_are_logarithmic() -> None:
    assert is_logarithmic([0.001, 1.0]) and is_logarithmic([1.0, 30.0])
    assert not is_logarithmic([1.0, 29.0]) and not is_logarithmic([0.0, 100.0]) and not is_logarithmic([-1.0, 100.0])


@pytest.mark.parametrize(
    ("values", "expected"),
    [([1, 0.5], True), ([1, True], False), ([1, "2"], False), ([1, None], False), ([1.0, float("nan")], False),
     ([1.0, float("inf")], False), ([1, 10**400], False)],
)  # fmt: skip
def test_numbers_are_finite(values: list[object], expected: bool) -> None:
    assert is_numeric(values) is expected
