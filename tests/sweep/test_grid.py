"""Grids: the order of their jobs, which of them are trained together, and adding jobs to a sweep."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tfrun.sweep import estimate
from tfrun.sweep.grid import Grid, differing_keys
from tfrun.sweep.ledger import Ledger, Trial


@dataclasses.dataclass(frozen=True)
class FakeJob:
    number: int
    structure: str
    overrides: list[str] = dataclasses.field(default_factory=list)
    resume: bool = False

    def is_like(self, other: FakeJob) -> bool:
        return self.structure == other.structure

    def within(self, folder: Path) -> FakeJob:
        return self

    def resumed(self) -> FakeJob:
        return dataclasses.replace(self, resume=True)


class FakeComposer:
    def __init__(self, swept: set[str]):
        self.swept = frozenset(swept)

    def with_swept(self, swept: set[str]) -> FakeComposer:
        return FakeComposer(swept)

    def __call__(self, overrides: list[str], number: int) -> FakeJob:
        return FakeJob(number, "a", overrides)


def make(jobs: list[FakeJob], **options: Any) -> Grid:
    composer: Any = FakeComposer({"seed"})
    return Grid(jobs, composer=composer, mode="min", **options)  # type: ignore[arg-type]


def begin(folder: Path, structures: str) -> Grid:
    grid = make([FakeJob(number, structure) for number, structure in enumerate(structures)])
    grid.begin(folder, Ledger(folder))
    return grid


def test_jobs_of_a_compiled_structure_come_first(tmp_path: Path) -> None:
    grid = begin(tmp_path, "abab")
    jobs = [grid.next(structures) for structures in (set(), {"a"}, {"a"}, {"b"}, {"b"})]
    assert [job and job.number for job in jobs] == [0, 2, 1, 3, None]


def test_jobs_that_are_alike_are_divided_among_the_workers(tmp_path: Path) -> None:
    grid = begin(tmp_path, "abaaaaaa")

    def next_numbers(lanes: int, workers: int) -> list[int]:
        job = grid.next(())
        assert job is not None
        return [member.number for member in (job, *grid.more_like(job, lanes=lanes, workers=workers))]

    assert next_numbers(1, 2) == [0]
    assert next_numbers(4, 2) == [1]
    assert next_numbers(4, 2) == [2, 3, 4]  # half of six
    assert next_numbers(2, 1) == [5, 6]
    assert next_numbers(4, 1) == [7]


def test_new_jobs_are_added_to_the_ledger_and_old_ones_are_resumed(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.write_header({"swept": ["seed"]})
    grid = make([FakeJob(7, "a", ["seed=7"])])
    grid.begin(tmp_path, ledger, left=[Trial(2, "running", ["seed=2"])])
    jobs: Any = [grid.next(()), grid.next(()), grid.next(())]
    assert [(job.number, job.resume) for job in jobs[:2]] == [(2, True), (7, False)] and jobs[2] is None
    assert ledger.read()[1] == [Trial(7, "waiting", ["seed=7"])]
    assert grid.total == 2


def test_a_sweep_is_extended_by_the_jobs_that_it_doesn_t_have(tmp_path: Path) -> None:
    jobs = [FakeJob(k, "a", [f"seed={seed}", "loss=mse"]) for k, seed in enumerate((1, 2, 3))]
    trials = [Trial(0, "completed", ["loss=mse", "seed=2"]), Trial(1, "failed", ["loss=huber", "seed=2"])]
    grid = make(jobs).extending(["name"], trials)
    assert grid.composer.swept == {"seed", "name", "loss"}
    ledger = Ledger(tmp_path)
    ledger.write_header({"swept": []})
    grid.begin(tmp_path, ledger)
    assert [(trial.number, trial.overrides[0]) for trial in ledger.read()[1]] == [(2, "seed=1"), (3, "seed=3")]
    assert grid.news() == ["1 of the jobs are in the sweep already"] and grid.news() == []


def test_the_new_jobs_are_announced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "estimate", lambda jobs: None)
    ledger = Ledger(tmp_path)
    ledger.write_header({"swept": []})
    grid = make([FakeJob(0, "a", ["seed=1"]), FakeJob(1, "b", ["seed=1"])])
    grid.announce(2, folder=tmp_path)
    grid.begin(tmp_path, ledger)
    assert grid.news()[:2] == ["2 jobs of 2 structures, 2 at a time", "1 of them repeats another"]


def test_the_duration_of_the_first_jobs_of_a_structure_is_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remembered: list[int] = []
    monkeypatch.setattr(estimate, "remember", lambda job, seconds: remembered.append(job.number))
    grid = begin(tmp_path, "aaaaab")
    completed: Any = SimpleNamespace(status="completed")
    failed: Any = SimpleNamespace(status="failed")
    for outcome in (failed, completed, completed, completed, completed, completed):
        job = grid.next(())
        assert job is not None
        grid.ended(job, outcome)
    assert remembered == [1, 2, 5]


def test_the_keys_that_differ() -> None:
    assert differing_keys([["seed=1", "loss=mse"], ["seed=2", "+loss=mse"], ["loss=mse"]]) == {"seed"}
    assert differing_keys([["seed=1"]]) == set()
