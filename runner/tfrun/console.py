"""The terminal: prints for a person, and redirects what libraries print to `tfrun.log`."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import shlex
import shutil
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TextIO, cast

from rich.console import Console

from tfrun.folders import shown
from tfrun.streams import Tolerant

UNDEFINED = "–"  # is shown for a value that isn't defined


def is_live(stream: object = None) -> bool:
    """Returns whether a stream, by default standard output, is a terminal on which a display may move.

    NO_COLOR and TERM=dumb say that it may not.
    """
    isatty = getattr(stream or sys.stdout, "isatty", lambda: False)
    return bool(isatty()) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


class Terminal(Console):
    """Rich's console, which falls silent when it can't be written (`tfrun | head -1`), so that the run continues.

    Texts are shown as they are: Rich would take `[id, sold_on]`, a list in a config, for its own markup.
    """

    is_result = False

    def __init__(self, *, stderr: bool = False):
        super().__init__(stderr=stderr, markup=False, emoji=False)

    @property
    def file(self) -> IO[str]:
        return cast(IO[str], Tolerant(super().file, is_result=self.is_result))

    @file.setter
    def file(self, new: IO[str]) -> None:
        Console.file.fset(self, new)  # type: ignore[attr-defined]


class Results(Terminal):
    """The terminal for a command whose result is what it prints: a full disk is an error, raised as OSError."""

    is_result = True


def say(console: Console, text: str) -> None:
    """Prints a line unchanged: without markup, and not wrapped, so that paths can be copied from a narrow window."""
    console.print(text, soft_wrap=True, highlight=False, markup=False)


def say_wrapped(console: Console, text: str, *, indent: int = 0) -> None:
    """Prints a line, in a terminal wrapped between words, with further lines indented. In a file it stays one line."""
    if console.is_terminal:
        lines = textwrap.wrap(
            text,
            max(console.width, indent + 20),
            subsequent_indent=" " * indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        text = "\n".join(lines)
    say(console, text)


def tensorboard_command(folder: Path) -> str:
    """Returns the command that shows the curves in a folder, as a person can type it here.

    With `scripts/tfrun` the environment isn't activated: then it names the program in it.
    """
    installed = Path(sys.executable).with_name("tensorboard")
    is_found = shutil.which("tensorboard") or not installed.exists()
    program = "tensorboard" if is_found else shown(installed)
    return shlex.join([program, "--logdir", shown(folder)])


def shown_number(value: float | None, *, digits: int = 6) -> str:
    """Returns a number as text, `UNDEFINED` if it isn't defined."""
    return UNDEFINED if value is None or not math.isfinite(value) else f"{value:.{digits}g}"


def open_log(path: Path) -> int:
    """Returns a descriptor that appends to a log; it drops the lines if the disk refuses the file or it is a link."""
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o644)
    except OSError:
        return os.open(os.devnull, os.O_WRONLY)


class _Log(logging.StreamHandler[TextIO]):
    """A log that drops the lines that a full disk refuses, so that the run continues."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        """Drops the line."""

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.stream.close()
        super().close()


@contextlib.contextmanager
def library_output_to(log: Path) -> Iterator[None]:
    """Redirects to `log` what libraries write: file descriptor 2 (TensorFlow's C++), Python's logging and warnings.

    Our own `sys.stderr` still writes to the terminal. Enter this context before TensorFlow is imported.
    """
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    terminal = os.dup(2)
    file = open_log(log)
    os.dup2(file, 2)
    stderr = sys.stderr
    sys.stderr = open(terminal, "w", buffering=1, closefd=False)  # noqa: SIM115 - closed below
    handler = _Log(os.fdopen(file, "a"))
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)
    logging.getLogger("tfrun").setLevel(logging.INFO)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        logging.getLogger().removeHandler(handler)
        handler.close()
        with contextlib.suppress(OSError):
            sys.stderr.flush()
        sys.stderr = stderr
        os.dup2(terminal, 2)
        os.close(terminal)
