from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

CONTENDERS = {
    "tfrun",
    "tfrun: within its blocks",
    "tfrun, one Adam",
    "tfrun, one Adam: within its blocks",
    "fit() default",
    "fit() default, once more",
    "fit() default, MultiOptimizer",
    "fit() 32 steps/call",
    "fit() 32 steps/call, jit",
    "fit() 32 steps/call, gathered",
    "tf.function per step",
    "tf.range over tf.data",
    "bare loop, XLA",
}


@pytest.mark.slow
def test_the_benchmark_measures_every_contender(root: Path, tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    command: list[str | Path] = [
        sys.executable,
        root / "scripts" / "bench.py",
        "--quick",
        "--case",
        "wide_deep-512",
        "--json",
        results,
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=290)
    assert done.returncode == 0, done.stderr
    report = json.loads(results.read_text())
    rows = {row["contender"]: row for row in report["cases"]["wide_deep-512"]}
    assert rows.keys() == CONTENDERS
    for name, row in rows.items():
        assert name in done.stdout
        assert all(math.isfinite(row[key]) and row[key] > 0 for key in ("steps_per_second", "ratio")), row
    # each whole contender was checked against the plain loop first
    assert all(rows[name]["loss_difference"] <= 1e-4 for name in CONTENDERS if "within" not in name)
