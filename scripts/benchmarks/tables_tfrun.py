"""Runs tfrun on tables of ids, in a process that does nothing else, and times its steps, epoch ends and checkpoints."""

from __future__ import annotations

import contextlib
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.machine import peak_bytes
from benchmarks.tfrun_run import run_in
from tfrun.engine.training import loop
from tfrun.files import checkpoints

COST_LENGTH = ["trainer.max_epochs=3", "checkpoint.every_epochs=2"]


@dataclass(frozen=True)
class Mark:
    """The end of a block.

    Attributes:
        seconds: the wall clock.
        cpu_seconds: of this process.
        step: the number of steps so far.
        num_epochs: epochs that ended in the block.
    """

    seconds: float
    cpu_seconds: float
    step: int
    num_epochs: int


@dataclass
class Watch:
    """What is seen of a run from outside.

    Attributes:
        marks: the ends of its blocks.
        begun: when each save began.
        waited: how long training waited at each save.
        written: when each checkpoint was on the disk.
    """

    marks: list[Mark] = field(default_factory=list)
    begun: list[float] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)
    written: list[float] = field(default_factory=list)


def measure(overrides: Sequence[str], *, seconds: float) -> dict[str, Any]:
    """Trains for some seconds; returns what it measured.

    Between the ends of the first and the last block lies everything that a run does but for its last checkpoint.
    """
    watch, record = _run([*overrides, "trainer.max_epochs=null", f"trainer.max_seconds={seconds}"])
    first, last = watch.marks[0], watch.marks[-1]
    steps = last.step - first.step
    return {
        "steps_per_second": steps / (last.seconds - first.seconds),
        "cpu_ms": 1000 * (last.cpu_seconds - first.cpu_seconds) / steps,
        "peak_mb": peak_bytes() / 1e6,
        "in_epochs": steps_per_second(watch.marks),
        "mode": record["engine"]["mode"],
        "tables": {path: how for group in record["groups"] for path, how in group["tables"].items()},
    }


def costs(overrides: Sequence[str]) -> dict[str, Any]:
    """Trains a few epochs, with a checkpoint on the way; returns the seconds of what isn't a step, and the memory."""
    watch, record = _run([*overrides, *COST_LENGTH])
    return {
        "parameters": record["parameters"],
        "build_seconds": record["timing"]["build_seconds"],
        "compile_seconds": record["timing"]["compile_seconds"],
        "epoch_end_seconds": epoch_end_seconds(watch.marks),
        "checkpoint_seconds": watch.written[0] - watch.begun[0],  # a later one would wait for the first
        "waited_seconds": watch.waited[0],
        "peak_mb": peak_bytes() / 1e6,
    }


def steps_per_second(marks: Sequence[Mark]) -> float | None:
    """Returns the rate of blocks in which no epoch ends, or None if there are none.

    Those that follow the end of an epoch are left out too: a checkpoint may be saved before them.
    """
    plain = [
        (end.seconds - start.seconds, end.step - start.step)
        for start, end in itertools.pairwise(marks)
        if not start.num_epochs and not end.num_epochs
    ]
    return sum(steps for _, steps in plain) / sum(seconds for seconds, _ in plain) if plain else None


def epoch_end_seconds(marks: Sequence[Mark]) -> float | None:
    """Returns the median of the seconds that the ends of epochs take: validation, and keeping the best weights.

    It is by this that blocks in which an epoch ends take longer than the others. None if there aren't both kinds.
    """
    rate = steps_per_second(marks)
    ends = [
        (end.seconds - start.seconds - (end.step - start.step) / rate) / end.num_epochs
        for start, end in itertools.pairwise(marks)
        if rate and end.num_epochs and not start.num_epochs
    ]
    return statistics.median(ends) if ends else None


def _run(overrides: Sequence[str]) -> tuple[Watch, dict[str, Any]]:
    watch = Watch()
    with tempfile.TemporaryDirectory() as root, watched(watch):
        return watch, json.loads(run_in(Path(root), overrides).read_text())


@contextlib.contextmanager
def watched(watch: Watch) -> Iterator[None]:
    """Makes runs note their blocks and saves."""
    train, save = loop.train, checkpoints.save

    def watched_train(
        position: Any, plan: Any, *, observers: Sequence[loop.Observer], **options: Any
    ) -> Generator[loop.Block, Any, loop.EndReason]:
        around = [_Before(watch), *observers, _After(watch)]
        return (yield from train(position, plan, observers=around, **options))

    def watched_save(*args: Any, **options: Any) -> Any:
        saved: Any = save(*args, **options)
        watch.written.append(time.perf_counter())
        return saved

    with mock.patch.object(loop, "train", watched_train), mock.patch.object(checkpoints, "save", watched_save):
        yield


@dataclass
class _Before(loop.Observer):
    """Comes before the observers that do something."""

    watch: Watch
    clock: Callable[[], float] = time.perf_counter

    def on_save(self, step: int) -> None:
        self.watch.begun.append(self.clock())


@dataclass
class _After(loop.Observer):
    """Comes after the observers that do something."""

    watch: Watch
    clock: Callable[[], float] = time.perf_counter

    def on_block(self, first_step: int, result: Any) -> None:
        step = first_step + len(result.losses)
        self.watch.marks.append(Mark(self.clock(), time.process_time(), step, len(result.train)))

    def on_save(self, step: int) -> None:
        self.watch.waited.append(self.clock() - self.watch.begun[-1])
