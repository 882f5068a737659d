from __future__ import annotations

import importlib.util
import json
import math
import os
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
    "fit() 32 steps/call, jit, gathered",
    "eager loop",
    "tf.function per step",
    "tf.range over tf.data",
    "bare loop, XLA",
}
OPTIONAL = {"orbit": "Orbit", "torch": "PyTorch"}
BASES = {"fit() default", "best fit()", "bare loop"}


def bench(root: Path, *args: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, root / "scripts" / "bench.py", *args]
    return subprocess.run(command, cwd=root / "tests", capture_output=True, text=True, timeout=590)


@pytest.mark.slow
def test_the_benchmark_measures_every_contender(root: Path, tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    done = bench(root, "--quick", "--case", "wide_deep-512", "--json", results)
    assert done.returncode == 0, done.stderr
    report = json.loads(results.read_text())
    case = report["cases"]["wide_deep-512"]
    rows = {row["contender"]: row for row in case["rows"]}
    installed = {name for module, name in OPTIONAL.items() if importlib.util.find_spec(module)}
    assert {name for name in rows if not name.startswith(tuple(OPTIONAL.values()))} == CONTENDERS
    assert {name.partition(",")[0] for name in rows.keys() - CONTENDERS} == installed
    for name, row in rows.items():
        assert name in done.stdout
        values = [*row["steps_per_second"].values(), *row["ratio"].values()]
        assert all(math.isfinite(value) and value > 0 for value in values), row
        # each whole contender was checked against the plain loop, and the first ones had a process of their own
        if "within" not in name:
            assert row["loss_difference"] <= 1e-4
        if name in ("tfrun", "tfrun, one Adam", "fit() default"):
            assert row["first_step_seconds"] > 0
            assert 100 < row["peak_mb"] < 10000
    assert case["summary"].keys() == BASES | installed
    for name in OPTIONAL.values():
        assert (f"{name}: not installed" in done.stdout) == (name not in installed)
    for entry in case["summary"].values():
        assert entry["ratios"].keys() == {"tfrun", "tfrun, one Adam"}


def test_how_a_run_is_watched(root: Path, tmp_path: Path) -> None:
    code = """
import json, sys
from benchmarks import start
words = ["trainer.max_epochs=3", "output_root=."]
sys.argv[1:] = [json.dumps([words])]
start.main()
from benchmarks.tfrun_run import after_each_block
from tfrun import cli
steps = []
with after_each_block(steps.append, at_end=True):
    assert cli.main(words) == 0
print(json.dumps(steps))
"""
    environment = {**os.environ, "PYTHONPATH": str(root / "scripts")}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    marks, steps = (json.loads(line) for line in done.stdout.splitlines() if line[0] in "{[")
    assert 0 < marks["command"] < marks["first_step"]
    ended = {json.loads(path.read_text())["step"] for path in tmp_path.glob("outputs/*/*/run.json")}
    assert ended == {1, 33}  # the first one was ended at its first step
    assert steps == sorted(steps) and steps[0] == 1 and steps[-2:] == [33, 33]  # after the last block, and at the end


def test_an_unknown_case_is_told_before_tensorflow_loads(root: Path) -> None:
    for command in ([], ["loops"]):
        done = bench(root, *command, "--case", "wide_deep-31")
        assert done.returncode == 2
        assert "invalid choice: 'wide_deep-31'" in done.stderr
        assert "tensorflow" not in done.stderr.lower()
