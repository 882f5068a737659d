"""Measures the memory of a run beyond TensorFlow's own, and whether a process grows with its epochs and trials.

Each measurement has a fresh process. "from" is the peak of a process that imports TensorFlow and
multiplies two matrices, "to" the run's peak; the ratio is their difference divided by the size of
the data: of the raw table or of the encoded examples, whichever is larger. Where growth is
measured, "from" and "to" are the resident memory early and at the end.

The fresh processes import this file, so its head imports nothing large.
"""

from __future__ import annotations

import contextlib
import importlib
import io
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

COLUMNS = 250  # of the .npz file: a kilobyte per row
CSV_COLUMNS = 20
PIECE_ROWS = 100_000  # written at once
FEW_STEPS = "trainer.max_steps=20"
WIDE_DEEP = ["model=wide_deep", "loss=huber", "trainer.compile=xla"]
MAX_GROWTH = 1.02  # the target for to ÷ from
MAX_STREAM_BYTES = 2e9  # the target for streaming


def run(*, quick: bool, json_file: Path | None) -> None:
    """Measures memory, prints a table and writes the numbers.

    Args:
        quick: whether to use little data, to see that everything works.
        json_file: where to write the numbers as well.
    """
    from benchmarks import report  # imports TensorFlow, so not in the head

    written: dict[str, Any] = {"machine": report.machine(), "quick": quick, "rows": []}
    report.print_machine(written["machine"])
    folder = Path(tempfile.mkdtemp())
    try:
        for row in rows(folder, quick):
            written["rows"].append(row)
            report.write_json(written, json_file)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print_table(written["rows"])


def rows(folder: Path, quick: bool) -> Iterator[dict[str, Any]]:
    """Yields the table's rows as they are measured; data stay in the folder only while they are needed."""
    baseline = alone(baseline_peak)
    yield row("TensorFlow and a matrix product", to=baseline)
    yield row("the same, with pyarrow", from_=baseline, to=alone(baseline_peak, ["pyarrow.csv"]))
    yield row("tfrun without an argument", from_=baseline, to=alone(run_peak, [f"output_root={folder}"]))

    def peak(what: str, overrides: list[str], *, data_bytes: float, target: str = "") -> dict[str, Any]:
        to = alone(run_peak, [*overrides, "model=mlp", "loss=huber", f"output_root={folder}"])
        for file in (*folder.glob("*.npz"), *folder.glob("*.csv"), *folder.glob("*.parquet")):
            file.unlink()
        shutil.rmtree(folder / "cache", ignore_errors=True)
        return row(what, from_=baseline, to=to, data_bytes=data_bytes, target=target)

    count = 50_000 if quick else 1_000_000
    overrides = write_npz(folder / "x.npz", count)
    yield peak(f".npz of {count:,} × {COLUMNS}, on the device", [*overrides, FEW_STEPS], data_bytes=npz_bytes(count))
    count = 50_000 if quick else 2_000_000
    overrides = write_csv(folder / "x.csv", count)
    raw_bytes = 8 * count * (CSV_COLUMNS + 1)
    yield peak(f"CSV of {count:,} × {CSV_COLUMNS}, on the device", [*overrides, FEW_STEPS], data_bytes=raw_bytes)

    count = 200_000 if quick else 10_000_000
    what = f".npz of {count:,} × {COLUMNS}, streaming"
    free = shutil.disk_usage(folder).free
    if free < 1.1 * npz_bytes(count):
        print(f"{what}: skipped, since {folder} has only {free / 1e9:,.1f} GB left")
    else:
        overrides = [*write_npz(folder / "x.npz", count), "data.residency=stream", "trainer.max_steps=300"]
        target = f"to < {MAX_STREAM_BYTES / 1e6:,.0f} MB"
        yield peak(what, overrides, data_bytes=npz_bytes(count), target=target)

    count = 50_000 if quick else 2_000_000
    what = f"Parquet of {count:,} × {COLUMNS}, converted and streaming"
    with mock.patch.dict(
        os.environ, {"TFRUN_DATA_MEMORY": "1e8" if quick else "5e8", "XDG_CACHE_HOME": f"{folder}/cache"}
    ):
        overrides = [*write_parquet(folder / "x.parquet", count), "data.residency=stream", FEW_STEPS]
        target = f"to < {MAX_STREAM_BYTES / 1e6:,.0f} MB"
        converted = peak(what, overrides, data_bytes=npz_bytes(count), target=target)
    yield converted

    yield from growth_rows(folder, quick)


