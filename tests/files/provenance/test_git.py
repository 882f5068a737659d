from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tfrun.files.provenance import git as provenance
from tfrun.files.provenance.git import TooLargeError, WorkTree, reason_of

Git = Callable[..., str]


def test_git_says_the_commit_and_whether_tracked_files_have_changes(tmp_path: Path, git: Git) -> None:
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


def test_no_program_that_a_repository_names_is_run(tmp_path: Path, git: Git) -> None:
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


@pytest.fixture
def repository(tmp_path: Path, git: Git) -> Path:
    """A repository with one commit of a file `a`."""
    git("init", "-q", "-b", "main", ".")
    (tmp_path / "a").write_text("one\n")
    git("add", "a")
    git("commit", "-qm", "one")
    return tmp_path


def apply(repository: Path, patch: bytes, folder: Path) -> Path:
    """Returns a new work tree of the commit, to which a patch was applied."""
    subprocess.run(["git", "clone", "-q", repository, folder], check=True, capture_output=True)
    subprocess.run(["git", "apply"], cwd=folder, input=patch, check=True)
    return folder


def test_the_patch_makes_the_work_tree_of_the_commit(repository: Path, git: Git, tmp_path: Path) -> None:
    name = os.fsdecode(b"not \xff utf-8")
    for path, content in {"b": b"\x00\x01", "c": b"gone", "d/e": b"moved\n" * 9, name: b"\xff\n"}.items():
        (repository / path).parent.mkdir(exist_ok=True)
        (repository / path).write_bytes(content)
    git("add", ".")
    git("commit", "-qm", "two")
    (repository / "a").write_bytes(b"two \xfe\n")
    (repository / "b").write_bytes(bytes(range(256)))
    (repository / "c").unlink()
    git("mv", "d/e", "d/f")
    (repository / name).write_bytes(b"\xfe\n")
    (repository / "new").write_text("staged")
    git("add", "new")
    (repository / "untracked").write_text("")
    for key, value in {
        "color.ui": "always",
        "diff.noprefix": "true",
        "diff.mnemonicPrefix": "true",
        "diff.orderFile": "nowhere",
        "diff.context": "0",
        "diff.relative": "true",
    }.items():
        git("config", key, value)
    (repository / "d").mkdir(exist_ok=True)
    tree = WorkTree.read(str(repository / "d"))
    patch, why = tree.patch()
    assert why == "" and tree.is_dirty and tree.branch == "main" and tree.root == str(repository)
    assert set(tree.changed or ()) == {"a", "b", "c", "d/e", "d/f", name, "new"}
    there = apply(repository, patch, tmp_path.parent / "there")
    for path in ("a", "b", "d/f", name, "new"):
        assert (there / path).read_bytes() == (repository / path).read_bytes()
    assert not (there / "c").exists() and not (there / "d" / "e").exists() and not (there / "untracked").exists()


def test_a_clean_work_tree_is_not_dirty(repository: Path) -> None:
    os.utime(repository / "a", (1, 1))
    tree = WorkTree.read(str(repository))
    assert not tree.is_dirty and tree.tracked == {"a"} and tree.remote is None and tree.submodules == {}


