"""How cost grows: steps per second over batch size, model size and rows, and where the compute limit takes over.

A point is a run of tfrun in XLA's loop without validation, stopped after a while; its rate is that within its blocks.
The limit is that of large matrix products compiled by XLA in the same process. A step's own work is counted as 6
operations for each parameter and example: a multiplication and an addition, forward, for the weights' gradient and for
the inputs'.

The limit takes over where a step takes twice as long as the sweep's shortest: from about there on, twice the work is
twice the time.
"""

from __future__ import annotations

import json
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
from benchmarks.tfrun_run import ENDLESS, train_for

SECONDS, QUICK_SECONDS = 1.5, 0.2  # of each run and of each matrix product
RESIDENT_MLP = ["model=mlp", "model.hidden_units=[30,30]", "loss=huber", "data.residency=device"]
NO_VALIDATION = ["data.validation_split=0", "data.test_split=0", "checkpoint.monitor=train/loss"]
BATCH_SIZES = [2**k for k in range(3, 14)]
WIDTHS = [2**k for k in range(4, 12)]
ROWS = [10**k for k in range(3, 8)]
PRODUCTS = [(512, 512, 512), (512, 2048, 2048), (8192, 256, 256), (2048, 2048, 2048)]
TAKES_OVER = 2.0  # times the shortest step
COLOURS = ["#0b5fa5", "#c2410c"]


@dataclass(frozen=True)
class Point:
    """A run of a sweep.

    Attributes:
        sweep: what grows.
        line: the sweep's line in the plot that it belongs to.
        size: how much of it there is.
        batch_size: rows of a step.
        words: the overrides.
    """

    sweep: str
    line: str
    size: int
    batch_size: int
    words: Sequence[str]


def run(quick: bool, json_file: Path | None, plot_file: Path | None) -> None:
    """Measures the sweeps, prints a table of each, writes the numbers and draws them.

    Args:
        quick: whether to see that it works, not how fast it is: each sweep's ends, for a moment.
        json_file: where to write the numbers as well.
        plot_file: where to draw them, an SVG.
    """
    if plot_file:
        pyplot()  # what is missing is told before anything is measured
    seconds = QUICK_SECONDS if quick else SECONDS
    written: dict[str, Any] = {"machine": report.machine(), "matmul_gflops": matmul_gflops(seconds)}
    report.print_machine(written["machine"])
    report.console.print(f"matrix products: {written['matmul_gflops']:,.0f} GFLOP/s")
    rows = written["rows"] = []
    folder = Path(tempfile.mkdtemp())
    try:
        for sweep, points in sweeps(folder, quick).items():
            lines = [row for line in points for row in measured(line, seconds, written["matmul_gflops"])]
            print_table(sweep, lines)
            rows += lines
            if json_file:
                json_file.write_text(json.dumps(written, indent=1) + "\n")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if plot_file:
        plot(written, plot_file)


def sweeps(folder: Path, quick: bool) -> dict[str, list[Iterator[Point]]]:
    """Returns the lines of points of each sweep, by its name; their data is written into the folder."""

    def some(sizes: list[int]) -> list[int]:
        return [sizes[0], sizes[-3]] if quick else sizes

    numbers = [*write_numbers(folder), "loss=huber", *NO_VALIDATION]

    def batch_sizes() -> Iterator[Point]:
        for size in some(BATCH_SIZES):
            words = [*numbers, "model=wide_deep", f"data.batch_size={size}"]
            yield Point("batch size", "wide_deep", size, size, words)

    def widths(batch_size: int) -> Iterator[Point]:
        for size in some(WIDTHS):
            words = [*numbers, "model=mlp", f"model.hidden_units=[{size},{size}]", f"data.batch_size={batch_size}"]
            yield Point("units of each layer", f"mlp, batch {batch_size}", size, batch_size, words)

    def rows() -> Iterator[Point]:
        for size in some(ROWS):
            words = [*write_rows(folder, size), *RESIDENT_MLP, *NO_VALIDATION]
            yield Point("rows", "mlp, batch 32", size, 32, words)

    return {"batch size": [batch_sizes()], "units of each layer": [widths(32), widths(512)], "rows": [rows()]}


def write_rows(folder: Path, count: int) -> list[str]:
    """Writes so many rows of 8 normal numbers and a smooth target of them; returns the overrides that name them."""
    random = np.random.default_rng(0)
    x = random.standard_normal((count, 8), dtype="float32")
    path = folder / "rows.npz"
    np.savez(path, x=x, y=np.tanh(x.sum(axis=1)))
    return ["data=npz", f"data.path={path}"]


