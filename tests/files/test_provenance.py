from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path

import tfrun
from tfrun.files import provenance


def test_versions_are_those_that_are_installed() -> None:
    versions = provenance.versions()
    assert versions["python"] == platform.python_version() and versions["tfrun"] == tfrun.__version__
    assert versions["numpy"] == metadata.version("numpy")


def test_git_says_the_commit_and_whether_tracked_files_have_changes(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        done = subprocess.run(["git", *who, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

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
