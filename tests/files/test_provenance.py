from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

import tfrun
from tfrun.files import provenance


def test_versions_are_those_that_are_installed() -> None:
    versions = provenance.versions()
    assert versions["python"] == platform.python_version() and versions["tfrun"] == tfrun.__version__
    assert versions["numpy"] == metadata.version("numpy")


@pytest.fixture
def git(tmp_path: Path) -> Callable[..., str]:
    """Runs git in the temporary folder."""

    def call(*arguments: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        done = subprocess.run(["git", *who, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    return call


def test_git_says_the_commit_and_whether_tracked_files_have_changes(tmp_path: Path, git: Callable[..., str]) -> None:
    provenance.git.cache_clear()
    assert provenance.git(str(tmp_path)) is None
    git("init", "-q")
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "-qm", "one")
    provenance.git.cache_clear()
    (tmp_path / "untracked").write_text("")
    assert provenance.git(str(tmp_path)) == {"commit": git("rev-parse", "HEAD"), "dirty": False}
    provenance.git.cache_clear()
    (tmp_path / "a").write_text("2")
    assert provenance.git(str(tmp_path)) == {"commit": git("rev-parse", "HEAD"), "dirty": True}
    provenance.git.cache_clear()


def test_no_program_that_a_repository_names_is_run(tmp_path: Path, git: Callable[..., str]) -> None:
    git("init", "-q", ".")
    (tmp_path / ".gitattributes").write_text("a filter=one\nb filter=two=2\n")
    for name in "abc":
        (tmp_path / name).write_text("1")
    git("add", ".")
    git("commit", "-qm", "one")
    for name in "ab":  # of the same content, but git has to look
        os.utime(tmp_path / name, (1, 1))
    marker = tmp_path / "marker"
    program = f"touch {marker}; false"
    for key in ("core.fsmonitor", "filter.one.clean", "filter.two=2.process", "core.sshCommand", "core.pager"):
        git("config", key, program)
    for key in ("filter.one.required", "filter.two=2.required"):
        git("config", key, "true")
    hook = tmp_path / ".git" / "hooks" / "post-index-change"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\n{program}\n")
    hook.chmod(0o755)
    provenance.git.cache_clear()
    assert provenance.git(str(tmp_path)) == {"commit": git("rev-parse", "HEAD"), "dirty": False}
    assert not marker.exists()
    provenance.git.cache_clear()
    (tmp_path / "a").write_text("2")
    assert (provenance.git(str(tmp_path)) or {})["dirty"] is True
    assert not marker.exists()
    subprocess.run(["git", "-C", tmp_path, "status"], check=False, capture_output=True)
    assert marker.exists()  # so the repository does name programs that git runs
    provenance.git.cache_clear()
