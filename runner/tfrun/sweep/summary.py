"""The table that a sweep prints at its end, the reasons of failures, and the commands that may follow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tfrun.console import Terminal, say, short_names, shown_number, tensorboard_command
from tfrun.folders import shown
from tfrun.sweep.outcome import Outcome, best_of


def print_sweep(
    sweep: Path, outcomes: Sequence[Outcome], *, mode: str, is_interrupted: bool = False, console: Console | None = None
) -> None:
    """Prints the summary of a sweep.

    Args:
        sweep: its folder.
        outcomes: of the jobs that were started.
        mode: `min` or `max`: which monitored value is best.
        is_interrupted: whether a signal stopped the sweep.
        console: where to print; None means the terminal.
    """
    console = console or Terminal()
    best = best_of(outcomes, mode)
    console.print(_table(f"{sweep.parent.name}: {len(outcomes)} jobs", outcomes, best=best))
    completed = [outcome for outcome in outcomes if outcome.status == "completed"]
    if best is None and any(outcome.value is not None for outcome in completed):
        say(console, "no best job, because these values can't be compared. checkpoint.monitor=val/<metric> can be")
    elif best is None and completed:
        say(console, "no best job, because the monitored value is defined in none")
    for outcome in outcomes:
        if outcome.has_error:
            say(console, f"{outcome.label}  {outcome.status}: {outcome.error}")
            say(console, f"   {shown(outcome.folder.log)}")
    say(console, f"sweep      {shown(sweep)}")
    say(console, f"curves     {tensorboard_command(sweep)}")
    say(console, f"compare    tfrun compare {shown(sweep)}")
    if is_interrupted or any(outcome.status == "stopped" for outcome in outcomes):
        say(console, f"resume     tfrun resume {shown(sweep)}")


def _table(title: str, outcomes: Sequence[Outcome], *, best: Outcome | None) -> Table:
    """Returns a row for each job: its number, the values that differ, the monitored value, and how it ended."""
    keys = list(dict.fromkeys(key for outcome in outcomes for key in outcome.swept))
    monitors = dict.fromkeys(outcome.monitor for outcome in outcomes if outcome.monitor)
    table = Table(title=title, title_justify="left")
    table.add_column("job", justify="right")
    for name in short_names(keys):
        table.add_column(name)
    table.add_column(" ".join(monitors) or "value", justify="right")
    table.add_column("status")
    first_with: dict[str, str] = {}  # values -> the number of the first job that has them
    for outcome in outcomes:
        number = outcome.folder.path.name
        first = first_with.setdefault(str(dict(outcome.swept)), number)
        notes = [outcome.status]
        notes += ["best"] if outcome is best else []
        notes += [f"from #{outcome.source}"] if outcome.source else []
        notes += [f"repeats #{first}"] if first != number else []
        value = shown_number(outcome.value, digits=5)
        table.add_row(number, *(outcome.swept.get(key, "") for key in keys), value, ", ".join(notes))
    return table
