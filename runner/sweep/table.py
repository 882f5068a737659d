"""What a sweep shows: a line for each job that ended, and the table at the end."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.live import Live
from rich.table import Table

from tfrun.console import Terminal, is_live, say, shown
from tfrun.runs import RunFolder
from tfrun.sweep.job import objective

REDRAW_SECONDS = 0.1


@dataclass(frozen=True)
class Outcome:
    """How a job ended, as its `run.json` says.

    Attributes:
        folder: the job's.
        swept: what it does differently from the others, by key, as typed.
        status: of `run.json`.
        monitor: the name of the value that says how good it is.
        value: the best one, None where no epoch has ended.
        error: why it failed, in one line; else empty.
    """

    folder: RunFolder
    swept: Mapping[str, str]
    status: str
    monitor: str | None
    value: float | None
    error: str

    @property
    def label(self) -> str:
        return " ".join([f"#{self.folder.path.name}", *(f"{key}={value}" for key, value in self.swept.items())])

    @property
    def failed(self) -> bool:
        return self.status != "completed"


def read_outcome(folder: RunFolder, swept: Collection[str]) -> Outcome:
    """Returns how the job in `folder` ended; `swept` are the keys that differ between the jobs."""
    run = folder.read_run()
    overrides = [text.partition("=") for text in run.get("overrides", [])]
    own = {key: value for key, _, value in overrides if key in swept}
    error = run.get("error")
    why = f"{error['type']}: {error['message']}".partition("\n")[0] if error else ""
    return Outcome(folder, own, run.get("status", "failed"), run.get("best", {}).get("monitor"), objective(run), why)


def read_outcomes(sweep: Path, swept: Collection[str]) -> list[Outcome]:
    """Returns how the jobs of a sweep ended that were started, by their numbers."""
    folders = [folder for folder in sweep.iterdir() if folder.is_dir() and folder.name.isdigit()]
    return [read_outcome(RunFolder(folder), swept) for folder in sorted(folders, key=lambda folder: int(folder.name))]


class Board:
    """Shows a sweep as it goes: a line for each job that ended and, on a terminal, the jobs that run.

    Nothing here starts a thread: a process forked while another thread holds a lock would wait for it forever.
    """

    def __init__(self) -> None:
        self._console = Terminal()
        self._live: Live | None = None
        self._drawn = 0.0

    def __enter__(self) -> Board:
        if is_live():
            self._live = Live(
                console=self._console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
            )
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live:
            self._live.stop()

    def show(self, running: Mapping[str, float]) -> None:
        """Takes the jobs that run, as label -> seconds since their start."""
        now = time.monotonic()
        if self._live and now - self._drawn >= REDRAW_SECONDS:
            self._drawn = now
            table = Table.grid(padding=(0, 2))
            for label, seconds in running.items():
                table.add_row(label, f"{seconds:.1f} s")
            self._live.update(table, refresh=True)

    def ended(self, outcome: Outcome, seconds: float) -> None:
        """Takes a job that has ended, and what it took."""
        parts = [outcome.label]
        if outcome.value is not None:
            parts.append(f"{outcome.monitor} {outcome.value:.5g}")
        parts += [outcome.status, f"{seconds:.1f} s"]
        if outcome.failed:
            parts.append(shown(outcome.folder.log))
        say(self._console, "  ".join(parts))


def print_sweep(sweep: Path, outcomes: Sequence[Outcome], mode: str) -> None:
    """Prints the table of a sweep, why jobs failed, and what is wanted next.

    Args:
        sweep: its folder.
        outcomes: of the jobs that were started.
        mode: `min` or `max`, what is best of the monitored value.
    """
    console, best, first = Terminal(), best_of(outcomes, mode), dict[str, str]()
    keys = list(dict.fromkeys(key for outcome in outcomes for key in outcome.swept))
    monitors = {outcome.monitor: None for outcome in outcomes if outcome.monitor}
    table = Table(title=f"{sweep.parent.name}: {len(outcomes)} jobs", title_justify="left")
    table.add_column("job", justify="right")
    for name in keys:
        table.add_column(name)
    table.add_column(" ".join(monitors) or "value", justify="right")
    table.add_column("status")
    for outcome in outcomes:
        status = [outcome.status, "best"] if outcome is best else [outcome.status]
        number, same = outcome.folder.path.name, str(dict(outcome.swept))
        if first.setdefault(same, number) != number:
            status.append(f"repeats #{first[same]}")
        value = "–" if outcome.value is None else f"{outcome.value:.5g}"
        table.add_row(number, *(outcome.swept.get(key, "") for key in keys), value, ", ".join(status))
    console.print(table)
    if best is None and any(outcome.value is not None for outcome in outcomes):
        say(console, "no best: these values can't be compared. checkpoint.monitor=val/<metric> can")
    for outcome in outcomes:
        if outcome.failed:
            say(console, f"{outcome.label}  {outcome.status}: {outcome.error}")
            say(console, f"   {shown(outcome.folder.log)}")
    say(console, f"sweep      {shown(sweep)}")
    say(console, f"curves     tensorboard --logdir {shown(sweep)}")


def best_of(outcomes: Sequence[Outcome], mode: str) -> Outcome | None:
    """Returns the best of the completed jobs, or None where their values can't be compared.

    Values of different losses can't: a smaller one only says that its loss counts in a smaller unit.
    """
    done = [(outcome.value, outcome) for outcome in outcomes if outcome.value is not None and not outcome.failed]
    monitors = {outcome.monitor for _, outcome in done}
    losses = any(key.partition(".")[0] == "loss" for outcome in outcomes for key in outcome.swept)
    if len(monitors) != 1 or (losses and str(*monitors).endswith("/loss")):
        return None
    return (min if mode == "min" else max)(done, key=lambda pair: pair[0])[1]
