"""Reproduces a run with its own code or its own packages: by another process, in a work tree of the run's commit."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tfrun.errors import CheckpointError, ResourceError, Stopped
from tfrun.files.provenance import record as records
from tfrun.files.provenance.recording import PACKAGE
from tfrun.files.provenance.worktree import checked_out, package_folder
from tfrun.files.runs import RunFolder
from tfrun.folders import shown, typed

WORKTREE = "worktree"


def run(folder: RunFolder, words: Sequence[str], *, code: str, python: Path | None) -> int:
    """Reproduces a run in another process, and returns the exit code.

    Args:
        folder: the run's. The current folder is that of its first command.
        words: further words of the command line.
        code: `worktree` for the code of its record, else `here` or the folder with the plugins.
        python: the interpreter of an environment with its packages; None for this one.

    Raises:
        CheckpointError: its code can't be checked out.
        ResourceError: no process can be started.
    """
    command = [str(python or sys.executable), "-P", "-m", "tfrun", "reproduce", str(folder.path)]
    command += map(_absolute, words)
    with contextlib.ExitStack() as stack:
        place, package = typed("."), None
        if code == WORKTREE:
            place, package = stack.enter_context(_work_tree(folder))
            code = "."
        if package is None and python is not None and _is_installed():
            package = stack.enter_context(_only_tfrun())
        environment = {**os.environ, "PYTHONPATH": _python_path(package)}
        return _run([*command, f"code={code}"], place, environment)


@contextlib.contextmanager
def _work_tree(folder: RunFolder) -> Iterator[tuple[Path, Path | None]]:
    """Yields the folder of the run's command in a work tree, and that of the tree's own tfrun if it has one."""
    from tfrun.console import Terminal, say

    record = records.read(folder.path)
    if record is None:
        raise CheckpointError(
            f"code=worktree: {shown(folder.path)} has no provenance/: it was trained by an earlier version"
        )
    with checked_out(record, Path.cwd()) as code:
        say(Terminal(), f"code of commit {record.git.commit[:12] if record.git else ''} in {code}")
        yield code, package_folder(record, code, Path(record.folder))


@contextlib.contextmanager
def _only_tfrun() -> Iterator[Path]:
    """Yields a folder for Python's path that holds the installed tfrun, and no other package."""
    try:
        folder = Path(tempfile.mkdtemp(prefix="tfrun_reproduce_"))
        (folder / "tfrun").symlink_to(PACKAGE)
    except OSError as error:
        raise ResourceError(f"env=venv: no temporary folder can be made: {error.strerror}") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_installed() -> bool:
    """Returns whether tfrun is among the installed packages, and not imported from a checkout."""
    return str(Path(PACKAGE).parent) in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))


def _python_path(package: Path | None) -> str:
    """Returns Python's path for a process in another folder: with the tfrun in `package`, or else the one of here."""
    given = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    paths = [*([package] if package else []), *([] if _is_installed() else [Path(PACKAGE).parent]), *map(typed, given)]
    return os.pathsep.join(map(str, paths))


def _absolute(word: str) -> str:
    """Returns `data.path=FILE` with an absolute path: the other process works in another folder."""
    key, equals, value = word.partition("=")
    is_path = key.endswith("path") and value and value[0] not in "['\""
    return f"{key}{equals}{typed(value)}" if is_path else word


def _run(command: Sequence[str], folder: Path, environment: dict[str, str]) -> int:
    """Runs a process to its end and returns its exit code; signals are passed on to it, each once."""
    try:
        # in a group of its own, or Ctrl-C in a terminal would reach it twice, which ends it at once
        process = subprocess.Popen(command, cwd=folder, env=environment, process_group=0)
    except OSError as error:
        raise ResourceError(f"reproduce: no process can be started: {error.strerror}") from error
    try:
        while True:
            try:
                code = process.wait()
                return 128 - code if code < 0 else code
            except KeyboardInterrupt as error:
                with contextlib.suppress(OSError):
                    process.send_signal(error.number if isinstance(error, Stopped) else signal.SIGINT)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
