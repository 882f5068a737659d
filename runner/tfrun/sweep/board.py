"""What a sweep shows: a line for each job that ended, and the table at the end."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tfrun.config.cross_checks import is_comparable
from tfrun.console import Terminal, is_live, say, short_names, shown
from tfrun.files.runs import RunFolder
from tfrun.sweep.estimate import duration
from tfrun.sweep.jobs import Job
from tfrun.sweep.task import objective
from tfrun.sweep.worker import Step

REDRAW_SECONDS = 0.1
MOST_ROWS = 8  # of jobs that run; many do where they are trained together


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
        source: the number of the job whose state it took over, else empty.
    """

    folder: RunFolder
    swept: Mapping[str, str]
    status: str
    monitor: str | None
    value: float | None
    error: str
    source: str = ""

    @property
    def label(self) -> str:
        return " ".join([f"#{self.folder.path.name}", *(f"{key}={value}" for key, value in self.swept.items())])

    @property
    def failed(self) -> bool:
        return self.status not in ("completed", "pruned")


def read_outcome(folder: RunFolder, swept: Collection[str]) -> Outcome:
    """Returns how the job in `folder` ended; `swept` are the keys that differ between the jobs."""
    run = folder.read_run()
    overrides = [text.partition("=") for text in run.get("overrides", [])]
    own = {key: value for key, _, value in overrides if key in swept}
    error = run.get("error")
    why = f"{error['type']}: {error['message']}".partition("\n")[0] if error else ""
    source = run.get("branch", {}).get("run_id", "").rpartition("/")[2]
    monitor = run.get("best", {}).get("monitor")
    return Outcome(folder, own, run.get("status", "failed"), monitor, objective(run), why, source)


def read_outcomes(sweep: Path, swept: Collection[str]) -> list[Outcome]:
    """Returns how the jobs of a sweep ended that were started, by their numbers."""
    folders = [folder for folder in sweep.iterdir() if folder.is_dir() and folder.name.isdigit()]
    return [read_outcome(RunFolder(folder), swept) for folder in sorted(folders, key=lambda folder: int(folder.name))]


class Board:
    """Shows a sweep as it goes: a line for each job that ended and, on a terminal, a table of those that run.

    Nothing here starts a thread: a process forked while another thread holds a lock would wait for it forever.

    Args:
        total: how many jobs there are in all, where that is known.
        mode: `min` or `max`, what is best of the monitored value.
    """

    def __init__(self, total: int | None, mode: str):
        self._console, self._total, self._mode = Terminal(), total, mode
        self._live: Live | None = None
        self._drawn = 0.0
        self._running: dict[int, tuple[Job, float, Step | None]] = {}
        self._ended: list[Outcome] = []
        self._started = time.monotonic()

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

    def started(self, job: Job) -> None:
        """Takes a job that begins."""
        self._running[job.number] = job, time.monotonic(), None

    def told(self, job: Job, step: Step) -> None:
        """Takes how far a job is."""
        self._running[job.number] = job, self._running[job.number][1], step

    def ended(self, job: Job, outcome: Outcome) -> None:
        """Takes a job that has ended."""
        seconds = time.monotonic() - self._running.pop(job.number)[1]
        if outcome.status == "stopped" and job.pause_epoch is not None:
            return  # it goes on later
        self._ended.append(outcome)
        parts = [outcome.label]
        if outcome.value is not None:
            parts.append(f"{outcome.monitor} {outcome.value:.5g}")
        parts += [outcome.status, f"{seconds:.1f} s"]
        if outcome.failed and outcome.status != "stopped":
            parts.append(shown(outcome.folder.log))
        say(self._console, "  ".join(parts))
        if len(self._ended) == 1 and (self._total or 0) > 1 and self._live is None:
            say(self._console, self._summary(time.monotonic()))

    def say(self, line: str) -> None:
        """Shows a line above the table."""
        say(self._console, line)

    def draw(self) -> None:
        """Draws the table anew, where there is a terminal and it is time."""
        now = time.monotonic()
        if self._live is None or now - self._drawn < REDRAW_SECONDS:
            return
        self._drawn = now
        table = Table.grid(padding=(0, 2))
        for job, started, step in list(self._running.values())[:MOST_ROWS]:
            cells: list[Any] = [Text(job.label, overflow="ellipsis", no_wrap=True)]
            if step is None:
                cells += ["building", "", f"{now - started:.0f} s"]
            else:
                value = step.values.get(job.settings.checkpoint.monitor)
                cells += [
                    ProgressBar(step.last_step, step.step, width=16) if step.last_step else f"step {step.step:,}",
                    "" if value is None else f"{value:.5g}",
                    f"{now - started:.0f} s",
                ]
            table.add_row(*cells)
        if len(self._running) > MOST_ROWS:
            table.add_row(f"and {len(self._running) - MOST_ROWS} more")
        self._live.update(Group(table, Text(self._summary(now), overflow="ellipsis", no_wrap=True)), refresh=True)

    def _summary(self, now: float) -> str:
        """Returns how many jobs have come to which end, what is left, and the best so far."""
        counts = Counter(outcome.status for outcome in self._ended)
        parts = [f"{len(self._ended)}/{self._total or '…'} ended"]
        parts += [f"{count} {status}" for status, count in counts.items() if status != "completed"]
        if self._ended and self._total and len(self._ended) < self._total:
            seconds = (now - self._started) * (self._total - len(self._ended)) / len(self._ended)
            parts.append(f"about {duration(seconds)} left")
        best = best_of(self._ended, self._mode)
        if best is not None:
            parts.append(f"best {best.label} {best.value:.5g}")
        return "  ".join(parts)


