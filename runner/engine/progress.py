"""What a person sees: bars that move on a terminal, plain lines elsewhere, and the table at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from tfrun.console import is_live
from tfrun.engine.loop import Timing

LINE_SECONDS = 2.0  # between plain lines, so that epochs of milliseconds don't flood a log


class Display:
    """Shows a run as it goes. A context manager: the terminal is whole again when it is left.

    Args:
        steps_per_epoch, last_step: the size of the run.
        console: where to show it.
        clock: gives seconds.
    """

    def __init__(
        self, steps_per_epoch: int, last_step: int, console: Console, clock: Callable[[], float] = time.perf_counter
    ):
        self._steps_per_epoch, self._last_step = steps_per_epoch, last_step
        self._console, self._clock = console, clock
        self._live: Live | None = None
        self._last_line = float("-inf")
        self._shown_step = -1
        self._newest: tuple[int, Mapping[str, float], Timing] | None = None
        self._num_epochs = -(-last_step // steps_per_epoch)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            expand=True,
        )
        self._epochs = self._bars.add_task("epoch", total=self._num_epochs)
        self._steps = self._bars.add_task("step", total=last_step)
        self._values = Text()

    def __enter__(self) -> Display:
        if is_live(self._console.file):
            self._live = Live(Group(self._bars, self._values), console=self._console, refresh_per_second=10)
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()
        elif self._newest is not None and self._newest[0] != self._shown_step:
            self._print_line()

    def update(self, step: int, values: Mapping[str, float], timing: Timing) -> None:
        """Shows the newest values; the loop calls it after every block."""
        self._newest = (step, values, timing)
        if self._live is not None:
            self._bars.update(self._epochs, completed=step // self._steps_per_epoch)
            self._bars.update(self._steps, completed=step)
            self._values.plain = self._line()
        elif self._clock() - self._last_line >= LINE_SECONDS:
            self._print_line()

    def _print_line(self) -> None:
        self._last_line, self._shown_step = self._clock(), self._newest[0]
        epoch = min(self._newest[0] // self._steps_per_epoch, self._num_epochs)
        head = f"epoch {epoch}/{self._num_epochs}  step {self._newest[0]}/{self._last_step}"
        self._console.print(f"{head}  {self._line()}", soft_wrap=True, highlight=False, markup=False)

    def _line(self) -> str:
        _, values, timing = self._newest
        rate = timing.steps_per_second
        parts = [f"{name} {format_value(value)}" for name, value in values.items()]
        return "  ".join([*parts, f"{rate:,.0f} steps/s"] if rate else parts)


def format_value(value: float | None) -> str:
    """Returns a number with as many digits as a person compares."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def print_summary(console: Console, run: Mapping[str, Any], folder: Path, checkpoint: Path | None) -> None:
    """Prints the table of the best epoch, the last one and the test, and the three paths wanted next."""
    best, last = run["best"], run["metrics"]
    names = list(dict.fromkeys(key.partition("/")[2] for key in [*best, *last] if "/" in key))
    table = Table(title=f"{run['name']}: {run['status']}, {run['step']} steps", title_justify="left")
    table.add_column("")
    heads = {"best": f"best (epoch {best['epoch']})" if best else "best", "last": "last", "test": "test"}
    rows = [(heads["best"], best, best.get("monitor", "val/loss").partition("/")[0]), (heads["last"], last, "train"), (heads["last"], last, "val"), (heads["test"], last, "test")]
    for name in names:
        table.add_column(name, justify="right")
    for head, values, split in rows:
        cells = [format_value(values.get(f"{split}/{name}")) for name in names]
        if any(cell != "–" for cell in cells):
            table.add_row(head if split == "test" else f"{head} {split}", *cells)
    console.print(table)
    print_path(console, "run        ", folder)
    if checkpoint is not None:
        print_path(console, "checkpoint ", checkpoint)
    print_path(console, "curves     ", f"tensorboard --logdir {shown(folder.parent.parent)}")


def print_path(console: Console, label: str, path: Any) -> None:
    """Prints a path on one line of its own, whole, so that it can be copied from a narrow window."""
    text = shown(path) if isinstance(path, Path) else path
    console.print(f"{label}{text}", soft_wrap=True, highlight=False, markup=False)


def shown(path: Path) -> str:
    """Returns a path as a person would type it from the current folder."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
