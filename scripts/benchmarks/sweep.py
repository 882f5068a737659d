"""A sweep beside the same commands one after another, and beside Hydra's joblib launcher with two workers.

8 learning rates by 8 seeds of wide & deep on 20,640 rows, ten epochs each, every job with its folder, curves and
checkpoint. The commands that have a process each are measured on the first few and scaled to all; the table says so.
Each job's result has to be the same, whoever ran it, but for what rounding grows to where jobs are trained together.
joblib is measured where hydra-joblib-launcher is installed.
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
RATES, SEEDS = [1e-4 * 2**k for k in range(8)], range(8)
ALONE = 6  # commands that are run one after another
TOLERANCE = 1e-6  # of the best validation losses, relative
TOGETHER, TOGETHER_TOLERANCE = "tfrun -m, vectorized, two workers", 0.02


def run(quick: bool, json_file: Path | None) -> None:
    """Measures, prints a table and writes the numbers.

    Args:
        quick: four jobs, to see that it works.
        json_file: where to write the numbers as well.
    """
    written: dict[str, Any] = {"machine": report.machine(), "rows": []}
    report.print_machine(written["machine"])
    rates, seeds = (RATES[:2], SEEDS[:2]) if quick else (RATES, SEEDS)
    jobs = [[f"optimizer.groups.deep.learning_rate={rate:.6g}", f"seed={seed}"] for rate in rates for seed in seeds]
    folder = Path(tempfile.mkdtemp())
    try:
        words = [*write_numbers(folder), "model=wide_deep", "loss=huber", "trainer.max_epochs=10"]
        axes = ["optimizer.groups.deep.learning_rate=" + ",".join(f"{rate:.6g}" for rate in rates)]
        axes.append("seed=" + ",".join(map(str, seeds)))
        contenders = {"tfrun -m, two workers": ["hydra.launcher.n_jobs=2"], "tfrun -m, one worker": []}
        contenders[TOGETHER] = ["hydra/launcher=vectorized", "hydra.launcher.n_jobs=2"]
        if importlib.util.find_spec("hydra_plugins.hydra_joblib_launcher"):
            contenders["joblib, two workers"] = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
        found = {}
        for k, (name, launcher) in enumerate(contenders.items()):
            seconds, values = sweep(folder / str(k), ["-m", *words, *axes, *launcher], len(jobs))
            found[name] = values
            written["rows"].append({"contender": name, "jobs": len(jobs), "measured": len(jobs), "seconds": seconds})
        few = jobs[:: max(1, len(jobs) // ALONE)][:ALONE]
        seconds, values = alone(folder / "alone", words, few)
        scaled = seconds * len(jobs) / len(few)
        written["rows"].append(
            {"contender": "a process each", "jobs": len(jobs), "measured": len(few), "seconds": scaled}
        )
        check(found, dict(zip(map(jobs.index, few), values, strict=True)))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    own = written["rows"][0]["seconds"]
    for row in written["rows"]:
        row["ratio"] = row["seconds"] / own
    if json_file:
        json_file.write_text(json.dumps(written, indent=1) + "\n")
    table = Table(title=f"a sweep of {len(jobs)} jobs", title_justify="left")
    for head in ("", "measured", "seconds", "s a job", "÷ tfrun -m"):
        table.add_column(head, justify="right" if head else "left")
    for row in written["rows"]:
        cells = (f"{row['seconds']:.1f}", f"{row['seconds'] / row['jobs']:.2f}", f"{row['ratio']:.1f}")
        table.add_row(row["contender"], f"{row['measured']} of {row['jobs']}", *cells)
    report.console.print(table)


def sweep(root: Path, words: Sequence[str], num_jobs: int) -> tuple[float, dict[int, float]]:
    """Runs a sweep; returns its seconds, and each job's best validation loss."""
    seconds = _timed([*words, f"output_root={root}"])
    found = {int(path.parent.name): _best(path) for path in root.glob("multirun/*/*/[0-9]*/run.json")}
    if len(found) != num_jobs:
        raise SystemExit(f"{len(found)} of {num_jobs} jobs have a result")
    return seconds, found


def alone(root: Path, words: Sequence[str], jobs: Sequence[Sequence[str]]) -> tuple[float, list[float]]:
    """Runs commands one after another; returns their seconds, and each one's best validation loss."""
    seconds, values = 0.0, []
    for k, job in enumerate(jobs):
        seconds += _timed([*words, *job, f"output_root={root / str(k)}"])
        (path,) = (root / str(k)).glob("outputs/*/*/run.json")
        values.append(_best(path))
    return seconds, values


def check(found: dict[str, dict[int, float]], expected: dict[int, float]) -> None:
    """Ends the program where a job of a sweep gave something else than the same command alone."""
    for name, values in found.items():
        tolerance = TOGETHER_TOLERANCE if name == TOGETHER else TOLERANCE
        for job, value in expected.items():
            if abs(values[job] / value - 1) > tolerance:
                raise SystemExit(f"not the same work: job {job} of {name} gives {values[job]}, alone {value}")


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
