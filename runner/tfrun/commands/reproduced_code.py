"""Reproduces a run with its own code: in a work tree of its commit, by another process whose plugins are those."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from tfrun.errors import CheckpointError, ResourceError, Stopped
from tfrun.files.provenance import record as records
from tfrun.files.provenance.recording import PACKAGE
from tfrun.files.provenance.worktree import checked_out, package_folder
from tfrun.files.runs import RunFolder
from tfrun.folders import shown, typed


def run(folder: RunFolder, words: Sequence[str], *, only_checks: bool) -> int:
    """Reproduces a run with the code of its record, and returns the exit code.

    Args:
        folder: the run's. The current folder is that of its first command.
        words: further words of the command line.
        only_checks: whether nothing is trained.

    Raises:
        CheckpointError: its code can't be had.
        ResourceError: no process can be started.
    """
    from tfrun.console import Terminal, say

    record = records.read(folder.path)
    if record is None:
        raise CheckpointError(
            f"code=worktree: {shown(folder.path)} has no provenance/: it was trained by an earlier version"
        )
    command = [sys.executable, "-m", "tfrun", "reproduce", str(folder.path), "code=.", *map(_absolute, words)]
    command += ["--check"] if only_checks else []
    with checked_out(record, Path.cwd()) as code:
        say(Terminal(), f"code of commit {record.git.commit[:12] if record.git else ''} in {code}")
        path = package_folder(record, code, Path(record.folder))
        return _run(command, code, {**os.environ, "PYTHONPATH": _python_path(path)})


def _python_path(first: Path | None) -> str:
    """Returns Python's path for a process in another folder; it imports the same tfrun, unless `first` has another."""
    ours = Path(PACKAGE).parent
    is_installed = str(ours) in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))
    given = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    paths = [*([first] if first else []), *([] if is_installed else [ours]), *map(typed, given)]
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
        raise ResourceError(f"code=worktree: no process can be started: {error.strerror}") from error
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
