"""The last lines of a run: its metrics as a table, where the time went, and what a person may want to type next."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from tfrun.console import UNDEFINED, say, say_wrapped, tensorboard_command
from tfrun.engine.recording.progress import format_value
from tfrun.files.runs import newest_folder
from tfrun.files.strict_json import defined
from tfrun.folders import shown
from tfrun.narrow_tables import print_table

DIGITS = 4  # of the largest number of a column
TIMES = {  # in `timing` of `run.json`, and how a person calls it
    "import_seconds": "importing TensorFlow",
    "build_seconds": "building",
    "compile_seconds": "compiling",
    "train_seconds": "training",
    "eval_seconds": "evaluating",
    "checkpoint_seconds": "saving",
}
MIN_SHARE = 0.05  # of the time that is worth a word
MAX_TIMES = 3


def print_summary(
    console: Console, run: Mapping[str, Any], *, folder: Path, checkpoint: Path, loss_unit: str = ""
) -> None:
    """Prints the table of the best epoch, the last one and the test, and the paths that a person needs next.

    Args:
        console: where to print.
        run: `run.json`.
        folder: the run's.
        checkpoint: the newest one.
        loss_unit: a sentence on the unit of the loss, if it isn't that of the target.
    """
    best = run["best"]
    say(console, f"{run['name']}: {run['status']} at step {run['step']:,}, epoch {run['epoch']:,}")
    table = _table(run)
    if table.row_count:
        print_table(console, table)
        if loss_unit:
            say_wrapped(console, loss_unit)
    if 1 < run["epoch"] == best.get("epoch") and run["engine"].get("ended_by") == "last step":
        longer = f"tfrun resume {_name(folder)} trainer.max_epochs={2 * run['epoch']}"
        say(console, f"The last epoch was the best one, so more may be better: {longer}")
    if times := _times(run):
        say_wrapped(console, f"time        {times}", indent=12)
    say(console, f"run         {shown(folder)}")
    say(console, f"checkpoint  {checkpoint.relative_to(folder)}, in it")
    say(console, f"metrics     tfrun evaluate {_name(folder)}")
    say(console, f"report      tfrun report {_name(folder)}")
    if (folder / "tensorboard").is_dir():
        say(console, f"curves      {tensorboard_command(folder.parent.parent)}")


def _name(folder: Path) -> str:
    """Returns the shortest name by which a command finds a run."""
    return "latest" if newest_folder() == folder else shown(folder)


def _times(run: Mapping[str, Any]) -> str:
    """Returns the seconds in all, and those of the parts that took the most, the longest first."""
    seconds = {words: run.get("timing", {}).get(key) or 0.0 for key, words in TIMES.items()}
    total = sum(seconds.values())
    parts = sorted((item for item in seconds.items() if item[1] >= MIN_SHARE * total), key=lambda item: -item[1])
    words = ", ".join(f"{_seconds(value)} {name}" for name, value in parts[:MAX_TIMES])
    return f"{_seconds(total)}: {words}" if total else ""


def _seconds(value: float) -> str:
    """Returns a time for a person: 0.31 s, 7.8 s, 95 s, 12 min, 3.2 h."""
    if value < 120:
        return f"{value:.2g} s" if value < 10 else f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"


def _table(run: Mapping[str, Any]) -> Table:
    best, last = run["best"], run["metrics"]
    monitor = best.get("monitor", "val/loss")
    best_split = monitor.partition("/")[0]
    by = "" if monitor.endswith("/loss") else f" by {monitor.partition('/')[2]}"
    rows = [
        (f"best {best_split}, epoch {best.get('epoch')}{by}", best, best_split),
        ("last train", last, "train"),
        ("last val", last, "val"),
        ("test, best weights" if best else "test", last, "test"),
    ]
    names = list(dict.fromkeys(key.partition("/")[2] for key in [*best, *last] if "/" in key))
    kept = [row for row in rows if any(f"{row[2]}/{name}" in row[1] for name in names)]
    columns = [aligned([values.get(f"{split}/{name}") for _, values, split in kept]) for name in names]
    table = Table("", *[Column(name, justify="right", overflow="fold") for name in names])
    for (head, _, _), *cells in zip(kept, *columns, strict=True):
        table.add_row(head, *cells)
    return table


def aligned(values: Sequence[float | None]) -> list[str]:
    """Returns numbers as texts with as many decimals as give the largest `DIGITS` digits, so that the points align.

    A number that would lose its digits so has its own; `UNDEFINED` stands for one that isn't defined.
    """
    largest = max((abs(value) for value in _defined(values)), default=0.0)
    if not 1e-4 <= largest < 1e9:
        return [format_value(value) for value in values]
    decimals = max(0, DIGITS - 1 - math.floor(math.log10(largest)))
    least = 10.0 ** (1 - decimals)  # two digits are left of it

    def text(value: float | None) -> str:
        number = defined(value)
        if number is None:
            return UNDEFINED
        return f"{number:,.{decimals}f}" if number == 0 or abs(number) >= least else format_value(number)

    return [text(value) for value in values]


def _defined(values: Sequence[float | None]) -> Iterator[float]:
    for value in values:
        number = defined(value)
        if number is not None:
            yield number
