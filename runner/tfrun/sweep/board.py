"""The live view of a sweep: a line for each job that has ended and, on a terminal, a table of those that run."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tfrun.console import Terminal, is_live, say, shown_number
from tfrun.folders import shown
from tfrun.sweep.candidates import best_of
from tfrun.sweep.estimate import duration
from tfrun.sweep.jobs import Job
from tfrun.sweep.messages import Progress
from tfrun.sweep.outcome import Outcome

REDRAW_SECONDS = 0.1
MAX_ROWS = 8  # of running jobs; there are many if they are trained together
MAX_BARS = 24  # of the latest jobs, in the line of the trend
BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class _RunningJob:
    """A job that runs, when it started, and its latest progress."""

    job: Job
    started: float
    progress: Progress | None = None


class Board:
    """Shows a sweep while it runs; on a terminal, enter it to show the table.

    It starts no thread: a process that is forked while another thread holds a lock would wait for that lock forever.

    Args:
        total: the number of jobs, if known.
        mode: `min` or `max`: which monitored value is best.
        console: where to print; None means the terminal.
        clock: returns seconds that only grow.
    """

    def __init__(
        self,
        total: int | None,
        mode: str,
        *,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._console = console or Terminal()
        self._clock = clock
        self._total = total
        self._mode = mode
        self._live: Live | None = None
        self._drawn = 0.0
        self._running: dict[int, _RunningJob] = {}
        self._ended: list[Outcome] = []
        self._started = clock()

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

    def add_job(self, job: Job) -> None:
        """Shows a job that starts."""
        self._running[job.number] = _RunningJob(job, self._clock())

    def set_progress(self, job: Job, progress: Progress) -> None:
        """Shows the progress of a job."""
        self._running[job.number] = replace(self._running[job.number], progress=progress)

    def end_job(self, job: Job, outcome: Outcome) -> None:
        """Prints the line of a job that has ended. A job that has only paused is no longer shown."""
        seconds = self._clock() - self._running.pop(job.number).started
        if outcome.status == "stopped" and job.pause_epoch is not None:
            return
        self._ended.append(outcome)
        parts = [outcome.label]
        if outcome.value is not None:
            parts.append(f"{outcome.monitor} {outcome.value:.5g}")
        parts += [outcome.status, f"{seconds:.1f} s"]
        if outcome.has_error:
            parts.append(shown(outcome.folder.log))
        self.say("  ".join(parts))
        if len(self._ended) == 1 and (self._total or 0) > 1 and self._live is None:
            self.say(self._summary())

    def set_total(self, total: int | None) -> None:
        """Sets the number of jobs, which falls if jobs turn out not to be needed."""
        self._total = total

    def say(self, line: str) -> None:
        """Prints a line above the table."""
        say(self._console, line)

    def draw(self) -> None:
        """Redraws the table if there is a terminal and the last drawing is old enough."""
        now = self._clock()
        if self._live is None or now - self._drawn < REDRAW_SECONDS:
            return
        self._drawn = now
        summary = Text(self._summary(), overflow="ellipsis", no_wrap=True)
        self._live.update(Group(self._table(), summary), refresh=True)

    def _table(self) -> Table:
        """Returns a row for each running job: its label, progress, monitored value and seconds."""
        table = Table.grid(padding=(0, 2))
        for running in list(self._running.values())[:MAX_ROWS]:
            cells: list[Any] = [Text(running.job.label, overflow="ellipsis", no_wrap=True)]
            progress = running.progress
            if progress is None:
                cells += ["building", ""]
            else:
                bar = ProgressBar(progress.last_step, progress.step, width=16) if progress.last_step else None
                value = progress.values.get(running.job.settings.checkpoint.monitor)
                text = "" if value is None else shown_number(value, digits=5)
                cells += [bar or f"step {progress.step:,}", text]
            table.add_row(*cells, f"{self._clock() - running.started:.0f} s")
        if len(self._running) > MAX_ROWS:
            table.add_row(f"and {len(self._running) - MAX_ROWS} more")
        return table

    def _summary(self) -> str:
        """Returns how many jobs have ended and how, the time left, and the best job so far."""
        counts = Counter(outcome.status for outcome in self._ended)
        parts = [f"{len(self._ended)}/{self._total or '…'} ended"]
        parts += [f"{count} {status}" for status, count in counts.items() if status != "completed"]
        if self._ended and self._total and len(self._ended) < self._total:
            num_left = self._total - len(self._ended)
            seconds_per_job = (self._clock() - self._started) / len(self._ended)
            parts.append(f"about {duration(num_left * seconds_per_job)} left")
        best = best_of(self._ended, self._mode)
        if best is not None:
            parts.append(f"best #{best.numbers} {best.mean:.5g}")
            values = [outcome.value for outcome in self._ended if outcome.value is not None]
            parts += [sparkline(values[-MAX_BARS:])] if len(values) > 1 else []
        return "  ".join(parts)


def sparkline(values: Sequence[float]) -> str:
    """Returns a bar for each value, from the least `▁` to the greatest `█`: the trend of a sweep in one line."""
    low, high = min(values), max(values)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[round((value - low) * scale)] for value in values)
