from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tfrun.files import xla_cache

Tfrun = Callable[..., subprocess.CompletedProcess[str]]
FLAG = "--tf_xla_persistent_cache_directory="


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    if Path("/dev/nvidiactl").exists():
        pytest.skip("programs for a GPU are not kept")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("TF_XLA_FLAGS", raising=False)
    return monkeypatch


def kept(flags: str) -> Path:
    (folder,) = [flag.removeprefix(FLAG) for flag in flags.split() if flag.startswith(FLAG)]
    return Path(folder)


def test_a_folder_for_each_processor_and_set_of_flags(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    xla_cache.keep_compiled()
    folder = kept(os.environ["TF_XLA_FLAGS"])
    assert folder.parent == tmp_path / "tfrun" / "xla" and list(folder.iterdir()) == []
    environment.setenv("TF_XLA_FLAGS", "--tf_xla_clustering_debug")
    environment.setattr(xla_cache, "processor", lambda: "another")
    xla_cache.keep_compiled()
    assert os.environ["TF_XLA_FLAGS"].startswith("--tf_xla_clustering_debug ")
    assert kept(os.environ["TF_XLA_FLAGS"]) != folder


def test_a_person_s_own_cache_stays(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment.setenv("TF_XLA_FLAGS", f"{FLAG}/somewhere")
    xla_cache.keep_compiled()
    assert os.environ["TF_XLA_FLAGS"] == f"{FLAG}/somewhere"
    assert not (tmp_path / "tfrun").exists()


def test_no_cache_where_nothing_can_be_written(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "tfrun").touch()
    xla_cache.keep_compiled()
    assert "TF_XLA_FLAGS" not in os.environ


def test_no_cache_on_a_full_disk(environment: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    environment.setattr(os, "posix_fallocate", full)
    xla_cache.keep_compiled()
    assert "TF_XLA_FLAGS" not in os.environ


def test_the_oldest_programs_go(environment: pytest.MonkeyPatch) -> None:
    environment.setattr(xla_cache, "MAX_PROGRAMS", 3)
    xla_cache.keep_compiled()
    folder = kept(os.environ["TF_XLA_FLAGS"])
    for k in range(5):
        (folder / f"{k}.pb").touch()
        os.utime(folder / f"{k}.pb", (1000 + k, 1000 + k))
    environment.delenv("TF_XLA_FLAGS")
    xla_cache.keep_compiled()
    assert sorted(path.name for path in folder.iterdir()) == ["2.pb", "3.pb", "4.pb"]


def test_a_damaged_program_is_compiled_again(environment: pytest.MonkeyPatch, tfrun: Tfrun, tmp_path: Path) -> None:
    words = ["model=linear", "trainer.compile=xla", "trainer.max_epochs=1"]
    done = tfrun(*words, "name=first")
    assert done.returncode == 0, done.stderr
    programs = list(tmp_path.glob("tfrun/xla/*/*.pb"))
    assert programs
    for k, path in enumerate(programs):
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2] if k % 2 else os.urandom(len(content)))
    done = tfrun(*words, "name=second")
    assert done.returncode == 0, done.stderr
    first, second = (path.read_bytes() for path in sorted(tmp_path.glob("outputs/*/*/metrics.jsonl")))
    assert first == second
