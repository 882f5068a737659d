"""The benchmark of tables of ids: that all contenders do the same work, and what it makes of its measurements."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

VALUES = {"learning_rate": 0.05, "initial_accumulator_value": 0.01}
BATCH, STEPS = 32, 16
IDS = 3000  # of a column: so many that tables are updated by rows
MEASURE = f"""
import json, sys
from pathlib import Path
from benchmarks import contenders, tables, tables_data, tables_keras, tables_tfrun
from benchmarks.tables_tfrun import Mark
folder = Path(sys.argv[1])
overrides = [*tables_data.write(folder, {IDS}, 4000), "data.batch_size={BATCH}"]
costs = tables_tfrun.costs(overrides)  # first: TensorFlow fixes its threads when it starts
contenders.in_fresh_process = lambda function, *args: function(*args)  # the same model has the same threads
optimizers = {{"adagrad": tables.one_optimizer("adagrad")}}
check = tables_keras.check([*overrides, "data.limit_rows={BATCH * STEPS}"], optimizers, folder)
refused = []
for contender, difference in (("PyTorch", 2e-4), ("PyTorch", float("nan")), ("fit()", 2e-4), ("tfrun", 2e-4)):
    try:
        tables.refuse_other_work({{"adagrad": {{"differences": {{contender: difference}}}}}})
    except SystemExit:
        refused.append(contender)
