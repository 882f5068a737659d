"""Measures how cost grows: steps per second over batch size, model size and rows, and where the compute limit begins.

A point is a run of tfrun in XLA's loop without validation, stopped after a while; its rate is the
one within its blocks. The limit is the rate of large matrix products compiled by XLA in the same
process. The work of a step is counted as 6 operations per parameter and example: one multiplication
and one addition each for the forward pass, for the gradient of the weights and for the gradient of
the inputs.

The compute limit begins where a step takes twice as long as the shortest step of its line: from
about there on, twice the work takes twice the time.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from rich.table import Table

from benchmarks import report
from benchmarks.cases import write_numbers
from benchmarks.plots import pyplot
from benchmarks.tfrun_run import ENDLESS, in_fresh_process, train_for

SECONDS = 1.5  # of each run and of each matrix product
QUICK_SECONDS = 0.2
RESIDENT_MLP = ["model=mlp", "model.hidden_units=[30,30]", "loss=huber", "data.residency=device"]
NO_VALIDATION = ["data.validation_split=0", "data.test_split=0", "checkpoint.monitor=train/loss"]
BATCH_SIZES = [2**k for k in range(3, 14)]
WIDTHS = [2**k for k in range(4, 12)]
ROWS = [10**k for k in range(3, 8)]
PRODUCTS = [(512, 512, 512), (512, 2048, 2048), (8192, 256, 256), (2048, 2048, 2048)]
LIMIT_BEGINS = 2.0  # times the shortest step
COLOURS = ["#0b5fa5", "#c2410c"]


@dataclass(frozen=True, kw_only=True)
class Point:
    """A run of a sweep.

    Attributes:
        sweep: the quantity that grows.
        line: the name of its line in the plot.
        size: the quantity's value.
        batch_size: rows of a step.
        overrides: the overrides.
    """

    sweep: str
    line: str
    size: int
    batch_size: int
    overrides: Sequence[str]


def run(*, quick: bool, json_file: Path | None, plot_file: Path | None) -> None:
    """Measures the sweeps, prints a table of each, writes the numbers and draws them.

    Args:
        quick: whether to do two short points of each line, to see that everything works.
        json_file: where to write the numbers as well.
        plot_file: where to draw an SVG.
    """
    if plot_file:
        pyplot()  # fails before anything is measured if matplotlib is missing
    seconds = QUICK_SECONDS if quick else SECONDS
    written: dict[str, Any] = {"machine": report.machine(), "matmul_gflops": matmul_gflops(seconds)}
    report.print_machine(written["machine"])
    report.console.print(f"matrix products: {written['matmul_gflops']:,.0f} GFLOP/s")
    rows = written["rows"] = []
    folder = Path(tempfile.mkdtemp())
    try:
        for sweep, points in sweeps(folder, quick).items():
            new_rows = [
                row
                for line in points
                for row in measured(line, seconds=seconds, matmul_gflops=written["matmul_gflops"])
            ]
            print_table(sweep, new_rows)
            rows += new_rows
            report.write_json(written, json_file)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if plot_file:
        plot(written, plot_file)


def sweeps(folder: Path, quick: bool) -> dict[str, list[Iterator[Point]]]:
    """Returns the lines of each sweep, by its name; iterating over a line writes its data into the folder."""

    def chosen(sizes: list[int]) -> list[int]:
        return [sizes[0], sizes[-3]] if quick else sizes

    numbers = [*write_numbers(folder), "loss=huber", *NO_VALIDATION]

    def batch_sizes() -> Iterator[Point]:
        for size in chosen(BATCH_SIZES):
            overrides = [*numbers, "model=wide_deep", f"data.batch_size={size}"]
            yield Point(sweep="batch size", line="wide_deep", size=size, batch_size=size, overrides=overrides)

    def widths(batch_size: int) -> Iterator[Point]:
        for size in chosen(WIDTHS):
            hidden = f"model.hidden_units=[{size},{size}]"
            overrides = [*numbers, "model=mlp", hidden, f"data.batch_size={batch_size}"]
            line = f"mlp, batch {batch_size}"
            yield Point(sweep="units of each layer", line=line, size=size, batch_size=batch_size, overrides=overrides)

    def rows() -> Iterator[Point]:
        for size in chosen(ROWS):
            overrides = [*write_rows(folder, size), *RESIDENT_MLP, *NO_VALIDATION]
            yield Point(sweep="rows", line="mlp, batch 32", size=size, batch_size=32, overrides=overrides)

    return {"batch size": [batch_sizes()], "units of each layer": [widths(32), widths(512)], "rows": [rows()]}


def write_rows(folder: Path, count: int) -> list[str]:
    """Writes `count` rows of 8 normally distributed numbers and a smooth target; returns the overrides for them."""
    random = np.random.default_rng(0)
    x = random.standard_normal((count, 8), dtype="float32")
    path = folder / "rows.npz"
    np.savez(path, x=x, y=np.tanh(x.sum(axis=1)))
    return ["data=npz", f"data.path={path}"]


def measured(points: Iterator[Point], *, seconds: float, matmul_gflops: float) -> list[dict[str, Any]]:
    """Runs a line of points and returns its rows."""
    rows = []
    for point in points:
        record = in_fresh_process(train_for, [*point.overrides, *ENDLESS, "trainer.compile=xla"], seconds)
        rate = record["timing"]["steps_per_second"]
        parameters = record["parameters"]
        gflops = 6e-9 * parameters * point.batch_size * rate
        rows.append(
            {
                "sweep": point.sweep,
                "line": point.line,
                "size": point.size,
                "batch_size": point.batch_size,
                "parameters": parameters,
                "steps_per_second": rate,
                "examples_per_second": rate * point.batch_size,
                "gflops": gflops,
                "share_of_matmul": gflops / matmul_gflops,
            }
        )
    fastest = max(row["steps_per_second"] for row in rows)
    for row in rows:
        row["times_the_shortest_step"] = fastest / row["steps_per_second"]
    return rows


def matmul_gflops(seconds: float) -> float:
    """Returns the best rate of a large matrix product compiled by XLA, in 10⁹ operations per second."""
    multiply = tf.function(tf.matmul, jit_compile=True)
    best = 0.0
    for rows, inner, columns in PRODUCTS:
        a, b = tf.random.normal([rows, inner]), tf.random.normal([inner, columns])
        ends = time.perf_counter() + seconds
        while time.perf_counter() < ends:  # the first call compiles, so it is never the best one
            started = time.perf_counter()
            float(multiply(a, b)[0, 0])  # waits for the device
            best = max(best, 2e-9 * rows * inner * columns / (time.perf_counter() - started))
    return best


def limit_begins(rows: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Returns the first row after a line's shortest step whose step takes LIMIT_BEGINS times as long, or None."""
    shortest = min(range(len(rows)), key=lambda k: rows[k]["times_the_shortest_step"])
    return next((row for row in rows[shortest:] if row["times_the_shortest_step"] >= LIMIT_BEGINS), None)