def print_sweep(sweep: Path, outcomes: Sequence[Outcome], mode: str, is_cut_off: bool = False) -> None:
    """Prints the table of a sweep, why jobs failed, and what is wanted next.

    Args:
        sweep: its folder.
        outcomes: of the jobs that were started.
        mode: `min` or `max`, what is best of the monitored value.
        is_cut_off: whether a signal ended it.
    """
    console, best, first = Terminal(), best_of(outcomes, mode), dict[str, str]()
    keys = list(dict.fromkeys(key for outcome in outcomes for key in outcome.swept))
    monitors = {outcome.monitor: None for outcome in outcomes if outcome.monitor}
    table = Table(title=f"{sweep.parent.name}: {len(outcomes)} jobs", title_justify="left")
    table.add_column("job", justify="right")
    for name in short_names(keys):
        table.add_column(name)
    table.add_column(" ".join(monitors) or "value", justify="right")
    table.add_column("status")
    for outcome in outcomes:
        status = [outcome.status, "best"] if outcome is best else [outcome.status]
        status += [f"from #{outcome.source}"] if outcome.source else []
        number, same = outcome.folder.path.name, str(dict(outcome.swept))
        if first.setdefault(same, number) != number:
            status.append(f"repeats #{first[same]}")
        value = "–" if outcome.value is None else f"{outcome.value:.5g}"
        table.add_row(number, *(outcome.swept.get(key, "") for key in keys), value, ", ".join(status))
    console.print(table)
    if best is None and any(outcome.value is not None and outcome.status == "completed" for outcome in outcomes):
        say(console, "no best: these values can't be compared. checkpoint.monitor=val/<metric> can")
    for outcome in outcomes:
        if outcome.failed and outcome.status != "stopped":
            say(console, f"{outcome.label}  {outcome.status}: {outcome.error}")
            say(console, f"   {shown(outcome.folder.log)}")
    say(console, f"sweep      {shown(sweep)}")
    say(console, f"curves     tensorboard --logdir {shown(sweep)}")
    say(console, f"compare    tfrun compare {shown(sweep)}")
    if is_cut_off or any(outcome.status == "stopped" for outcome in outcomes):
        say(console, f"go on      tfrun resume {shown(sweep)}")


def best_of(outcomes: Sequence[Outcome], mode: str) -> Outcome | None:
    """Returns the best of the completed jobs, or None where their values can't be compared."""
    done = [
        (outcome.value, outcome) for outcome in outcomes if outcome.value is not None and outcome.status == "completed"
    ]
    monitors = {outcome.monitor for _, outcome in done}
    swept = {key for outcome in outcomes for key in outcome.swept}
    if len(monitors) != 1 or not is_comparable(str(*monitors), swept):
        return None
    return (min if mode == "min" else max)(done, key=lambda pair: pair[0])[1]