marks = [Mark(0.0, 0.0, 0, 0), Mark(1.0, 0.0, 10, 0), Mark(4.0, 0.0, 20, 1), Mark(9.0, 0.0, 30, 1)]
marked = [tables_tfrun.steps_per_second(marks), tables_tfrun.epoch_end_seconds(marks)]
print(json.dumps([check, costs, refused, marked]))
"""


def python(root: Path, code: str, *args: str | Path) -> str:
    """Runs code that may import benchmarks/; returns the last line that it prints."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(root / "scripts"), os.environ.get("PYTHONPATH", "")]),
    }
    command = [sys.executable, "-c", code, *args]
    done = subprocess.run(command, cwd=root / "tests", env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tables")


@pytest.fixture(scope="module")
def measured(root: Path, folder: Path) -> list[Any]:
    """The check of the losses, the costs of a run, who was refused, the rate and an epoch's end of made-up marks."""
    measured: list[Any] = json.loads(python(root, MEASURE, folder))
    return measured


def adagrad_losses(folder: Path) -> tuple[float, float]:
    """Trains the check's rows with AdaGrad in NumPy; returns the mean training loss and the validation loss."""
    weights = {path: weight.astype("float64") for path, weight in np.load(folder / "weights.npz").items()}
    sums = {path: np.full_like(weight, VALUES["initial_accumulator_value"]) for path, weight in weights.items()}

    def forward(numbers: np.ndarray, ids: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        layers = [np.concatenate([numbers, weights["deep/embeddings"][ids].reshape(len(ids), -1)], axis=1)]
        for k in (1, 2):
            z = layers[-1] @ weights[f"deep/hidden_{k}/kernel"] + weights[f"deep/hidden_{k}/bias"]
            layers.append(np.maximum(z, 0))
        wide = numbers @ weights["wide/kernel"] + weights["wide/bias"] + weights["wide/table"][ids].sum(1)
        return layers, layers[-1] @ weights["deep/output/kernel"] + wide

    def loss(z: np.ndarray, y: np.ndarray) -> float:
        return float(np.mean(np.logaddexp(z, 0) - z * y))

    def rows(part: str) -> list[np.ndarray]:
        return [np.load(folder / part / f"{name}.npy") for name in ("numbers", "ids", "targets")]

    losses = []
    for k in range(STEPS):
        numbers, ids, y = (array[k * BATCH : (k + 1) * BATCH] for array in rows("train"))
        layers, z = forward(numbers, ids)
        losses.append(loss(z, y))
        error = (1 / (1 + np.exp(-z)) - y) / BATCH
        gradients = {path: np.zeros_like(weight) for path, weight in weights.items()}
        gradients["wide/bias"] = error.sum(0)
        gradients["wide/kernel"] = numbers.T @ error
        np.add.at(gradients["wide/table"], ids, np.repeat(error[:, None], 2, axis=1))
        gradients["deep/output/kernel"] = layers[2].T @ error
        back = error @ weights["deep/output/kernel"].T
        for layer in (2, 1):
            back = back * (layers[layer] > 0)
            gradients[f"deep/hidden_{layer}/kernel"] = layers[layer - 1].T @ back
            gradients[f"deep/hidden_{layer}/bias"] = back.sum(0)
            back = back @ weights[f"deep/hidden_{layer}/kernel"].T
        np.add.at(gradients["deep/embeddings"], ids, back[:, 13:].reshape(BATCH, 2, 8))
        for path, gradient in gradients.items():
            sums[path] += gradient**2
            weights[path] -= VALUES["learning_rate"] * gradient / np.sqrt(sums[path] + 1e-7)
    numbers, ids, y = rows("val")
    return float(np.mean(losses)), loss(forward(numbers, ids)[1], y)


def test_the_losses_to_reach_are_those_of_adagrad(measured: list[Any], folder: Path) -> None:
    check = measured[0]["adagrad"]
    assert (check["train_loss"], check["val_loss"]) == pytest.approx(adagrad_losses(folder), rel=2e-6)
    assert check["differences"]["tfrun"] < 1e-5
    assert check["differences"]["fit()"] > 1e-5  # Keras adds up the squares of the parts of a repeated id's gradient


@pytest.mark.parametrize("module", ["torch", "jax"])
def test_other_libraries_reach_the_same_losses(root: Path, measured: list[Any], folder: Path, module: str) -> None:
    if not importlib.util.find_spec(module):
        pytest.skip(f"{module} isn't installed")
    code = f"""
import json, sys
from pathlib import Path
from benchmarks import tables_{module}
print(json.dumps(tables_{module}.losses(Path(sys.argv[1]), "adagrad", {VALUES}, {BATCH})))
"""
    assert json.loads(python(root, code, folder)) == pytest.approx(adagrad_losses(folder), rel=1e-5)


def test_epoch_ends_and_checkpoints_are_timed(measured: list[Any]) -> None:
    _, costs, _, marked = measured
    ids = IDS + 1  # and the one of values that weren't seen
    assert costs["parameters"] == 2 * ids * 9 + (13 + 1) + (29 * 30 + 30) + (30 * 30 + 30) + 30
    assert costs["checkpoint_seconds"] >= costs["waited_seconds"] > 0
    assert costs["build_seconds"] > 0 and costs["compile_seconds"] > 0
    assert 300 < costs["peak_mb"] < 10000
    # ten steps take a second without an epoch's end and three with one; a block after an end isn't counted
    assert marked == [10.0, 2.0]


def test_losses_that_differ_end_the_benchmark(measured: list[Any]) -> None:
    assert measured[2] == ["PyTorch", "PyTorch", "tfrun"]  # fit() doesn't have to agree with AdaGrad


def rounds(*rates: float, peak_mb: float = 900.0) -> list[dict[str, float]]:
    return [{"steps_per_second": rate, "cpu_ms": 2.0, "peak_mb": peak_mb} for rate in rates]


MEASURED = {
    "1e4-512": {"tfrun": rounds(1000, 1200), "tfrun, whole tables": rounds(500, 500)},
    "1e6-512": {
        "tfrun": rounds(900, 800),
        "fit(), Adam": rounds(6, 2),
        "fit(), tfrun's optimizers": rounds(3, 2),
        "PyTorch, AdaGrad, threads: 1": rounds(90, 100),
        "PyTorch, AdaGrad, threads: 2": rounds(200, 50),
    },
    "1e7-512": {"tfrun": rounds(700, 600)},
}


def test_ratios_are_taken_within_rounds(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(root / "scripts")
    from benchmarks import tables_results as results

    _, _, fit, *_ = results.rows_of(MEASURED["1e6-512"])
    assert fit["tfrun_is_faster_by"] == {"median": 350, "least": 300, "greatest": 400}
    assert fit["steps_per_second"] == {"median": 2.5, "least": 2, "greatest": 3}
    goals = {goal["what"]: (goal["value"]["median"], goal["goal"]) for goal in results.goals_of(MEASURED)}
    assert goals == {
        "1e4-512: tfrun ÷ tfrun, whole tables": (pytest.approx((2 + 2.4) / 2), 1),
        "1e6-512: tfrun ÷ fit(), tfrun's optimizers": (350, 250),
        "1e6-512: tfrun ÷ PyTorch, AdaGrad, threads: 2": (pytest.approx((4.5 + 16) / 2), 5),
        "1e7-512: tfrun ÷ tfrun of 1e4-512": (pytest.approx((0.7 + 0.5) / 2), 0.8),
    }


def test_memory_is_counted_in_copies_of_the_weights(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(root / "scripts")
    from benchmarks.tables_results import cost_rows

    few, many = cost_rows({10: {"parameters": 10**6, "peak_mb": 500}, 20: {"parameters": 3 * 10**6, "peak_mb": 524}})
    assert few["copies"] is None
    assert (many["weights_mb"], many["copies"]) == (12, 3)  # 24 MB more for 8 MB of weights more


def test_earlier_results_are_printed_and_drawn(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(root / "scripts")
    from benchmarks import tables_results as results

    written = {
        "cases": {case: results.rows_of(of_case) for case, of_case in MEASURED.items()},
        "goals": results.goals_of(MEASURED),
        "costs": [],
        "missing": {"JAX": "pip install jax"},
    }
    console = Console(width=160, record=True, quiet=False, file=(tmp_path / "out").open("w"))
    results.print_results(written, console)
    text = console.export_text()
    assert "JAX: not installed (pip install jax)" in text
    assert "1e6-512: tfrun ÷ fit(), tfrun's optimizers: 350.00 (300.00..400.00); the goal, 250, is reached" in text
    assert "1e7-512: tfrun ÷ tfrun of 1e4-512: 0.60 (0.50..0.70); the goal, 0.8, is not reached" in text
    pytest.importorskip("matplotlib")
    results.plot(written, tmp_path / "tables.svg")
    svg = (tmp_path / "tables.svg").read_text()
    assert (
        "fit(), tfrun" in svg
        and "fit(), Adam" not in svg
        and "PyTorch, the best" in svg
        and "tfrun, whole tables" in svg
        and "lazy" not in svg
    )
