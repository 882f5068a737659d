"""The lines of `tfrun compare A B` on what two runs were made from, with records in real folders."""

from __future__ import annotations

import copy
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tfrun.files.provenance.git import diffstat
from tfrun.files.runs import RunFolder
from tfrun.reports.comparison import Row
from tfrun.reports.made_from import sentences

RECORD: dict[str, Any] = {
    "format": 1,
    "at": "2026-11-30T00:00:00+00:00",
    "folder": "/project",
    "tfrun": {"version": "1", "folder": "/tfrun", "git": None},
    "git": None,
    "python": {"version": "3.11.7", "implementation": "CPython", "executable": "/a/python", "optimize": 0},
    "packages": [{"name": "numpy", "version": "2.4.6", "origin": None}],
    "machine": {"processor": "P", "cores": 2},
    "environment": {},
    "roots": ["/project"],
    "files": [],
    "has_configs": True,
    "left_out": [],
}


def row(folder: Path, record: dict[str, Any] | None, **run: Any) -> Row:
    folder.mkdir()
    if record is not None:
        (folder / "provenance").mkdir()
        (folder / "provenance/provenance.json").write_text(json.dumps(record))
    run = {"run_id": folder.name, "data": {"fingerprint": "f" * 64}, **run}
    return Row(RunFolder(folder), run, {})


@pytest.fixture
def commits(tmp_path: Path) -> tuple[Path, str, str]:
    """A repository with two commits, between which a file has lost one line and got two."""
    root = tmp_path / "repository"
    root.mkdir()

    def git(*words: str) -> str:
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *words]
        return subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout.strip()

    git("init", "-q")
    hashes = []
    for text in ("1\n2\n", "1\n3\n4\n"):
        (root / "loss.py").write_text(text)
        git("add", "loss.py")
        git("commit", "-qm", "change")
        hashes.append(git("rev-parse", "HEAD"))
    return root, hashes[0], hashes[1]


def test_what_differs_is_named(tmp_path: Path, commits: tuple[Path, str, str]) -> None:
    root, first, second = commits
    of_git = {"root": str(root), "branch": "main", "dirty": False, "remote": None, "submodules": {}, "patch": None}
    before, after = copy.deepcopy(RECORD), copy.deepcopy(RECORD)
    before["git"], after["git"] = {**of_git, "commit": first}, {**of_git, "commit": second}
    after["packages"][0]["version"] = "2.5.0"
    one, other = row(tmp_path / "a", before), row(tmp_path / "b", after, data={"fingerprint": "e" * 64})
    lines = sentences(one, other)
    assert lines[0].startswith(f"code differs: commit {first[:12]} → {second[:12]}")
    assert lines[0].endswith("1 file changed, 2 insertions(+), 1 deletion(-)")
    assert "packages differ: numpy 2.4.6 → 2.5.0" in lines
    assert f"data differ: fingerprint {'f' * 12} → {'e' * 12}" in lines  # in the order of the command line
    assert lines[-1].startswith("the same: ") and "machine" in lines[-1] and "python" in lines[-1]


def test_equal_runs(tmp_path: Path) -> None:
    lines = sentences(row(tmp_path / "a", RECORD), row(tmp_path / "b", RECORD))
    assert lines == ["the same: code, patch, sources, packages, python, machine, environment, data"]


def test_runs_of_earlier_versions(tmp_path: Path) -> None:
    """Only `run.json` says something of them."""
    of_run = {"git": {"commit": "a" * 40, "dirty": False}, "versions": {"numpy": "1", "keras": "3"}}
    one = row(tmp_path / "a", None, **of_run, data={})
    other = row(tmp_path / "b", RECORD, **of_run | {"versions": {"numpy": "2", "keras": "3"}})
    assert sentences(one, other) == [
        "packages differ: numpy 1 → 2",
        "the same: code",
        "unknown: machine, data (the run has no record of it)",
    ]


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    one = row(tmp_path / "a", {"format": 1})
    lines = sentences(one, row(tmp_path / "b", RECORD))
    assert any("provenance.json: is damaged" in line for line in lines)


def test_a_commit_that_is_an_option_is_not_given_to_git(tmp_path: Path, commits: tuple[Path, str, str]) -> None:
    root, first, _ = commits
    assert diffstat(str(root), first, f"--output={tmp_path / 'written'}") == ""
    assert not (tmp_path / "written").exists()
    assert diffstat(str(root), first, "f" * 40) == ""  # no such commit