def growth_rows(folder: Path, quick: bool) -> Iterator[dict[str, Any]]:
    """Yields the rows of what grows while a run or a process trains on."""
    overrides = [*write_numbers(folder), *WIDE_DEEP, f"output_root={folder}"]
    growth_target = f"ratio ≤ {MAX_GROWTH}"
    epochs = 200 if quick else 1000
    early, end = alone(resident_over_epochs, [*overrides, f"trainer.max_epochs={epochs}"], epochs, epochs // 10)
    yield row(f"a run, after epoch {epochs // 10} and {epochs:,}", from_=early, to=end, target=growth_target)

    for what, trials, target in (
        ("trials", [[*overrides, *numbers(k)] for k in range(20 if quick else 200)], growth_target),
        ("models of other sizes", [[*overrides, *size(k)] for k in range(10 if quick else 30)], ""),
    ):
        resident = alone(resident_over_trials, trials)
        first = max(5, len(trials) // 10)
        what = f"{what}, after {first} and {len(trials)}"
        yield row(what, from_=resident[first - 1], to=resident[-1], target=target)


def row(what: str, *, to: int, from_: int | None = None, data_bytes: float = 0, target: str = "") -> dict[str, Any]:
    """Returns a row of the table; the ratio is growth ÷ data, or to ÷ from without data."""
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
    """Returns the overrides of trial k; all trials have the same structure."""
    rate = f"optimizer.groups.deep.learning_rate={1e-3 / (1 + 0.01 * k):.6g}"
    return ["trainer.max_epochs=1", rate, f"seed={k}", f"loss.delta={1 + 0.01 * k:.6g}"]


def size(k: int) -> list[str]:
    """Returns the overrides of trial k; each trial has another structure."""
    return ["trainer.max_epochs=1", f"model.hidden_units=[{30 + k},30]"]


def npz_bytes(count: int) -> int:
    """Returns the size of `count` rows of the .npz file with their targets."""
    return 4 * count * COLUMNS + 8 * count


def write_npz(path: Path, count: int) -> list[str]:
    """Writes `count` rows, a piece at a time; returns the overrides for them."""
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


def write_parquet(path: Path, count: int) -> list[str]:
    """Writes `count` rows of as many columns, a piece at a time; returns the overrides for them."""
    import pyarrow as pa
    from pyarrow import parquet

    random = np.random.default_rng(0)
    names = [*(f"x{k}" for k in range(COLUMNS)), "y"]
    with parquet.ParquetWriter(path, pa.schema([(name, pa.float32()) for name in names])) as writer:
        for start in range(0, count, PIECE_ROWS):
            piece = random.standard_normal((len(names), min(PIECE_ROWS, count - start)), dtype="float32")
            writer.write_table(pa.table(dict(zip(names, piece, strict=True))))
    return ["data=parquet", f"data.path={path}", "data.target=y"]


def write_csv(path: Path, count: int) -> list[str]:
    """Writes `count` rows; returns the overrides for them."""
    import pyarrow as pa
    from pyarrow import csv

    random = np.random.default_rng(0)
    names = [*(f"x{k}" for k in range(CSV_COLUMNS)), "y"]
    csv.write_csv(pa.table({name: random.standard_normal(count, dtype="float32") for name in names}), path)
    return ["data=csv", f"data.path={path}", "data.target=y"]


def alone(function: Callable[..., Any], *args: Any) -> Any:
    """Calls a function of this file in a fresh process; returns its result."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(function, *args).result()


def baseline_peak(modules: Sequence[str] = ()) -> int:
    """Returns the peak in bytes after importing the modules and TensorFlow, and running one operation."""
    for module in modules:
        importlib.import_module(module)
    import tensorflow as tf

    float(tf.linalg.matmul(tf.ones([8, 8]), tf.ones([8, 8]))[0, 0])
    return peak_bytes()


def run_peak(overrides: Sequence[str]) -> int:
    """Returns the peak in bytes after running a command."""
    _run(overrides)
    return peak_bytes()


def resident_over_epochs(overrides: Sequence[str], epochs: int, early: int) -> tuple[int, int]:
    """Returns the resident bytes after an early epoch of a run, and after its last one."""
    from tfrun.engine.recording.progress import Display

    on_block = Display.on_block
    resident: dict[int, int] = {}  # by step

    def measuring_on_block(self: Display, first_step: int, result: Any) -> None:
        on_block(self, first_step, result)
        resident[first_step + len(result.losses)] = resident_bytes()

    with mock.patch.object(Display, "on_block", measuring_on_block):
        _run(overrides)
    last = max(resident)
    return next(resident[step] for step in sorted(resident) if step * epochs >= last * early), resident[last]


def resident_over_trials(trials: Sequence[Sequence[str]]) -> list[int]:
    """Returns the resident bytes after each trial."""
    resident = []
    for overrides in trials:
        _run(overrides)
        resident.append(resident_bytes())
    return resident


def resident_bytes() -> int:
    """Returns this process' resident memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _run(overrides: Sequence[str]) -> None:
    from tfrun import cli

    with contextlib.redirect_stdout(io.StringIO()):
        exit_code = cli.main(overrides)
    if exit_code != 0:
        raise SystemExit(f"tfrun {' '.join(overrides)} ended with exit code {exit_code}")


def print_table(rows: Sequence[dict[str, Any]]) -> None:
    """Prints the rows."""
    from rich.table import Table

    from benchmarks.report import console

    table = Table(title="memory in MB", title_justify="left")
    for head in ("what", "data", "from", "to", "growth", "ratio", "target"):
        table.add_column(head, justify="left" if head in ("what", "target") else "right", no_wrap=True)
    forms = {"data_mb": ",.0f", "from_mb": ",.0f", "to_mb": ",.0f", "growth_mb": "+,.0f", "ratio": ".2f"}
    for row in rows:
        cells = ("" if row[key] is None else format(row[key], form) for key, form in forms.items())
        table.add_row(row["what"], *cells, row["target"])
    console.print(table)
