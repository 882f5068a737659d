"""How much memory a run takes beyond TensorFlow's own, and whether a process grows with its epochs and trials.

Each measurement has a fresh process. "from" is the peak of a process that imports TensorFlow and multiplies two
matrices, "to" the run's peak, and the ratio is their difference by the data: the larger one of the raw table and the
encoded examples. Where growth is measured, "from" and "to" are what is resident early and at the end.

The fresh processes import this file: its head imports nothing large.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import multiprocessing
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.cases import write_numbers
from benchmarks.machine import peak_bytes

COLUMNS, CSV_COLUMNS = 250, 20  # of the .npz file, a kilobyte a row, and of the CSV file
PIECE_ROWS = 100_000  # written at once
FEW_STEPS = "trainer.max_steps=20"
WIDE_DEEP = ["model=wide_deep", "loss=huber", "trainer.compile=xla"]
FLAT, STREAM_PEAK = 1.02, 2e9  # what is wanted: to ÷ from, and bytes


def run(quick: bool, json_file: Path | None) -> None:
    """Measures memory, prints a table and writes the numbers.

    Args:
        quick: whether to see that it works, with little data.
        json_file: where to write the numbers as well.
    """
    from benchmarks import report  # it imports TensorFlow

    written: dict[str, Any] = {"machine": report.machine(), "quick": quick, "rows": []}
    report.print_machine(written["machine"])
    folder = Path(tempfile.mkdtemp())
    try:
        for row in rows(folder, quick):
            written["rows"].append(row)
            if json_file:
                json_file.write_text(json.dumps(written, indent=1) + "\n")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print_table(written["rows"])


def rows(folder: Path, quick: bool) -> Iterator[dict[str, Any]]:
    """Yields the table's rows as they are measured; data lie in the folder while they are needed."""
    baseline = alone(baseline_peak)
    yield row("TensorFlow and a matrix product", to=baseline)
    yield row("the same, with pyarrow", baseline, alone(baseline_peak, ["pyarrow.csv"]))
    yield row("tfrun without an argument", baseline, alone(run_peak, [f"output_root={folder}"]))

    def peak(what: str, words: list[str], data_bytes: float, target: str = "") -> dict[str, Any]:
        to = alone(run_peak, [*words, "model=mlp", "loss=huber", f"output_root={folder}"])
        for file in (*folder.glob("*.npz"), *folder.glob("*.csv")):
            file.unlink()
        return row(what, baseline, to, data_bytes, target=target)

    count = 50_000 if quick else 1_000_000
    words = write_npz(folder / "x.npz", count)
    yield peak(f".npz of {count:,} × {COLUMNS}, on the device", [*words, FEW_STEPS], npz_bytes(count))
    count = 50_000 if quick else 2_000_000
    words = write_csv(folder / "x.csv", count)
    raw_bytes = 8 * count * (CSV_COLUMNS + 1)
    yield peak(f"CSV of {count:,} × {CSV_COLUMNS}, on the device", [*words, FEW_STEPS], raw_bytes)

    count = 200_000 if quick else 10_000_000
    what = f".npz of {count:,} × {COLUMNS}, streaming"
    free = shutil.disk_usage(folder).free
    if free < 1.1 * npz_bytes(count):
        print(f"{what}: left out, {folder} has {free / 1e9:,.1f} GB left")
    else:
        words = [*write_npz(folder / "x.npz", count), "data.residency=stream", "trainer.max_steps=300"]
        yield peak(what, words, npz_bytes(count), target=f"to < {STREAM_PEAK / 1e6:,.0f} MB")

    words = [*write_numbers(folder), *WIDE_DEEP, f"output_root={folder}"]
    flat, epochs = f"ratio ≤ {FLAT}", 200 if quick else 1000
    early, end = alone(resident_over_epochs, [*words, f"trainer.max_epochs={epochs}"], epochs, epochs // 10)
    yield row(f"a run, after epoch {epochs // 10} and {epochs:,}", early, end, target=flat)

    for what, trials, target in (
        ("trials", [[*words, *numbers(k)] for k in range(20 if quick else 200)], flat),
        ("models of other sizes", [[*words, *size(k)] for k in range(10 if quick else 30)], ""),
    ):
        after, first = alone(resident_over_trials, trials), max(5, len(trials) // 10)
        yield row(f"{what}, after {first} and {len(trials)}", after[first - 1], after[-1], target=target)


def row(what: str, from_: int | None = None, to: int = 0, data_bytes: float = 0, target: str = "") -> dict[str, Any]:
    """Returns a row of the table; the ratio is to the data, or without data to what there was before."""
    growth = ratio = None
    if from_ is not None:
        growth = to - from_
        ratio = growth / data_bytes if data_bytes else to / from_
    return {
        "what": what,
        "data_mb": data_bytes / 1e6 or None,
        "from_mb": from_ and from_ / 1e6,
        "to_mb": to / 1e6,
        "growth_mb": None if growth is None else growth / 1e6,
        "ratio": ratio,
        "target": target,
    }


def numbers(k: int) -> list[str]:
    """Returns the k-th trial of one structure."""
    rate = f"optimizer.groups.deep.learning_rate={1e-3 / (1 + 0.01 * k):.6g}"
    return ["trainer.max_epochs=1", rate, f"seed={k}", f"loss.delta={1 + 0.01 * k:.6g}"]


def size(k: int) -> list[str]:
    """Returns the k-th trial of other structures."""
    return ["trainer.max_epochs=1", f"model.hidden_units=[{30 + k},30]"]


def npz_bytes(count: int) -> int:
    """Returns the size of so many rows of the .npz file with their targets."""
    return 4 * count * COLUMNS + 8 * count


def write_npz(path: Path, count: int) -> list[str]:
    """Writes so many rows, a piece at a time; returns the overrides that name them."""
    random = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as archive:
        with archive.open("x.npy", "w", force_zip64=True) as file:
            header = {"descr": "<f4", "fortran_order": False, "shape": (count, COLUMNS)}
            np.lib.format.write_array_header_2_0(file, header)
            for start in range(0, count, PIECE_ROWS):
                piece = random.standard_normal((min(PIECE_ROWS, count - start), COLUMNS), dtype="float32")
                file.write(piece.data)
        with archive.open("y.npy", "w") as file:
            np.lib.format.write_array(file, random.standard_normal(count))
    return ["data=npz", f"data.path={path}"]


def write_csv(path: Path, count: int) -> list[str]:
    """Writes so many rows; returns the overrides that name them."""
    import pyarrow as pa
    from pyarrow import csv

    random = np.random.default_rng(0)
    names = [*(f"x{k}" for k in range(CSV_COLUMNS)), "y"]
    csv.write_csv(pa.table({name: random.standard_normal(count, dtype="float32") for name in names}), path)
    return ["data=csv", f"data.path={path}", "data.target=y"]


def alone(function: Callable[..., Any], *args: Any) -> Any:
    """Returns what a function of this file gives in a fresh process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(function, *args).result()


def baseline_peak(modules: Sequence[str] = ()) -> int:
    """Returns the peak in bytes of TensorFlow, its first operation and other modules."""
    for module in modules:
        importlib.import_module(module)
    import tensorflow as tf

    float(tf.linalg.matmul(tf.ones([8, 8]), tf.ones([8, 8]))[0, 0])
    return peak_bytes()


def run_peak(words: Sequence[str]) -> int:
    """Returns the peak in bytes of a command."""
    _run(words)
    return peak_bytes()


def resident_over_epochs(words: Sequence[str], epochs: int, early: int) -> tuple[int, int]:
    """Returns the bytes resident after an early epoch of a command, and after its last one."""
    from tfrun.engine.recording.progress import Display

    update, after = Display.update, {}

    def noted(self: Display, step: int, *rest: Any) -> None:
        update(self, step, *rest)
        after[step] = resident_bytes()

    with mock.patch.object(Display, "update", noted):
        _run(words)
    last = max(after)
    return next(after[step] for step in sorted(after) if step * epochs >= last * early), after[last]


def resident_over_trials(trials: Sequence[Sequence[str]]) -> list[int]:
    """Returns the bytes resident after each of the commands."""
    after = []
    for words in trials:
        _run(words)
        after.append(resident_bytes())
    return after


def resident_bytes() -> int:
    """Returns the memory that this process has resident now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _run(words: Sequence[str]) -> None:
    from tfrun import cli

    with contextlib.redirect_stdout(io.StringIO()):
        exit_code = cli.main(words)
    if exit_code != 0:
        raise SystemExit(f"tfrun {' '.join(words)} ended with exit code {exit_code}")


def print_table(rows: Sequence[dict[str, Any]]) -> None:
    """Prints the rows."""
    from rich.table import Table

    from benchmarks.report import console

    table = Table(title="memory in MB", title_justify="left")
    for head in ("what", "data", "from", "to", "growth", "ratio", "target"):
        table.add_column(head, justify="left" if head in ("what", "target") else "right", no_wrap=True)
    forms = {"data_mb": ",.0f", "from_mb": ",.0f", "to_mb": ",.0f", "growth_mb": "+,.0f", "ratio": ".2f"}
    for own in rows:
        cells = ("" if own[key] is None else format(own[key], form) for key, form in forms.items())
        table.add_row(own["what"], *cells, own["target"])
    console.print(table)
