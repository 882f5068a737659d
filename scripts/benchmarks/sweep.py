"""Compares a sweep with the same commands run one after another, and with Hydra's joblib launcher and two workers.

8 learning rates by 8 seeds of wide & deep on 20,640 rows, ten epochs each; every job has its
folder, curves and checkpoint. Only the first few commands are run as a process each, and their time
is scaled to all; the table says so. Each job's result must be the same whoever runs it, except for
rounding that grows where jobs are trained together. joblib is measured if hydra-joblib-launcher is
installed.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks import report
from benchmarks.cases import write_numbers

TFRUN = Path(sys.executable).with_name("tfrun")
RATES = [1e-4 * 2**k for k in range(8)]
SEEDS = range(8)
LEARNING_RATE = "optimizer.groups.deep.learning_rate"
NUM_ALONE = 6  # commands that are run one after another
TOGETHER = "tfrun -m, vectorized, two workers"
TOLERANCE = 1e-6  # of the best validation losses, relative
TOGETHER_TOLERANCE = 0.02


def run(*, quick: bool, json_file: Path | None) -> None:
    """Measures the contenders, prints a table and writes the numbers.

    Args:
        quick: whether to run only four jobs, to see that everything works.
        json_file: where to write the numbers as well.
    """
    written: dict[str, Any] = {"machine": report.machine(), "rows": []}
    report.print_machine(written["machine"])
    rates, seeds = (RATES[:2], SEEDS[:2]) if quick else (RATES, SEEDS)
    folder = Path(tempfile.mkdtemp())
    try:
        written["rows"] = measure(folder, rates, seeds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report.write_json(written, json_file)
    print_table(written["rows"])


def measure(folder: Path, rates: Sequence[float], seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Returns the table's rows, after checking that the jobs' results agree."""
    jobs = [[f"{LEARNING_RATE}={rate:.6g}", f"seed={seed}"] for rate in rates for seed in seeds]
    overrides = [*write_numbers(folder), "model=wide_deep", "loss=huber", "trainer.max_epochs=10"]
    axes = [f"{LEARNING_RATE}=" + ",".join(f"{rate:.6g}" for rate in rates), "seed=" + ",".join(map(str, seeds))]
    launchers = {
        "tfrun -m, two workers": ["hydra.launcher.n_jobs=2"],
        "tfrun -m, one worker": ["hydra.launcher.n_jobs=1"],
        TOGETHER: ["hydra/launcher=vectorized", "hydra.launcher.n_jobs=2"],
    }
    if importlib.util.find_spec("hydra_plugins.hydra_joblib_launcher"):
        launchers["joblib, two workers"] = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    results = {}
    rows: list[dict[str, Any]] = []
    for k, (name, launcher) in enumerate(launchers.items()):
        seconds, results[name] = sweep(folder / str(k), ["-m", *overrides, *axes, *launcher], num_jobs=len(jobs))
        rows.append({"contender": name, "jobs": len(jobs), "measured": len(jobs), "seconds": seconds})
    few = jobs[:: max(1, len(jobs) // NUM_ALONE)][:NUM_ALONE]
    seconds, expected = alone(folder / "alone", overrides, jobs=few)
    scaled = seconds * len(jobs) / len(few)
    rows.append({"contender": "a process each", "jobs": len(jobs), "measured": len(few), "seconds": scaled})
    check(results, dict(zip(map(jobs.index, few), expected, strict=True)))
    for row in rows:
        row["ratio"] = row["seconds"] / rows[0]["seconds"]
    return rows


def print_table(rows: Sequence[dict[str, Any]]) -> None:
    """Prints the rows."""
    table = Table(title=f"a sweep of {rows[0]['jobs']} jobs", title_justify="left")
    for head in ("", "measured", "seconds", "s a job", "÷ tfrun -m"):
        table.add_column(head, justify="right" if head else "left")
    for row in rows:
        cells = (f"{row['seconds']:.1f}", f"{row['seconds'] / row['jobs']:.2f}", f"{row['ratio']:.1f}")
        table.add_row(row["contender"], f"{row['measured']} of {row['jobs']}", *cells)
    report.console.print(table)


def sweep(root: Path, words: Sequence[str], *, num_jobs: int) -> tuple[float, dict[int, float]]:
    """Runs a sweep; returns its seconds, and the best validation loss of each job by its number."""
    seconds = _timed([*words, f"output_root={root}"])
    losses = {int(path.parent.name): _best(path) for path in root.glob("multirun/*/*/[0-9]*/run.json")}
    if len(losses) != num_jobs:
        raise SystemExit(f"only {len(losses)} of {num_jobs} jobs have a result")
    return seconds, losses


def alone(root: Path, overrides: Sequence[str], *, jobs: Sequence[Sequence[str]]) -> tuple[float, list[float]]:
    """Runs a command for each job, one after another; returns their seconds and best validation losses."""
    seconds = 0.0
    losses = []
    for k, job in enumerate(jobs):
        seconds += _timed([*overrides, *job, f"output_root={root / str(k)}"])
        (path,) = (root / str(k)).glob("outputs/*/*/run.json")
        losses.append(_best(path))
    return seconds, losses


def check(results: dict[str, dict[int, float]], expected: dict[int, float]) -> None:
    """Ends the program if a job of a sweep has another result than the same command alone."""
    for name, losses in results.items():
        tolerance = TOGETHER_TOLERANCE if name == TOGETHER else TOLERANCE
        for job, loss in expected.items():
            if abs(losses[job] / loss - 1) > tolerance:
                raise SystemExit(f"not the same work: job {job} of {name} has {losses[job]}, alone it has {loss}")


def _timed(words: Sequence[str]) -> float:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    started = time.perf_counter()
    done = subprocess.run([TFRUN, *words], capture_output=True, text=True, env=environment)
    seconds = time.perf_counter() - started
    if done.returncode != 0:
        raise SystemExit(f"tfrun {' '.join(words)} ended with exit code {done.returncode}: {done.stderr}")
    return seconds


def _best(path: Path) -> float:
    return json.loads(path.read_text())["best"]["val/loss"]