def lines_of(rows: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Returns the rows of each line, by its name."""
    return {line: [row for row in rows if row["line"] == line] for line in dict.fromkeys(row["line"] for row in rows)}


def print_table(sweep: str, rows: Sequence[dict[str, Any]]) -> None:
    """Prints a table for each line of a sweep."""
    heads = ["steps/s", "examples/s", "parameters", "GFLOP/s", "of matmul", "step ÷ shortest"]
    for line, line_rows in lines_of(rows).items():
        table = Table(title=f"{line}: {sweep}", title_justify="left")
        for head in [sweep, *heads, ""]:
            table.add_column(head, justify="right", no_wrap=True)
        limit = limit_begins(line_rows)
        for row in line_rows:
            table.add_row(
                f"{row['size']:,}",
                f"{row['steps_per_second']:,.0f}",
                f"{row['examples_per_second']:,.0f}",
                f"{row['parameters']:,}",
                f"{row['gflops']:,.2f}",
                f"{row['share_of_matmul']:.1%}",
                f"{row['times_the_shortest_step']:.2f}",
                "from here on the compute limit" if row is limit else "",
            )
        report.console.print(table)


def plot(written: dict[str, Any], file: Path) -> None:
    """Draws steps per second over the growing quantity, and the limit that matrix products alone would set."""
    by_sweep: dict[str, list[dict[str, Any]]] = {}
    for row in written["rows"]:
        by_sweep.setdefault(row["sweep"], []).append(row)
    figure, panels = pyplot().subplots(1, len(by_sweep), figsize=(10, 3.2), sharey=True, layout="constrained")
    for panel, (sweep, rows) in zip(panels, by_sweep.items(), strict=True):
        for colour, (line, line_rows) in zip(COLOURS, lines_of(rows).items(), strict=False):
            sizes = [row["size"] for row in line_rows]
            rates = [row["steps_per_second"] for row in line_rows]
            panel.loglog(sizes, rates, "o-", color=colour, markersize=3, label=line)
            if sweep != "rows":  # more rows don't change the work of a step
                limits = [row["steps_per_second"] / row["share_of_matmul"] for row in line_rows]
                panel.loglog(sizes, limits, "--", color=colour, linewidth=0.8, label="matrix products alone")
            limit = limit_begins(line_rows)
            if limit:
                size, rate = limit["size"], limit["steps_per_second"]
                label = f"from {size:,} on the compute limit"
                panel.plot(size, rate, "o", color=colour, markersize=9, fillstyle="none", label=label)
        panel.set_xlabel({"rows": "rows of data", "batch size": "batch size (examples per step)"}.get(sweep, sweep))
        panel.grid(color="#dddddd", linewidth=0.5)
        panel.legend(fontsize=7, loc="lower left")
    rates = [row["steps_per_second"] for row in written["rows"]]
    panels[0].set_ylim(min(rates) / 30, max(rates) * 4)  # room for legends; a small model's limit is far above
    panels[0].set_ylabel("steps per second")
    figure.savefig(file, format="svg", metadata={"Date": None})
