from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tfrun.sweep import pool
from tfrun.sweep.pool import Grid, Pool


def environments(count: int) -> list[str | None]:
    """Returns which GPU each of several workers gets, one after another."""
    own: Any = Pool(None, None, count, None, "min")  # type: ignore[arg-type]
    for _ in range(count):
        own._workers.append(SimpleNamespace(environment=own._environment()))
    return [worker.environment.get("CUDA_VISIBLE_DEVICES") for worker in own._workers]


def test_gpus_are_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_gpus", lambda: ["0", "1"])
    assert environments(2) == ["0", "1"]
    assert environments(5) == ["0", "1", "0", "1", "0"]
    monkeypatch.setattr(pool, "_gpus", list)
    assert environments(2) == [None, None]


def test_the_user_s_own_choice_of_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,GPU-8f3b")
    assert pool._gpus() == ["2", "GPU-8f3b"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert pool._gpus() == []


def test_a_grid_gives_jobs_of_a_compiled_structure_first() -> None:
    jobs: list[Any] = [SimpleNamespace(number=number, structure=kind) for number, kind in enumerate("abab")]
    grid = Grid(jobs)
    taken = [grid.next(structures) for structures in (set(), {"a"}, {"a"}, {"b"}, {"b"})]
    assert [job and job.number for job in taken] == [0, 2, 1, 3, None]


def test_a_grid_shares_out_jobs_that_are_alike() -> None:
    kinds = ["a", "b", *"aaaaaa"]
    jobs: list[Any] = [SimpleNamespace(number=number, structure=kind) for number, kind in enumerate(kinds)]
    for job in jobs:
        job.is_like = lambda other, kind=job.structure: other.structure == kind
    grid = Grid(jobs)

    def take(lanes: int, workers: int) -> list[int]:
        job = grid.next(())
        assert job is not None
        return [own.number for own in (job, *grid.like(job, lanes, workers))]

    assert take(1, 2) == [0]
    assert take(4, 2) == [1]
    assert take(4, 2) == [2, 3, 4]  # half of six
    assert take(2, 1) == [5, 6]
    assert take(4, 1) == [7]


def test_a_worker_that_was_killed_while_it_waited_gets_no_job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given: list[Any] = []
    nothing: Any = SimpleNamespace(note=lambda *_: None, started=lambda _: None)
    job: Any = SimpleNamespace(number=0, structure="a", folder=SimpleNamespace(path=tmp_path / "0"))

    def worker(is_dead: bool) -> Any:
        child = SimpleNamespace(has_ended=lambda: is_dead)
        return SimpleNamespace(
            structure="a", jobs={}, child=child, environment={}, dismiss=lambda: None, start=given.append
        )

    own = Pool(nothing, nothing, 1, None, "min")
    dead, alive = worker(True), worker(False)
    own._workers.append(dead)
    monkeypatch.setattr(pool, "Worker", lambda *_: alive)
    alive.start = lambda jobs: alive.jobs.update({own.number: own for own in jobs})
    assert own._hand_out(Grid([job]), [], nothing)
    assert own._workers == [alive] and alive.jobs == {0: job} and given == []