def test_no_program_runs_for_a_patch(repository: Path, git: Git) -> None:
    """Attributes and config name a program in each way that git knows for files that are compared."""
    marker = repository / "marker"
    program = f"touch {marker}; cat"
    lines = {"a": "diff=one", "b": "diff=two", "c": "filter=three", "d": "filter=four"}
    (repository / ".gitattributes").write_text("".join(f"{name} {value}\n" for name, value in lines.items()))
    for name in lines:
        (repository / name).write_text("1\n")
    git("add", ".")
    git("commit", "-qm", "two")
    for name in lines:
        (repository / name).write_text("2\n")
    keys = {
        "diff.external": program,
        "diff.one.textconv": program,
        "diff.one.cachetextconv": "true",
        "diff.two.command": program,
        "filter.three.clean": program,
        "filter.three.smudge": program,
        "filter.three.required": "true",
        "filter.four.process": program,
        "core.fsmonitor": program,
        "core.pager": program,
        "pager.diff": program,
        "core.sshCommand": program,
        "core.gitProxy": program,
        "core.askPass": program,
        "interactive.diffFilter": program,
        "remote.origin.url": f"ext::sh -c '{program}'",
        "remote.origin.promisor": "true",
        "remote.origin.partialclonefilter": "blob:none",
        "gpg.program": program,
        "alias.diff": f"!{program}",
    }
    for key, value in keys.items():
        git("config", key, value)
    for name in ("post-index-change", "pre-auto-gc", "reference-transaction", "fsmonitor-watchman"):
        hook = repository / ".git" / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\n{program}\n")
        hook.chmod(0o755)
    tree = WorkTree.read(str(repository))
    patch, why = tree.patch()
    assert why == "" and patch.count(b"+2\n") == 4
    assert tree.ignored(["x"]) == set()
    assert not marker.exists()
    subprocess.run(["git", "-C", repository, "--no-pager", "diff"], check=False, capture_output=True)
    assert marker.exists()  # so the repository does name programs that git runs


