"""Trains in a process of its own, and returns or raises what becomes of it.

A run takes the whole process: it chooses devices and threads before TensorFlow starts, sets seeds and precision, and
handles signals. A notebook's kernel has used TensorFlow before, or will use it afterwards.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tfrun.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    DivergedError,
    FolderInUseError,
    Interrupted,
    ResourceError,
)
from tfrun.python_api.display import Display

ERRORS = (ConfigError, DataError, DivergedError, ResourceError, CheckpointError, FolderInUseError)
RUN_LINE = re.compile(r"run {9}(.+)")  # of the summary: the run's folder
END = "tfrun: "  # begins the line that says why the command has ended
BUG = "tfrun: error in a plugin"
FOR_TERMINALS = ("FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE")  # a kernel sets them; the lines that are read have none


def train(words: Sequence[str], display: Display) -> Path:
    """Runs `tfrun WORDS…`, which trains a run, and returns the run's folder.

    An interrupt (Ctrl-C, or a notebook's stop button) stops the run with its state saved; a second one stops at once.

    Args:
        words: the command line.
        display: shows what it prints.

    Raises:
        TfrunError: as the command reports it.
        KeyboardInterrupt: it was interrupted before there was a state to save.
        RuntimeError: it ended by a bug of a component or of tfrun, whose traceback is shown.
    """
    environment = {name: value for name, value in os.environ.items() if name not in FOR_TERMINALS}
    environment |= {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}
    process = subprocess.Popen(
        [sys.executable, "-m", "tfrun.python_api.child", str(os.getpid()), *words],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,  # so that an interrupt reaches it once, through us
    )
    output = _Output(display)
    with process:
        try:
            _follow(process, output)
        except BaseException:
            process.terminate()  # saves the state
            raise
    if process.returncode:
        raise _error(process.returncode, output)
    if output.folder is None:
        raise ConfigError("run: no single run was trained. A sweep is a command of its own: tfrun -m …")
    return output.folder


class _Output:
    """What the command has printed.

    Attributes:
        folder: the run's, once the summary has named it.
        end: the line that says why the command has ended, or "".
        last_line: the last one that was shown.
    """

    def __init__(self, display: Display):
        self.folder: Path | None = None
        self.end = ""
        self.last_line = ""
        self._display = display

    def add(self, line: str) -> None:
        """Shows a line, unless it says why the command has ended: an exception will."""
        if line.startswith(END) and not line.startswith(BUG):
            self.end = line.removeprefix(END).removeprefix("error: ")
            return
        if match := RUN_LINE.fullmatch(line):
            self.folder = Path(match[1]).absolute()
        self.last_line = line
        self._display.show(line)


def _follow(process: subprocess.Popen[str], output: _Output) -> None:
    """Reads what a process prints until it has ended, and passes interrupts on to it."""
    assert process.stdout is not None
    while True:
        try:
            for line in process.stdout:
                output.add(line.rstrip("\n"))
            process.wait()
            return
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)


def _error(code: int, output: _Output) -> BaseException:
    """Returns the exception for an exit code that isn't 0."""
    number = -code if code < 0 else code - 128
    if number == signal.SIGINT and output.end in ("", "interrupted"):
        return KeyboardInterrupt()
    if number == signal.SIGKILL:
        return ResourceError("the run's process was killed, which the kernel does if the memory is full")
    if number > 0:
        return Interrupted(number, output.end or f"ended by {signal.Signals(number).name}")
    for kind in ERRORS:
        if kind.exit_code == code:
            return kind(output.end)
    return RuntimeError(f"tfrun ended with exit code {code}: {output.end or output.last_line}")
