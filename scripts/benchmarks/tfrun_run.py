"""A run of tfrun as a person starts it, timed from outside."""

from __future__ import annotations

import contextlib
import inspect
import io
import json
import math
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from tensorflow.python.framework.config import disable_op_determinism

from tfrun import cli
from tfrun.engine import loop


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
    train = loop.train

    def marked_train(*args: Any, **kwargs: Any) -> Any:
        call = inspect.signature(train).bind(*args, **kwargs)
        show = call.arguments["show"]

        def marked_show(step: int, *rest: Any) -> None:
            show(step, *rest)
            marks.append((time.perf_counter(), step))

        call.arguments["show"] = marked_show
        ended = train(*call.args, **call.kwargs)
        marks.append((time.perf_counter(), marks[-1][1]))
        return ended

    root = Path(tempfile.mkdtemp())
    try:
        with mock.patch.object(loop, "train", marked_train), contextlib.redirect_stdout(io.StringIO()):
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