def test_a_submodule_is_not_entered_by_the_repository_above_it(repository: Path, git: Git, tmp_path: Path) -> None:
    inner = tmp_path / "sub"
    inner.mkdir()
    (inner / "x").write_text("1\n")
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    for words in (["init", "-q"], ["add", "x"], ["commit", "-qm", "one"]):
        subprocess.run(["git", "-C", inner, *who, *words], check=True)
    git("add", "sub")
    git("commit", "-qm", "two")
    marker = tmp_path / "marker"
    for key in ("core.fsmonitor", "diff.external", "filter.f.clean"):
        subprocess.run(["git", "-C", inner, "config", key, f"touch {marker}"], check=True)
    (inner / ".gitattributes").write_text("* filter=f\n")
    (inner / "x").write_text("2\n")
    git("config", "diff.submodule", "diff")
    provenance.git.cache_clear()
    tree = WorkTree.read(str(repository))
    head = subprocess.run(["git", "-C", inner, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout
    assert tree.submodules == {"sub": {"commit": head.strip(), "dirty": True}}
    assert not tree.is_dirty and tree.patch() == (b"", "")
    assert not marker.exists()
    (inner / ".git").rename(tmp_path / "elsewhere")
    assert WorkTree.read(str(repository)).submodules == {"sub": None}


def test_a_huge_patch_is_cut_off_while_it_is_read(repository: Path, monkeypatch: pytest.MonkeyPatch, git: Git) -> None:
    (repository / "a").write_text("".join(f"{k}\n" for k in range(10_000)))
    tree = WorkTree.read(str(repository))
    monkeypatch.setattr(provenance, "MAX_PATCH_BYTES", 1000)
    assert tree.patch() == (b"", "it has more than 1,000 bytes")
    monkeypatch.setattr(provenance, "MAX_COMPARED_BYTES", 10_000)
    assert tree.patch() == (b"", "the changed files have 48,894 bytes, more than 10,000")  # 48,890 now, 4 before
    monkeypatch.setattr(provenance, "MAX_CHANGED", 0)
    patch, why = WorkTree.read(str(repository)).patch()
    assert patch == b"" and why == "more than 0 files differ from the commit"
    monkeypatch.setattr(provenance, "MAX_LISTING_BYTES", 10)
    with pytest.raises(TooLargeError):
        WorkTree.read(str(repository))


def test_a_file_that_is_gone_counts_with_the_size_it_had(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (repository / "a").unlink()
    monkeypatch.setattr(provenance, "MAX_COMPARED_BYTES", 3)
    assert WorkTree.read(str(repository)).patch()[1] == "the changed files have 4 bytes, more than 3"


def test_a_command_that_takes_too_long_is_killed(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(repository / "fifo")
    subprocess.run(["git", "-C", repository, "config", "core.attributesFile", repository / "fifo"], check=True)
    (repository / "a").write_text("two\n")
    monkeypatch.setattr(provenance, "SECONDS", 0.5)
    with pytest.raises(subprocess.TimeoutExpired) as raised:
        WorkTree.read(str(repository))
    assert reason_of(raised.value) == "git took longer than 0.5 s"


@pytest.mark.parametrize("is_deleted", [False, True])
def test_the_patch_has_conflicts_as_they_are(repository: Path, git: Git, is_deleted: bool) -> None:
    git("checkout", "-qb", "other")
    (repository / "a").write_text("two\n")
    git("commit", "-qam", "two")
    git("checkout", "-q", "main")
    (repository / "a").unlink() if is_deleted else (repository / "a").write_text("three\n")
    (repository / "b").write_text("b\n")
    git("add", ".")
    git("commit", "-qam", "three")
    with pytest.raises(subprocess.CalledProcessError):
        git("merge", "other")
    patch, why = WorkTree.read(str(repository)).patch()
    assert why == ""
    there = apply(repository, patch, repository.parent / f"there-{is_deleted}")
    assert (there / "a").read_text() == (repository / "a").read_text()


def test_a_config_may_not_name_another_folder(repository: Path, git: Git) -> None:
    (repository / "elsewhere").mkdir()
    git("config", "core.worktree", "../elsewhere")
    with pytest.raises((ValueError, subprocess.CalledProcessError)):
        WorkTree.read(str(repository / "elsewhere"))
    with pytest.raises((ValueError, subprocess.CalledProcessError)):
        WorkTree.read(str(repository))


def test_a_config_may_not_name_the_folder_of_another_repository(repository: Path, git: Git, tmp_path: Path) -> None:
    """It could have files of its index compared with any that are there, so that they would be in the patch."""
    home = tmp_path / "home"
    subprocess.run(["git", "clone", "-q", repository, home], check=True, capture_output=True)
    (home / "a").write_text("a secret\n")
    git("config", "core.worktree", str(home))
    for folder in (repository / ".git", repository):
        with pytest.raises((ValueError, subprocess.CalledProcessError)):
            WorkTree.read(str(folder))
    assert WorkTree.read(str(home)).is_dirty


def test_a_work_tree_of_its_own_is_read(repository: Path, git: Git, tmp_path: Path) -> None:
    git("worktree", "add", "-q", "-b", "second", str(tmp_path / "second"))
    tree = WorkTree.read(str(tmp_path / "second"))
    assert tree.branch == "second" and tree.root == str(tmp_path / "second") and not tree.is_dirty


def test_where_there_is_no_work_tree_git_says_why(tmp_path: Path, git: Git) -> None:
    with pytest.raises(subprocess.CalledProcessError) as raised:
        WorkTree.read(str(tmp_path))
    assert "not a git repository" in reason_of(raised.value)
    git("init", "-q", "--bare", ".")
    with pytest.raises(subprocess.CalledProcessError):  # a bare repository may lie in a work tree of someone else
        WorkTree.read(str(tmp_path))
    assert reason_of(FileNotFoundError()) == "there is no git"


def test_a_repository_without_a_commit_has_none(tmp_path: Path, git: Git) -> None:
    git("init", "-q", ".")
    with pytest.raises(subprocess.CalledProcessError):
        WorkTree.read(str(tmp_path))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_the_repository_of_another_user_is_refused_by_git(repository: Path) -> None:
    for path in (repository, repository / ".git"):
        os.chown(path, 12345, 12345)
    with pytest.raises(subprocess.CalledProcessError) as raised:
        WorkTree.read(str(repository))
    assert "dubious ownership" in reason_of(raised.value)


def test_settings_of_the_environment_stay(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CI sets `safe.directory` so."""
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "remote.origin.url")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "https://me:secret@host.example/x.git?token=abc#d")
    assert WorkTree.read(str(repository)).remote == "https://***:***@host.example/x.git"


def test_rules_say_what_is_ignored(repository: Path) -> None:
    name = os.fsdecode(b"\xff.log")
    (repository / ".gitignore").write_text("*.log\n")
    assert WorkTree.read(str(repository)).ignored([name, "b", "x/c.log"]) == {name, "x/c.log"}