def measured(points: Iterator[Point], seconds: float, matmul_gflops: float) -> list[dict[str, Any]]:
    """Runs a line of points and returns its rows."""
    rows = []
    for point in points:
        record = train_for([*point.words, *ENDLESS, "trainer.compile=xla"], seconds)
        rate, parameters = record["timing"]["steps_per_second"], record["parameters"]
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
    """Returns the most that a large matrix product compiled by XLA reached, in 10⁹ operations per second."""
    multiply = tf.function(tf.matmul, jit_compile=True)
    best = 0.0
    for rows, inner, columns in PRODUCTS:
        a, b = tf.random.normal([rows, inner]), tf.random.normal([inner, columns])
        ends = time.perf_counter() + seconds
        while time.perf_counter() < ends:  # the first call compiles, and is never the best
            started = time.perf_counter()
            float(multiply(a, b)[0, 0])  # waits for the device
            best = max(best, 2e-9 * rows * inner * columns / (time.perf_counter() - started))
    return best


def takes_over(rows: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Returns the first row of a line, behind its shortest step, whose step takes TAKES_OVER times as long."""
    shortest = min(range(len(rows)), key=lambda k: rows[k]["times_the_shortest_step"])
    return next((row for row in rows[shortest:] if row["times_the_shortest_step"] >= TAKES_OVER), None)


def lines_of(rows: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Returns the rows of each line, by its name."""
    return {line: [row for row in rows if row["line"] == line] for line in dict.fromkeys(row["line"] for row in rows)}


def print_table(sweep: str, rows: Sequence[dict[str, Any]]) -> None:
    """Prints a sweep."""
    heads = ["steps/s", "examples/s", "parameters", "GFLOP/s", "of matmul", "step ÷ shortest"]
    for line, own in lines_of(rows).items():
        table = Table(title=f"{line}: {sweep}", title_justify="left")
        for head in [sweep, *heads, ""]:
            table.add_column(head, justify="right", no_wrap=True)
        turn = takes_over(own)
        for row in own:
            table.add_row(
                f"{row['size']:,}",
                f"{row['steps_per_second']:,.0f}",
                f"{row['examples_per_second']:,.0f}",
                f"{row['parameters']:,}",
                f"{row['gflops']:,.2f}",
                f"{row['share_of_matmul']:.1%}",
                f"{row['times_the_shortest_step']:.2f}",
                "from here on the compute limit" if row is turn else "",
            )
        report.console.print(table)


def pyplot() -> Any:
    """Returns matplotlib's pyplot, drawing into files."""
    try:
        import matplotlib
    except ImportError:
        raise SystemExit("--plot needs matplotlib: pip install matplotlib") from None
    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "tfrun", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot

    return pyplot


def plot(written: dict[str, Any], file: Path) -> None:
    """Draws steps per second over what grows, and what the matrix products alone would allow."""
    by_sweep: dict[str, list[dict[str, Any]]] = {}
    for row in written["rows"]:
        by_sweep.setdefault(row["sweep"], []).append(row)
    figure, panels = pyplot().subplots(1, len(by_sweep), figsize=(10, 3.2), sharey=True, layout="constrained")
    for panel, (sweep, rows) in zip(panels, by_sweep.items(), strict=True):
        for colour, (line, own) in zip(COLOURS, lines_of(rows).items(), strict=False):
            sizes, rates = [row["size"] for row in own], [row["steps_per_second"] for row in own]
            panel.loglog(sizes, rates, "o-", color=colour, markersize=3, label=line)
            if sweep != "rows":  # they don't change the work of a step
                limits = [row["steps_per_second"] / row["share_of_matmul"] for row in own]
                panel.loglog(sizes, limits, "--", color=colour, linewidth=0.8, label="matrix products alone")
            turn = takes_over(own)
            if turn:
                at, ring = (turn["size"], turn["steps_per_second"]), {"markersize": 9, "fillstyle": "none"}
                panel.plot(*at, "o", color=colour, **ring, label=f"from {at[0]:,} on the compute limit")
        panel.set_xlabel({"rows": "rows of data", "batch size": "batch size (examples per step)"}.get(sweep, sweep))
        panel.grid(color="#dddddd", linewidth=0.5)
        panel.legend(fontsize=7, loc="lower left")
    rates = [row["steps_per_second"] for row in written["rows"]]
    panels[0].set_ylim(min(rates) / 30, max(rates) * 4)  # room for legends; the limit of a small model is far above
    panels[0].set_ylabel("steps per second")
    figure.savefig(file, format="svg", metadata={"Date": None})
