from __future__ import annotations

import os
from pathlib import Path

import pytest

from tfrun.files.xla_cache import FLAG
from tfrun.files.xla_cache_usage import CacheUsage


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of programs, with three of an earlier process that were read an hour ago."""
    folder = tmp_path / "tfrun" / "xla" / "1"
    folder.mkdir(parents=True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TF_XLA_FLAGS", f"--other {FLAG}{folder}")
    for name in "abc":
        (folder / f"{name}.pb").write_text(name)
        os.utime(folder / f"{name}.pb", (1_000_100, 1_000_000))
    with CacheUsage.watch() as usage:
        if usage.counts() is None:
            pytest.skip("the file system keeps no times of access")
    return folder


def test_programs_that_are_read_and_written_are_counted(folder: Path) -> None:
    with CacheUsage.watch() as usage:
        assert usage.counts() == {"read": 0, "compiled": 0}
        (folder / "a.pb").read_text()
        (folder / "d.pb").write_text("d")
        (folder / "e.pb").write_text("e")
        (folder / "e.pb").read_text()
        (folder / "b.pb").unlink()
        assert usage.counts() == {"read": 1, "compiled": 2}
        assert (folder / "a.pb").stat().st_mtime == 1_000_000  # by which the oldest are deleted
    with CacheUsage.watch() as usage:
        assert usage.counts() == {"read": 0, "compiled": 0}


def test_nothing_is_known_while_another_process_uses_the_cache(folder: Path) -> None:
    with CacheUsage.watch() as first, CacheUsage.watch() as second:
        assert first.counts() is None and second.counts() is None


def test_nothing_is_known_after_another_process_has_used_the_cache(folder: Path) -> None:
    with CacheUsage.watch() as first:
        with CacheUsage.watch():
            pass
        assert first.counts() is None


def test_nothing_is_known_without_the_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_XLA_FLAGS", f"{FLAG}/somewhere")
    with CacheUsage.watch() as usage:
        assert usage.counts() is None
    monkeypatch.setenv("TF_XLA_FLAGS", f"{FLAG}{folder / 'gone'}")
    with CacheUsage.watch() as usage:
        assert usage.counts() is None


def test_nothing_is_known_if_times_of_access_are_not_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fstat

    def without_times(descriptor: int) -> os.stat_result:
        return os.stat_result((*real(descriptor)[:7], 0, *real(descriptor)[8:]))

    monkeypatch.setattr(os, "fstat", without_times)
    with CacheUsage.watch() as usage:
        assert usage.counts() is None
