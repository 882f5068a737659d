"""Runs of tfrun as a person starts them, timed from outside."""

from __future__ import annotations

import contextlib
import inspect
import io
import json
import math
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from tensorflow.python.framework.config import disable_op_determinism

from tfrun import cli
from tfrun.engine.training import loop
from tfrun.errors import Interrupted

ENDLESS = ["trainer.max_epochs=null", f"trainer.max_steps={10**9}"]


@dataclass(frozen=True)
class Run:
    """What a run did.

    Attributes:
        rate: steps per second, from its first block's end to the end of its loop.
        rate_in_blocks: steps per second within its blocks.
        first_step_seconds: from the command's start to its first step's end, without TensorFlow's import.
        num_checkpoints: how many it left.
        last_line: the last epoch's metrics.
    """

    rate: float
    rate_in_blocks: float
    first_step_seconds: float
    num_checkpoints: int
    last_line: dict[str, float]


def run_tfrun(words: Sequence[str]) -> Run:
    """Runs the command in this process, its output into a sink."""
    marks: list[tuple[float, int]] = []
    root = Path(tempfile.mkdtemp())
    try:
        mark = lambda step: marks.append((time.perf_counter(), step))  # noqa: E731
        with after_each_block(mark, at_end=True), contextlib.redirect_stdout(io.StringIO()):
            started = time.perf_counter()
            exit_code = cli.main([*words, f"output_root={root}"])
        if exit_code != 0:
            raise SystemExit(f"tfrun {' '.join(words)} ended with exit code {exit_code}")
        (path,) = root.glob("outputs/*/*/run.json")
        run = json.loads(path.read_text())
        lines = (path.parent / "metrics.jsonl").read_text().splitlines()
        (begun, first_step), (ended, last_step) = marks[0], marks[-1]
        return Run(
            (last_step - first_step) / (ended - begun),
            run["timing"]["steps_per_second"] or math.nan,
            begun - started - run["timing"]["import_seconds"],
            len(list((path.parent / "checkpoints").glob("step-*"))),
            next(line for line in map(json.loads, reversed(lines)) if "val/loss" in line),
        )
    finally:
        # tfrun turns it on for the process; the others run without it, as they do by default
        disable_op_determinism()
        shutil.rmtree(root, ignore_errors=True)


def train_for(words: Sequence[str], seconds: float) -> dict[str, Any]:
    """Runs the command in this process and stops it, as Ctrl-C does, so long after its first block.

    Args:
        words: the command's.
        seconds: how long it may train; it may end by itself before.

    Returns:
        The run's `run.json`.
    """
    ends: list[float] = []

    def stop(step: int) -> None:
        if not ends:
            ends.append(time.perf_counter() + seconds)
        elif time.perf_counter() > ends[0]:
            ends[0] = math.inf  # once more would end the process
            signal.raise_signal(signal.SIGINT)

    root, said = Path(tempfile.mkdtemp()), io.StringIO()
    try:
        with after_each_block(stop), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            exit_code = cli.main([*words, f"output_root={root}"])
        if exit_code not in (0, Interrupted(signal.SIGINT, "").exit_code):
            raise SystemExit(f"tfrun {' '.join(words)} ended with exit code {exit_code}: {said.getvalue()}")
        (path,) = root.glob("outputs/*/*/run.json")
        return json.loads(path.read_text())
    finally:
        shutil.rmtree(root, ignore_errors=True)


@contextlib.contextmanager
def after_each_block(call: Callable[[int], None], at_end: bool = False) -> Iterator[None]:
    """Lets runs call `call` with the step they are at, whenever a block has been shown and, if asked, at their end."""
    train = loop.train

    async def watched_train(*args: Any, **kwargs: Any) -> Any:
        bound = inspect.signature(train).bind(*args, **kwargs)
        show, steps = bound.arguments["show"], [0]

        def watched_show(step: int, *rest: Any) -> None:
            show(step, *rest)
            steps.append(step)
            call(step)

        bound.arguments["show"] = watched_show
        ended = await train(*bound.args, **bound.kwargs)
        if at_end:
            call(steps[-1])
        return ended

    with mock.patch.object(loop, "train", watched_train):
        yield
