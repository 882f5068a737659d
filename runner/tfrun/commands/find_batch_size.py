"""`tfrun find batch_size [overrides] [max= memory=]`: the largest batch that fits, and how fast each size trains."""

from __future__ import annotations

import contextlib
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from tfrun.commands.command_line import CommandLine
from tfrun.commands.find_config import BATCH_SIZE_OPTIONS, Trial, pop_options, read_config
from tfrun.config.settings import Settings
from tfrun.errors import ConfigError, ResourceError

WHERE = "find batch_size"
KEY = "data.batch_size"
MULTIPLE = 8  # of which sizes are, since vectors of processors have such lengths
BYTES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
MIN_MEMORY = 2**28  # bytes, less than which TensorFlow alone needs


def run(command_line: CommandLine) -> int:
    """Runs the command and returns the exit code."""
    options, command_line = pop_options(command_line, BATCH_SIZE_OPTIONS, where=WHERE)
    most = _most(options)
    most_bytes = parse_bytes(options["memory"]) if "memory" in options else None
    trial = read_config(command_line, where=WHERE)
    if trial.inputs.settings.strategy.has_workers:
        raise ConfigError(
            f"{WHERE}: tries sizes in one process, and each worker of strategy=multi_worker has a share of the batch. "
            f"Leave the strategy out to find what fits on one machine; N workers can train N times that {KEY}"
        )
    smallest, unit = _units(trial.inputs.settings)
    if most is not None and most < smallest:
        raise ConfigError(f"max: must be >= {smallest}, with these microbatches and replicas. Received: {most}")
    search = _Search(trial, most=most, smallest=smallest, most_bytes=most_bytes)
    try:
        search.run(unit)
    finally:  # after Ctrl-C too
        search.report.print_table()
    search.report.print_summary(trial.command)
    return 0


def _most(options: Mapping[str, str]) -> int | None:
    """Returns the greatest size to try, None if the number of rows is. Raises ConfigError."""
    if "max" not in options:
        return None
    text = options["max"]
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text) > 0):
        raise ConfigError(f"max: must be a number of rows, 1 or more. Received: {text!r}")
    return int(text)


def parse_bytes(text: str) -> float:
    """Returns a number of bytes: `4GB`, `512MiB`. Raises ConfigError for another text."""
    match = re.fullmatch(r"(\d{1,12}(?:\.\d{1,6})?) ?([kmgt]i?)?b?", text.lower(), re.ASCII)
    if match is None:
        raise ConfigError(f"memory: must be a size such as 4GB or 512MiB. Received: {text!r}")
    num_bytes = float(match[1]) * BYTES[match[2] or ""]
    if num_bytes < MIN_MEMORY:
        raise ConfigError(f"memory: must be 256MiB or more, as TensorFlow alone needs that. Received: {text!r}")
    return num_bytes


def _units(settings: Settings) -> tuple[int, int]:
    """Returns of what every size is a multiple, and of what those between two sizes are."""
    strategy = settings.strategy
    replicas = strategy.logical_cpus or len(strategy.devices or [0])
    smallest = settings.trainer.microbatches * (replicas if strategy.name == "mirrored" else 1)
    return smallest, math.lcm(MULTIPLE, smallest)


class _Search:
    """Tries sizes, each in a process of its own.

    Attributes:
        report: the sizes tried so far.
    """

    def __init__(self, trial: Trial, *, most: int | None, smallest: int, most_bytes: float | None):
        from tfrun.finding.tries import Limit
        from tfrun.reports.batch_report import BatchReport

        self.report = BatchReport()
        self._trial = trial
        self._most = most
        self._smallest = smallest
        self._limit = Limit(most_bytes)
        self._experiment: Any = None

    def run(self, unit: int) -> None:
        """Searches. Raises ResourceError if no size fits."""
        from tfrun.finding.search import largest
        from tfrun.load_engine import engine

        first = min(self._trial.inputs.settings.data.batch_size, self._greatest())
        with engine(None) as (self._experiment, _):  # so that the processes needn't import it
            best = largest(self._fits, int(first), unit=unit, smallest=self._smallest, most=self._greatest)
        self.report.is_limited_by_rows = best == self._greatest() and best != self._most
        self.report.is_limited_by_max = best == self._most
        if best is None:
            raise ResourceError(f"{WHERE}: not even {KEY}={self._smallest} fits: {self.report.tries[-1].why_not}")

    def _greatest(self) -> float:
        """Returns the greatest size to try: all training rows, as soon as their number is known."""
        rows = self.report.train_rows
        most = min(self._most or math.inf, rows or math.inf)
        return most if most == math.inf else most // self._smallest * self._smallest

    def _fits(self, size: int) -> bool:
        from tfrun.finding.tries import attempt

        inputs = self._trial.inputs
        settings = replace(inputs.settings, data=replace(inputs.settings.data, batch_size=size))

        def compute() -> Any:
            return self._experiment.try_batch_size(settings, self._trial.catalog, table=inputs.table)

        with _progress(size) as watch:
            outcome = attempt(compute, limit=self._limit, watch=watch)
        self.report.add(size, outcome.result, why_not=outcome.why_not)
        return outcome.result is not None


@contextlib.contextmanager
def _progress(size: int) -> Iterator[Callable[[float], None]]:
    """Yields a function that shows a try's memory and time, on a terminal."""
    from tfrun.console import Terminal, is_live
    from tfrun.finding.tries import gib

    console = Terminal()
    started = time.monotonic()
    if not is_live(console.file):
        yield lambda used: None
        return
    with console.status(f"trying {size:,}") as status:
        yield lambda used: status.update(f"trying {size:,}  {gib(used)}  {time.monotonic() - started:.0f} s")
