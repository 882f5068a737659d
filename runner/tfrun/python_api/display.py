"""Shows a run that trains in another process: a bar in a notebook, plain lines elsewhere."""

from __future__ import annotations

import html
import re
import sys
from dataclasses import dataclass
from typing import Any, Protocol

# as `engine.recording.progress.Display` prints a line where no bar can move; the totals may not be known
PROGRESS = re.compile(r"epoch (?P<epoch>\d+)/(\d+|…) {2}step (?P<step>\d+)/(?P<total>\d+|…) {2}(?P<values>.*)")


class Display(Protocol):
    """Shows the lines that a run prints."""

    def show(self, line: str) -> None:
        """Shows a line, or a newer state of the run."""


class Nothing:
    """Shows nothing."""

    def show(self, line: str) -> None:
        """Drops the line."""


class Lines:
    """Prints each line."""

    def show(self, line: str) -> None:
        print(line, flush=True)


@dataclass(frozen=True)
class Bar:
    """The progress of a run, as a notebook shows it.

    Attributes:
        line: the line of text that says the same.
        step: the last step.
        total: the number of steps, or None if nobody knows it.
    """

    line: str
    step: int
    total: int | None

    def __repr__(self) -> str:
        return self.line

    def _repr_html_(self) -> str:
        total = "" if self.total is None else f' value="{self.step}" max="{self.total}"'
        return f'<progress style="width: 20em"{total}></progress> <code>{html.escape(self.line)}</code>'


class Notebook:
    """Shows the newest progress as a bar, in place of the one before, and prints all other lines."""

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, line: str) -> None:
        match = PROGRESS.fullmatch(line)
        if match is None:
            print(line, flush=True)
            return
        total = match["total"]
        bar = Bar(line, int(match["step"]), int(total) if total.isdigit() else None)
        if self._handle is not None:
            self._handle.update(bar)
            return
        from IPython.display import display

        self._handle = display(bar, display_id=True)


def display_for(*, show: bool) -> Display:
    """Returns the display that suits this process: nothing if `show` is false."""
    if not show:
        return Nothing()
    return Notebook() if _is_notebook() else Lines()


def _is_notebook() -> bool:
    """Returns whether this process is a notebook's kernel, whose shell has one."""
    get_shell = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return get_shell is not None and hasattr(get_shell(), "kernel")
