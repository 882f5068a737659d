from __future__ import annotations

import ast
import graphlib
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
OPTIONAL = {"orbit": "Orbit", "torch": "PyTorch", "jax": "JAX"}
BASES = {"fit() default", "best fit()", "bare loop"}


def bench(root: Path, *args: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, root / "scripts" / "bench.py", *args]
    return subprocess.run(command, cwd=root / "tests", capture_output=True, text=True, timeout=590)


def python(root: Path, folder: Path, code: str) -> list[str]:
    """Runs code that may import bench.py and benchmarks/; returns the lines that it prints."""
    environment = {**os.environ, "PYTHONPATH": str(root / "scripts")}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


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
        # every whole contender was compared with the plain loop; tfrun and fit() were measured in a fresh process
        if "within" not in name:
            assert row["loss_difference"] <= 1e-4
        if name in ("tfrun", "fit() default"):
            assert row["first_step_seconds"] > 0
            assert 100 < row["peak_mb"] < 10000
    assert case["summary"].keys() == BASES | installed
    for name in OPTIONAL.values():
        assert (f"{name}: not installed" in done.stdout) == (name not in installed)
    for entry in case["summary"].values():
        assert entry["ratios"].keys() == {"tfrun", "tfrun, one Adam"}


def test_runs_are_watched_from_outside(root: Path, tmp_path: Path) -> None:
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
    marks, steps = (json.loads(line) for line in python(root, tmp_path, code) if line[0] in "{[")
    assert 0 < marks["command"] < marks["first_step"]
    last_steps = {json.loads(path.read_text())["step"] for path in tmp_path.glob("outputs/*/*/run.json")}
    assert last_steps == {1, 33}  # the first run was ended after its first step
    assert steps == sorted(steps) and steps[0] == 1 and steps[-2:] == [33, 33]  # after the last block, and at the end


def test_a_command_takes_the_options_that_its_parser_offers(root: Path, tmp_path: Path) -> None:
    code = """
import bench, json
print(json.dumps({command: list(bench.parse([command])[1]) for command in bench.COMMANDS}))
print(json.dumps(bench.parse(["--rounds", "2"])))
print(json.dumps(bench.parse(["graph"])))
print(json.dumps(bench.parse(["graph", "--case", "mlp-32", "--rounds", "3"])))
"""
    options, default, graph, one_case = map(json.loads, python(root, tmp_path, code))
    for command, names in options.items():
        module = ast.parse((root / "scripts" / "benchmarks" / f"{command}.py").read_text())
        (run,) = (node for node in module.body if isinstance(node, ast.FunctionDef) and node.name == "run")
        assert not run.args.args
        assert {argument.arg for argument in run.args.kwonlyargs} == set(names), command
    command, values = default
    assert command == "loops" and len(values.pop("cases")) == 8
    assert values == {"quick": False, "rounds": 2, "patience": 0.0, "json_file": None}
    assert graph == ["graph", {"cases": ["wide_deep-32", "mlp-512"], "rounds": 5, "json_file": None}]
    assert one_case == ["graph", {"cases": ["mlp-32"], "rounds": 3, "json_file": None}]


def test_an_unknown_case_is_an_error_before_tensorflow_loads(root: Path) -> None:
    for command in ([], ["loops"]):
        done = bench(root, *command, "--case", "wide_deep-31")
        assert done.returncode == 2
        assert "invalid choice: 'wide_deep-31'" in done.stderr
        assert "tensorflow" not in done.stderr.lower()


def test_imports_of_the_benchmarks_have_no_circle(root: Path) -> None:
    imports = {}
    for path in (root / "scripts" / "benchmarks").glob("*.py"):
        names = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "benchmarks":
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and str(node.module).startswith("benchmarks."):
                names.add(str(node.module).removeprefix("benchmarks."))
        imports[path.stem] = names
    order = list(graphlib.TopologicalSorter(imports).static_order())
    for loop in ("torch_loop", "jax_loop"):
        assert order.index("torch_task") < order.index(loop) < order.index("torch_worker")
