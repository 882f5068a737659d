"""Runs tfrun as a person does, and times it from outside."""

from __future__ import annotations

import contextlib
import io
import json
import math
import multiprocessing
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from tensorflow.python.framework.config import disable_op_determinism

from tfrun import cli
from tfrun.engine.training import loop
from tfrun.errors import Interrupted

ENDLESS = ["trainer.max_epochs=null", f"trainer.max_steps={10**9}"]


@dataclass(frozen=True, kw_only=True)
class Run:
    """Measurements of a run that ended.

    Attributes:
        rate: steps per second from the end of its first block to the end of its loop.
        rate_in_blocks: steps per second within its blocks.
        first_step_seconds: from the start of the command to the end of the first step, without TensorFlow's import.
        num_checkpoints: in its folder at the end.
        last_line: the last epoch's metrics.
    """

    rate: float
    rate_in_blocks: float
    first_step_seconds: float
    num_checkpoints: int
    last_line: dict[str, float]


def in_fresh_process(function: Callable[..., Any], *args: Any) -> Any:
    """Calls a function in a process of its own, which has imported TensorFlow but not started it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.tfrun_run"])  # TensorFlow is imported once for all
    with ProcessPoolExecutor(1, context, max_tasks_per_child=1) as process:
        return process.submit(function, *args).result()


def run_tfrun(overrides: Sequence[str]) -> Run:
    """Runs the command in this process; its output is dropped."""
    marks: list[tuple[float, int]] = []
    root = Path(tempfile.mkdtemp())
    try:
        with after_each_block(lambda step: marks.append((time.perf_counter(), step)), at_end=True):
            started = time.perf_counter()
            path = run_in(root, overrides)
        run = json.loads(path.read_text())
        lines = (path.parent / "metrics.jsonl").read_text().splitlines()
        first_seconds, first_step = marks[0]
        last_seconds, last_step = marks[-1]
        return Run(
            rate=(last_step - first_step) / (last_seconds - first_seconds),
            rate_in_blocks=run["timing"]["steps_per_second"] or math.nan,
            first_step_seconds=first_seconds - started - run["timing"]["import_seconds"],
            num_checkpoints=len(list((path.parent / "checkpoints").glob("step-*"))),
            last_line=next(line for line in map(json.loads, reversed(lines)) if "val/loss" in line),
        )
    finally:
        # tfrun enables it for the whole process; the other contenders run with TensorFlow's default
        disable_op_determinism()
        shutil.rmtree(root, ignore_errors=True)


def run_in(root: Path, overrides: Sequence[str]) -> Path:
    """Runs the command in this process, its output dropped and its folder below `root`; returns its run.json."""
    with contextlib.redirect_stdout(io.StringIO()):
        exit_code = cli.main([*overrides, f"output_root={root}"])
    if exit_code != 0:
        raise SystemExit(f"tfrun {' '.join(overrides)} ended with exit code {exit_code}")
    (path,) = root.glob("outputs/*/*/run.json")
    return path


def train_for(overrides: Sequence[str], seconds: float) -> dict[str, Any]:
    """Runs the command in this process and stops it, as Ctrl-C does, some seconds after its first block.

    Args:
        overrides: of the run.
        seconds: the longest time to train; the run may end earlier.

    Returns:
        The run's `run.json`.
    """
    ends: list[float] = []

    def stop(step: int) -> None:
        if not ends:
            ends.append(time.perf_counter() + seconds)
        elif time.perf_counter() > ends[0]:
            ends[0] = math.inf  # a second signal would end this process
            signal.raise_signal(signal.SIGINT)

    root = Path(tempfile.mkdtemp())
    output = io.StringIO()
    try:
        with after_each_block(stop), contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            exit_code = cli.main([*overrides, f"output_root={root}"])
        if exit_code not in (0, Interrupted(signal.SIGINT, "").exit_code):
            raise SystemExit(f"tfrun {' '.join(overrides)} ended with exit code {exit_code}: {output.getvalue()}")
        (path,) = root.glob("outputs/*/*/run.json")
        return json.loads(path.read_text())
    finally:
        shutil.rmtree(root, ignore_errors=True)


@contextlib.contextmanager
def after_each_block(call: Callable[[int], None], at_end: bool = False) -> Iterator[None]:
    """Makes runs call `call` with their step after each block and, if asked, once more at their end."""
    train = loop.train

    def watched_train(
        position: Any, plan: Any, *, observers: Sequence[loop.Observer], **options: Any
    ) -> Generator[loop.Block, Any, loop.EndReason]:
        watcher = _Watcher(call)
        reason = yield from train(position, plan, observers=[*observers, watcher], **options)
        if at_end:
            call(watcher.step)
        return reason

    with mock.patch.object(loop, "train", watched_train):
        yield


class _Watcher(loop.Observer):
    """Calls a function with the run's step after each block."""

    def __init__(self, call: Callable[[int], None]):
        self.step = 0
        self._call = call

    def on_block(self, first_step: int, result: Any) -> None:
        self.step = first_step + len(result.losses)
        self._call(self.step)
