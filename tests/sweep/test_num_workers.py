"""The number of jobs that run at the same time by default."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tfrun.sweep import num_workers
from tfrun.sweep.num_workers import auto_workers, threads_per_job, visible_gpus

Settings = Callable[..., Any]


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with 8 cores, no GPU and 64 GB of free memory."""
    monkeypatch.setattr(num_workers, "num_cores", lambda: 8)
    monkeypatch.setattr(num_workers, "free_bytes", lambda: 64e9)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


@pytest.mark.parametrize(
    ("words", "at_once", "expected"),
    [
        ([], None, 8),
        ([], 3, 3),
        (["trainer.threads=1"], 99, 8),
        (["trainer.threads=3"], 99, 2),
        (["trainer.threads=99"], 99, 1),
        (["trainer.threads=null"], 99, 1),  # every job wants all cores
        (["strategy=mirrored", "strategy.logical_cpus=2"], 99, 1),
    ],
)
def test_jobs_share_the_cores(settings: Settings, words: list[str], at_once: int | None, expected: int) -> None:
    assert auto_workers(settings(*words), at_once) == expected


def test_each_job_has_a_gpu(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    assert auto_workers(settings(), 99) == 3
    assert auto_workers(settings("strategy=cpu"), 99) == 8


@pytest.mark.parametrize(
    ("free", "size", "expected"),
    [
        (3.5e9, 0, 3),
        (0.1e9, 0, 1),  # one job always runs
        (3.5e9, 250_000_000, 1),  # a job needs 2 GB
        (4.1e9, 250_000_000, 2),
        (float("inf"), 250_000_000, 8),
    ],
)
def test_jobs_share_the_memory(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: float, size: int, expected: int
) -> None:
    monkeypatch.setattr(num_workers, "free_bytes", lambda: free)
    for name in ("first.csv", "second.csv"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(size // 2)
    given = settings("data=csv", f"data.path={tmp_path}/*.csv", "data.target=price")
    assert auto_workers(given, 99) == expected


def test_a_folder_counts_with_its_files(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(num_workers, "free_bytes", lambda: 9e9)
    (tmp_path / "images/cat").mkdir(parents=True)
    with (tmp_path / "images/cat/1.png").open("wb") as file:
        file.truncate(500_000_000)
    assert auto_workers(settings("data=images", f"data.path={tmp_path}/images"), 99) == 3


@pytest.mark.parametrize(("count", "expected"), [(1, None), (3, 2), (9, 1)])
def test_jobs_that_run_at_once_have_their_share_of_the_cores(count: int, expected: int | None) -> None:
    assert threads_per_job(count) == expected


def test_a_user_can_exclude_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,GPU-8f3b")
    assert visible_gpus() == ["2", "GPU-8f3b"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == []
