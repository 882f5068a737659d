"""Estimates of a sweep's time and disk space from earlier jobs."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tfrun.sweep.estimate import Estimate, describe, duration, estimate, remember


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def job(folder: Path, structure: str = "a", max_epochs: int = 2, seed: int = 1) -> Any:
    folder.mkdir(exist_ok=True)
    (folder / "file").write_bytes(b"x" * 1_500_000)
    return SimpleNamespace(
        folder=SimpleNamespace(path=folder),
        structure=structure,
        limits={"max_epochs": max_epochs},
        overrides=[f"seed={seed}"],
    )


def test_jobs_of_a_known_kind_add_up(tmp_path: Path) -> None:
    known = job(tmp_path / "0")
    remember(known, 30.0)
    assert estimate([known, known]) == Estimate(60.0, 3_000_000.0)
    assert estimate([known, job(tmp_path / "1", structure="b")]) is None
    assert estimate([known, job(tmp_path / "1", max_epochs=3)]) is None


def test_a_damaged_file_is_ignored(tmp_path: Path) -> None:
    remember(job(tmp_path / "0"), 30.0)
    (file,) = (tmp_path / "cache" / "tfrun" / "jobs").iterdir()
    file.write_text("{}")
    assert estimate([job(tmp_path / "0")]) is None


def test_a_sweep_is_described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [job(tmp_path / "0"), job(tmp_path / "0"), job(tmp_path / "1", structure="b", seed=2)]
    assert describe(jobs, 2, folder=tmp_path) == [
        "3 jobs of 2 structures, 2 at a time",
        "1 of them repeats another",
        "no estimate of the time yet: no job like these has ended",
    ]
    remember(jobs[0], 30.0)
    remember(jobs[2], 60.0)
    assert describe(jobs, 2, folder=tmp_path)[2] == "about 60 s and 4.5 MB"
    assert describe(jobs[2:], 8, folder=tmp_path) == ["1 job of 1 structure, 8 at a time", "about 60 s and 1.5 MB"]
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=2_000_000))
    assert describe(jobs, 2, folder=tmp_path)[3] == "warning: only 2 MB are free"
    assert describe([], 2, folder=tmp_path) == ["0 jobs of 0 structures, 2 at a time"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (99.4, "99 s"), (100, "2 min"), (5999, "100 min"), (6000, "1.7 h")]
)
def test_a_duration_has_a_fitting_unit(seconds: float, text: str) -> None:
    assert duration(seconds) == text
