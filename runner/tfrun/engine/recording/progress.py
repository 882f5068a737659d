"""Shows a run while it trains: moving bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from rich.columns import Columns
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from tfrun.console import UNDEFINED, is_live, say
from tfrun.engine.training.block_result import BlockResult
from tfrun.engine.training.loop import Observer
from tfrun.engine.training.plan import Plan
from tfrun.engine.training.timing import Timing
from tfrun.files.strict_json import defined

WIDE = 60  # columns, from which on there is room for the time that has passed beside the time that is left
LINE_SECONDS = 2.0  # between plain lines, so that epochs of milliseconds don't flood a log


class Display(Observer):
    """Shows a run while it trains. A context manager: it gives the terminal back when it is left.

    Args:
        plan: the length of the run.
        console: where to show it.
        timing: the training thread's seconds so far.
        clock: returns seconds.
    """

    def __init__(self, plan: Plan, console: Console, *, timing: Timing, clock: Callable[[], float] = time.perf_counter):
        self._plan = plan
        self._console = console
        self._timing = timing
        self._clock = clock
        self._live: Live | None = None
        self._last_line = clock()
        self._step: int | None = None  # before the first block
        self._shown_step: int | None = None
        self._values: dict[str, float] = {}
        last_step = plan.last_step
        self._total_epochs = None if last_step is None else -(-last_step // plan.steps_per_epoch)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            *((TimeElapsedColumn(), TextColumn("left")) if console.width >= WIDE else ()),
            TimeRemainingColumn(),
            console=console,
            expand=True,
        )
        self._epoch_bar = self._bars.add_task("epoch", total=self._total_epochs)
        self._step_bar = self._bars.add_task("step", total=last_step)
        self._shown_values = Columns(padding=(0, 2))  # a name and its value are never on two lines

    def __enter__(self) -> Display:
        if is_live(self._console.file):
            self._live = Live(Group(self._bars, self._shown_values), console=self._console, refresh_per_second=10)
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()
        elif self._step is not None and self._step != self._shown_step:
            self._print_line(self._step)

    def on_block(self, first_step: int, result: BlockResult) -> None:
        self._step = first_step + len(result.losses)
        self._values |= result.newest_values()
        if self._live is not None:
            self._bars.update(self._epoch_bar, completed=self._step // self._plan.steps_per_epoch)
            self._bars.update(self._step_bar, completed=self._step)
            self._shown_values.renderables = [Text(part) for part in self._parts()]
        elif self._clock() - self._last_line >= LINE_SECONDS:
            self._print_line(self._step)

    def on_new_stage(self, step: int) -> None:
        """Says what the run waits for before the first step of a stage."""
        what = f"compiling for the stage from step {step:,} on"
        if self._live is not None:
            self._shown_values.renderables = [Text(part) for part in (*self._parts(), what)]
        else:
            say(self._console, what)

    def _print_line(self, step: int) -> None:
        self._last_line = self._clock()
        self._shown_step = step
        epoch = f"epoch {step // self._plan.steps_per_epoch}/{self._total_epochs or '…'}"
        say(self._console, f"{epoch}  step {step}/{self._plan.last_step or '…'}  {'  '.join(self._parts())}")

    def _parts(self) -> list[str]:
        rate = self._timing.steps_per_second
        parts = [f"{name} {format_value(value)}" for name, value in self._values.items()]
        return [*parts, f"{rate:,.0f} steps/s"] if rate else parts


def waiting(console: Console, what: str) -> AbstractContextManager[object]:
    """Shows on a terminal, inside the context, what the run is waiting for."""
    return console.status(what) if is_live(console.file) else nullcontext()


def format_value(value: float | None) -> str:
    """Returns a number as text, with as many digits as a person compares; "–" if it isn't defined."""
    if defined(value) is None:
        return UNDEFINED
    assert value is not None
    return f"{value:,.0f}" if 10_000 <= abs(value) < 1e9 else f"{value:.4g}"


def format_bytes(size: float) -> str:
    """Returns a size with its unit."""
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.4g} {unit}"
        size /= 1024
    return f"{size:.4g} GiB"
