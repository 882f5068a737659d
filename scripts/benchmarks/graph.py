"""Compares the same function in Python, as a graph and compiled by XLA: one loop, and one training step of each case.

The loop does x ← tanh(W·x) 1,000 times on 32 numbers: much Python and little work, as in
hand-written loops over time steps. A training step is the forward pass, the gradients, the update
of every optimizer and the metrics, on one batch; each mode has its own copy of the model. A round
runs every mode once, one after the other; a ratio is taken within a round.
"""

from __future__ import annotations

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
LOOP_STEPS = 1000
LOOP_SIZE = 32
TOLERANCE = 1e-3  # of the results of the first call, relative

Call = Callable[[], tf.Tensor]  # one loop or one step
MODES: dict[str, Callable[[Call], Call]] = {
    "eager": lambda call: call,
    "graph": lambda call: tf.function(call, autograph=False),
    "XLA": lambda call: tf.function(call, autograph=False, jit_compile=True),
}


def run(*, cases: Sequence[str], rounds: int, json_file: Path | None) -> None:
    """Measures the loop and the cases, prints a table and writes the numbers.

    Args:
        cases: names of cases.
        rounds: how often every mode is timed.
        json_file: where to write the numbers as well.
    """
    written: dict[str, Any] = {"machine": report.machine(), "rounds": rounds, "rows": []}
    report.print_machine(written["machine"])
    written["rows"] += measure("a loop of 1,000", {mode: _loop(mode) for mode in MODES}, rounds=rounds)
    for name in cases:
        folder = Path(tempfile.mkdtemp())
        try:
            overrides = [*CASES[name].write(folder), *CASES[name].overrides]
            steps = {mode: _step(mode, overrides) for mode in MODES}
            written["rows"] += measure(f"a step of {name}", steps, rounds=rounds)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    report.write_json(written, json_file)
    _print(written["rows"])


def _loop(mode: str) -> Call:
    random = np.random.default_rng(0)
    weights = tf.constant(random.normal(size=(LOOP_SIZE, LOOP_SIZE)) / LOOP_SIZE**0.5, tf.float32)
    start = tf.constant(random.normal(size=(LOOP_SIZE, 1)), tf.float32)

    def call() -> tf.Tensor:
        # run eagerly, tf.while_loop is a Python loop; in a graph it is one operation
        _, x = tf.while_loop(
            lambda k, x: k < LOOP_STEPS, lambda k, x: (k + 1, tf.tanh(weights @ x)), (tf.constant(0), start)
        )
        return tf.reduce_sum(x)

    return MODES[mode](call)


def _step(mode: str, overrides: Sequence[str]) -> Call:
    setup = build(overrides)
    x, y = next(batches(setup.first_epoch, setup.batch_size))
    return MODES[mode](lambda: setup.step(x, y))


def measure(what: str, calls: Mapping[str, Call], *, rounds: int) -> list[dict[str, Any]]:
    """Returns a row for each mode: the seconds of the first call and of a later one, and the ratio to eager's rate."""
    first_seconds = {}
    values = {}
    rates: dict[str, list[float]] = {mode: [] for mode in calls}
    for mode, call in calls.items():
        started = time.perf_counter()
        values[mode] = float(call())
        first_seconds[mode] = time.perf_counter() - started
    too_far = {mode: value for mode, value in values.items() if abs(value / values["eager"] - 1) > TOLERANCE}
    if too_far:
        raise SystemExit(f"not the same work: {what} gives {values}")
    for _ in range(rounds):
        for mode, call in calls.items():
            count = 0
            started = time.perf_counter()
            while time.perf_counter() - started < SECONDS:
                call().numpy()
                count += 1
            rates[mode].append(count / (time.perf_counter() - started))
    return [
        {
            "what": what,
            "mode": mode,
            "first_call_seconds": first_seconds[mode],
            "milliseconds": 1e3 / statistics.median(mode_rates),
            "ratio": spread([rate / eager for rate, eager in zip(mode_rates, rates["eager"], strict=True)]),
        }
        for mode, mode_rates in rates.items()
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
