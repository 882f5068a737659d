"""The same function in Python, as a graph and as XLA's program: one loop, and one training step of each case.

The loop is 1,000 times x ← tanh(W·x), on 32 numbers: much Python and little work, as hand-written loops over time steps
are. A training step is forward, gradients, every optimizer's update and the metrics, on one batch; each mode has its
own copy of the model. A round runs every mode once, one after the other; a ratio is taken within a round.
"""

from __future__ import annotations

import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from rich.table import Table

from benchmarks import report
from benchmarks.cases import CASES
from benchmarks.results import spread
from benchmarks.setup import batches, build

SECONDS = 0.5  # of each mode in a round
LOOP_STEPS, LOOP_SIZE = 1000, 32
TOLERANCE = 1e-3  # of what the modes give after the first call, relative

Call = Callable[[], tf.Tensor]  # one loop or one step
MODES: dict[str, Callable[[Call], Call]] = {
    "eager": lambda call: call,
    "graph": lambda call: tf.function(call, autograph=False),
    "XLA": lambda call: tf.function(call, autograph=False, jit_compile=True),
}


def run(names: Sequence[str], rounds: int, json_file: Path | None) -> None:
    """Measures the loop and the cases, prints a table and writes the numbers.

    Args:
        names: the cases'.
        rounds: how often every mode is timed.
        json_file: where to write the numbers as well.
    """
    written: dict[str, Any] = {"machine": report.machine(), "rounds": rounds, "rows": []}
    report.print_machine(written["machine"])
    written["rows"] += measure("a loop of 1,000", {mode: _loop(mode) for mode in MODES}, rounds)
    for name in names:
        folder = Path(tempfile.mkdtemp())
        try:
            words = [*CASES[name].write(folder), *CASES[name].words]
            written["rows"] += measure(f"a step of {name}", {mode: _step(mode, words) for mode in MODES}, rounds)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    if json_file:
        json_file.write_text(json.dumps(written, indent=1) + "\n")
    _print(written["rows"])


def _loop(mode: str) -> Call:
    random = np.random.default_rng(0)
    weights = tf.constant(random.normal(size=(LOOP_SIZE, LOOP_SIZE)) / LOOP_SIZE**0.5, tf.float32)
    start = tf.constant(random.normal(size=(LOOP_SIZE, 1)), tf.float32)

    def call() -> tf.Tensor:
        # in Python this is a Python loop, else one operation
        _, x = tf.while_loop(
            lambda k, x: k < LOOP_STEPS, lambda k, x: (k + 1, tf.tanh(weights @ x)), (tf.constant(0), start)
        )
        return tf.reduce_sum(x)

    return MODES[mode](call)


def _step(mode: str, words: Sequence[str]) -> Call:
    setup = build(words)
    x, y = next(batches(setup.first_epoch, setup.batch_size))
    return MODES[mode](lambda: setup.step(x, y))


def measure(what: str, calls: Mapping[str, Call], rounds: int) -> list[dict[str, Any]]:
    """Returns a row for each mode: its first call's seconds, its calls per second, and those by eager's."""
    first, values, rates = {}, {}, {mode: list[float]() for mode in calls}
    for mode, call in calls.items():
        started = time.perf_counter()
        values[mode] = float(call())
        first[mode] = time.perf_counter() - started
    far = {mode: value for mode, value in values.items() if abs(value / values["eager"] - 1) > TOLERANCE}
    if far:
        raise SystemExit(f"not the same work: {what} gives {values}")
    for _ in range(rounds):
        for mode, call in calls.items():
            count, started = 0, time.perf_counter()
            while time.perf_counter() - started < SECONDS:
                call().numpy()
                count += 1
            rates[mode].append(count / (time.perf_counter() - started))
    return [
        {
            "what": what,
            "mode": mode,
            "first_call_seconds": first[mode],
            "milliseconds": 1e3 / statistics.median(own),
            "ratio": spread([rate / eager for rate, eager in zip(own, rates["eager"], strict=True)]),
        }
        for mode, own in rates.items()
    ]


def _print(rows: Sequence[Mapping[str, Any]]) -> None:
    table = Table(title="one function in Python, as a graph and by XLA", title_justify="left")
    for k, head in enumerate(["", "mode", "first call s", "ms a call", "× eager", "least..greatest"]):
        table.add_column(head, justify="left" if k < 2 else "right", no_wrap=True)
    for row in rows:
        ratio = row["ratio"]
        table.add_row(
            row["what"],
            row["mode"],
            f"{row['first_call_seconds']:.2f}",
            f"{row['milliseconds']:.2f}",
            f"{ratio['median']:.2f}",
            f"{ratio['least']:.2f}..{ratio['greatest']:.2f}",
        )
    report.console.print(table)
