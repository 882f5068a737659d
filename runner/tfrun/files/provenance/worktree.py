"""Puts the recorded code of a run into a temporary folder: its commit, its patch, and the files that git didn't have.

The person's own files are never touched. The commit is checked out as a further work tree of the repository, which is
removed at the end; if the process is killed, `git worktree prune` forgets it once the temporary folder is gone.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tfrun.errors import CheckpointError, ResourceError
from tfrun.files.provenance import git
from tfrun.files.provenance.aspects import clean, read_copy, read_patch
from tfrun.files.provenance.record import Git, Provenance, SourceFile

COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
MAX_COPY_BYTES = 2**20


@contextlib.contextmanager
def checked_out(record: Provenance, folder: Path) -> Iterator[Path]:
    """Yields the folder in which the run's command was given, in a work tree with the run's code.

    Args:
        record: the run's.
        folder: is in the repository, which may have been moved since.

    Raises:
        CheckpointError: the code can't be had: no commit is recorded, it is gone, or the patch doesn't apply.
        ResourceError: the disk refuses.
    """
    recorded = record.git
    if recorded is None:
        raise CheckpointError(f"code=worktree: {record.file} names no commit: the run was started outside of git")
    if not COMMIT.fullmatch(recorded.commit):
        raise CheckpointError(
            f"{record.file}: is damaged: git has no such commit. Received: {clean(recorded.commit)!r}"
        )
    try:
        root, _ = git.root_and_commit(str(folder))
        is_there = git.has_commit(root, recorded.commit)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise CheckpointError(f"code=worktree: there is no repository in {folder}: {git.reason_of(error)}") from error
    if not is_there:
        raise CheckpointError(f"code=worktree: commit {recorded.commit} is gone from the repository in {root}")
    patch = read_patch(record)
    if patch is None:
        why = recorded.patch and recorded.patch.why_no_file
        raise CheckpointError(
            "code=worktree: the changes since the commit aren't in the run's folder: "
            f"{clean(why or 'the patch is damaged')}"
        )
    try:
        temporary = Path(tempfile.mkdtemp(prefix="tfrun_reproduce_"))
    except OSError as error:
        raise ResourceError(f"code=worktree: no temporary folder can be made: {error.strerror}") from error
    tree = temporary / "tree"
    try:
        _check_out(root, tree, commit=recorded.commit)
        _apply(tree, patch)
        for file in record.files:
            if file.copy is not None:
                _place(file, recorded, tree=tree)
        yield _inside(tree, os.path.relpath(record.folder, recorded.root), make=True)
    finally:
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            git.write(root, "worktree", "remove", "--force", str(tree))
        shutil.rmtree(temporary, ignore_errors=True)


def package_folder(record: Provenance, tree: Path, folder: Path) -> Path | None:
    """Returns the folder for Python's path from which the work tree's own tfrun is imported; None if it has none.

    Args:
        record: the run's.
        tree: what `checked_out` yields.
        folder: of the command, as recorded.
    """
    package = str(record.tfrun.get("folder"))
    if record.git is None or not Path(package).is_relative_to(record.git.root):
        return None
    top = Path(os.path.normpath(tree / os.path.relpath(record.git.root, folder)))
    seen = top / os.path.relpath(package, record.git.root)
    return seen.parent if (seen / "__main__.py").is_file() else None


def _check_out(root: str, tree: Path, *, commit: str) -> None:
    try:
        git.write(root, "worktree", "add", "--detach", "--no-checkout", str(tree), commit)
        git.write(str(tree), "reset", "--hard", "--quiet")
    except (OSError, subprocess.SubprocessError) as error:
        raise CheckpointError(f"code=worktree: git can't check out {commit}: {git.reason_of(error)}") from error


def _apply(tree: Path, patch: bytes) -> None:
    if not patch:
        return
    try:
        git.write(str(tree), "apply", "--index", "--whitespace=nowarn", "-", stdin=patch)
    except (OSError, subprocess.SubprocessError) as error:
        raise CheckpointError(
            f"code=worktree: the run's changes.patch doesn't apply: {git.reason_of(error)}"
        ) from error


def _place(file: SourceFile, recorded: Git, *, tree: Path) -> None:
    """Writes a copy of the record where it was. Raises CheckpointError if that would lead out of the work tree."""
    assert file.copy is not None
    content = read_copy(file.copy, file.sha256, MAX_COPY_BYTES)
    if content is None:
        raise CheckpointError(f"{file.copy}: is damaged: it isn't the file that the run was made from")
    path = _inside(tree, os.path.relpath(file.path, recorded.root), make=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644), "wb") as opened:
            opened.write(content)
    except OSError as error:
        raise CheckpointError(f"code=worktree: {clean(file.path)} can't be written: {error.strerror}") from error


def _inside(tree: Path, name: str, *, make: bool) -> Path:
    """Returns a path of the work tree. Raises CheckpointError if it leads out of it, through a link for example."""
    parts = Path(name).parts
    path = tree / name
    leads_out = ".." in parts or Path(name).is_absolute() or any(part.lower() == ".git" for part in parts)
    if leads_out or any(parent.is_symlink() for parent in (path, *path.parents) if parent.is_relative_to(tree)):
        raise CheckpointError(f"code=worktree: {clean(name)} is outside of the run's repository")
    if make:
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(f"code=worktree: {clean(name)} is no folder: {error.strerror}") from error
    return path
