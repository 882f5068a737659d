"""What a person sees: bars that move on a terminal, plain lines elsewhere, and the table at the end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table
from rich.text import Text

from tfrun.console import is_live, say, shown
from tfrun.engine.training.loop import UNLIMITED, Plan, Timing
from tfrun.engine.verify.contracts import Finding
from tfrun.engine.verify.parity import Difference

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
        self._steps_per_epoch = steps_per_epoch
        self._console, self._clock = console, clock
        self._live: Live | None = None
        self._last_line = clock()
        self._shown_step = -1
        self._newest: tuple[int, Mapping[str, float], Timing] = (-1, {}, Timing())
        limited = last_step != UNLIMITED
        self._total_epochs = -(-last_step // steps_per_epoch) if limited else None
        self._total_steps = last_step if limited else None
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            expand=True,
        )
        self._epochs = self._bars.add_task("epoch", total=self._total_epochs)
        self._steps = self._bars.add_task("step", total=self._total_steps)
        self._values = Text()

    def __enter__(self) -> Display:
        if is_live(self._console.file):
            self._live = Live(Group(self._bars, self._values), console=self._console, refresh_per_second=10)
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()
        elif self._newest[0] != self._shown_step:
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
        step = self._newest[0]
        self._last_line, self._shown_step = self._clock(), step
        epoch = f"epoch {step // self._steps_per_epoch}/{self._total_epochs or '…'}"
        say(self._console, f"{epoch}  step {step}/{self._total_steps or '…'}  {self._line()}")

    def _line(self) -> str:
        _, values, timing = self._newest
        rate = timing.steps_per_second
        parts = [f"{name} {format_value(value)}" for name, value in values.items()]
        return "  ".join([*parts, f"{rate:,.0f} steps/s"] if rate else parts)


def waiting(console: Console, what: str) -> AbstractContextManager[object]:
    """Shows on a terminal what is being waited for."""
    return console.status(what) if is_live(console.file) else nullcontext()


def format_value(value: float | None) -> str:
    """Returns a number with as many digits as a person compares."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if 10_000 <= abs(value) < 1e9 else f"{value:.4g}"


def format_bytes(size: float) -> str:
    """Returns a size with its unit."""
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.4g} {unit}"
        size /= 1024
    return f"{size:.4g} GiB"


def print_summary(console: Console, run: Mapping[str, Any], folder: Path, checkpoint: Path) -> None:
    """Prints the table of the best epoch, the last one and the test, and the three paths wanted next."""
    best, last = run["best"], run["metrics"]
    best_split = best.get("monitor", "val/loss").partition("/")[0]
    rows = [
        (f"best {best_split}, epoch {best.get('epoch')}", best, best_split),
        ("last train", last, "train"),
        ("last val", last, "val"),
        ("test, best weights" if best else "test", last, "test"),
    ]
    names = list(dict.fromkeys(key.partition("/")[2] for key in [*best, *last] if "/" in key))
    table = Table("", *[Column(name, justify="right") for name in names])
    for head, values, split in rows:
        cells = [format_value(values.get(f"{split}/{name}")) for name in names]
        if any(f"{split}/{name}" in values for name in names):
            table.add_row(head, *cells)
    say(console, f"{run['name']}: {run['status']} at step {run['step']:,}, epoch {run['epoch']:,}")
    if table.row_count:
        console.print(table)
    say(console, f"run         {shown(folder)}")
    say(console, f"checkpoint  {shown(checkpoint)}")
    if (folder / "tensorboard").is_dir():
        say(console, f"curves      tensorboard --logdir {shown(folder.parent.parent)}")


def print_check(
    console: Console,
    model: str,
    found: Mapping[str, Any],
    inputs: Any,
    plan: Plan,
    data_bytes: int,
    variable_bytes: int,
) -> None:
    """Prints what `tfrun check` found."""
    data = found["data"]
    splits = ", ".join(f"{data[split]:,} {split}" for split in ("train", "val", "test"))
    say(console, f"data    {data['source']}, {data['task']}: {data['rows']:,} rows ({splits})")
    for name, array in (inputs if isinstance(inputs, Mapping) else {"array": inputs}).items():
        say(console, f"        {name} {('batch', *array.shape[1:])} {array.dtype}".replace("'", ""))
    say(console, f"steps   {plan.steps_per_epoch:,} an epoch, {plan.last_step:,} in all")
    say(console, f"model   {model}, {found['parameters']:,} parameters")
    for group in found["groups"]:
        rate = "" if group["learning_rate"] is None else f", learning rate {group['learning_rate']:.4g}"
        say(console, f"group   {group['name']}: {group['optimizer']}{rate}, {group['parameters']:,} parameters")
        for path in group["variables"]:
            say(console, f"        {path}")
    say(console, f"memory  {format_bytes(data_bytes)} data, {format_bytes(variable_bytes)} variables and state")


def print_findings(console: Console, name: str, findings: Sequence[Finding]) -> None:
    """Prints what a component's contract found."""
    say(console, name)
    for finding in findings:
        numbers = f": {finding.numbers}" if finding.numbers else ""
        say(console, f"  {'ok   ' if finding.kept else 'FAILS'}  {finding.promise}{numbers}")


def print_parity(console: Console, found: Sequence[Difference], num_steps: int) -> None:
    """Prints how far compiled steps are from the same steps in Python."""
    for mode, off, tensor, _ in found:
        furthest = f"at most {off:.2g} off, {tensor}" if off else "the same bits"
        said = f"can't be compiled: {tensor}" if math.isnan(off) else furthest
        say(console, f"parity  {num_steps} steps of {mode} beside Python: {said}")
