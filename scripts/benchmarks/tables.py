"""Measures how training depends on the number of ids: wide & deep with two tables, which a step updates by rows.

Two million rows of two columns of ids, drawn by Zipf's law, and 13 numbers. Every contender trains the same model on
the same encoded rows, in a process of its own, so that its peak memory is its own too. A round runs all contenders of
all numbers of ids, one after another.

tfrun is the whole program, from the end of its first block to the end of its last one, with metrics, validation, the
best weights, curves and the progress lines. fit(), PyTorch (sparse gradients; AdaGrad, and SparseAdam with Adam) and
JAX (updates by rows, written by hand) train without validation, which favours them. fit() and PyTorch add up metrics.

Before that, all take the same steps from the same weights with 10,000 to 1,000,000 ids, and their losses must agree
with those of a plain loop over whole tables: with SGD (tfrun, fit(), PyTorch, JAX) and AdaGrad (tfrun, PyTorch, JAX);
with lazy Adam, PyTorch's must agree with tfrun's. Keras' AdaGrad and Adam add up the squares of the parts of a repeated
id's gradient, where all others square the sum; so fit()'s losses with them are reported, but don't have to agree.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import report, tables_data
from benchmarks import tables_results as results
from benchmarks.cases import TABLE_CASES
from benchmarks.plots import pyplot
from benchmarks.processes import in_process

OPTIMIZERS = {  # of the check, and of the contenders with one optimizer; with their values in Keras' names
    "sgd": {"learning_rate": 0.1},
    "adagrad": {"learning_rate": 0.05, "initial_accumulator_value": 0.01},
    "adam": {"learning_rate": 0.001},
}
COMPARED = {"fit()": ("sgd",), results.PYTORCH: ("sgd", "adagrad", "adam"), results.JAX: ("sgd", "adagrad")}
MODULES = {results.PYTORCH: "tables_torch", results.JAX: "tables_jax"}
OPTIONAL = {results.PYTORCH: ("torch", "pip install torch"), results.JAX: ("jax", "pip install jax")}
TOLERANCE = 1e-4  # of the losses after the same steps, relative
CHECK_BATCH, CHECK_STEPS = 512, 16
MAX_SLOW_IDS = 10**6  # with more, a step of all but one contender with whole tables would take seconds
MAX_CHECK_IDS = 10**6
COST_IDS = (10**4, 10**6, 10**7)
SECONDS = 8.0  # about how long a contender trains in a round; the end of the first epoch is traced in it
QUICK_SECONDS = 0.3
QUICK_ROWS = 60_000
QUICK_CASES = ("1e4-512",)


@dataclass(frozen=True)
class Rows:
    """The rows with some number of ids.

    Attributes:
        folder: has the encoded rows and the weights.
        overrides: of the rows and the model.
    """

    folder: Path
    overrides: Sequence[str]


def run(
    *,
    cases: Sequence[str],
    rounds: int,
    quick: bool,
    json_file: Path | None,
    plot_file: Path | None,
    from_file: Path | None,
) -> None:
    """Measures the cases, prints the tables, writes the numbers and draws them.

    Args:
        cases: their names.
        rounds: how often every contender is timed.
        quick: whether to do one short round, of one case unless some are chosen, to see that everything works.
        json_file: where to write the numbers as well.
        plot_file: where to draw an SVG.
        from_file: numbers that were written before, to print and draw instead of measuring.
    """
    if plot_file:
        pyplot()  # fails before anything is measured if matplotlib is missing
    if from_file:
        written = json.loads(from_file.read_text())
    else:
        if quick:
            rounds, cases = 1, QUICK_CASES if list(cases) == list(TABLE_CASES) else cases
        folder = Path(tempfile.mkdtemp())
        try:
            written = measure(folder, cases, rounds=rounds, quick=quick, json_file=json_file)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    report.print_machine(written["machine"])
    results.print_results(written, report.console)
    if plot_file:
        results.plot(written, plot_file)


def measure(folder: Path, cases: Sequence[str], *, rounds: int, quick: bool, json_file: Path | None) -> dict[str, Any]:
    """Returns the results, and writes them after each round."""
    written: dict[str, Any] = {
        "machine": report.machine(),
        "rounds": rounds,
        "missing": missing(),
        "checks": {},
        "cases": {},
        "goals": [],
        "costs": [],
    }
    rows = {}
    for num_ids in dict.fromkeys(TABLE_CASES[case][0] for case in cases):
        rows[num_ids] = write_rows(folder / str(num_ids), num_ids, QUICK_ROWS if quick else tables_data.NUM_ROWS)
        if num_ids <= MAX_CHECK_IDS:
            written["checks"][num_ids] = check(rows[num_ids], folder / str(num_ids) / "check")
    measured: dict[str, dict[str, list[dict[str, Any]]]] = {case: {} for case in cases}
    for k in range(rounds):
        for case in cases:
            report.console.print(f"round {k + 1} of {rounds}, {case}")
            num_ids, batch_size = TABLE_CASES[case]
            for name, values in one_round(rows[num_ids], num_ids, batch_size, QUICK_SECONDS if quick else SECONDS):
                measured[case].setdefault(name, []).append(values)
        written["cases"] = {case: results.rows_of(of_case) for case, of_case in measured.items()}
        written["goals"] = results.goals_of(measured)
        report.write_json(written, json_file)
    costs = {}
    for num_ids in [num_ids for num_ids in COST_IDS if num_ids in rows]:
        report.console.print(f"epoch ends and checkpoints, {num_ids:,} ids")
        costs[num_ids] = in_process("tables_tfrun", "costs", [*rows[num_ids].overrides, "data.batch_size=512"])
    written["costs"] = results.cost_rows(costs) if costs else []
    report.write_json(written, json_file)
    return written


def missing() -> dict[str, str]:
    """Returns how to install the optional contenders that aren't installed, by name."""
    return {name: how for name, (module, how) in OPTIONAL.items() if not importlib.util.find_spec(module)}


def write_rows(folder: Path, num_ids: int, num_rows: int) -> Rows:
    """Writes the rows, raw for tfrun and encoded for the others, into a folder, which is made."""
    folder.mkdir()
    overrides = in_process("tables_data", "write", folder, num_ids, num_rows)
    in_process("tables_keras", "prepare", overrides, folder)
    return Rows(folder, overrides)


def check(rows: Rows, folder: Path) -> dict[str, Any]:
    """Lets all contenders take the same steps; returns how far off their losses were, relatively, by optimizer.

    Raises:
        SystemExit: a loss that has to agree doesn't.
    """
    folder.mkdir()
    length = [f"data.batch_size={CHECK_BATCH}", f"data.limit_rows={CHECK_STEPS * CHECK_BATCH}"]
    own = {name: one_optimizer(name) for name in OPTIMIZERS}
    found = in_process("tables_keras", "check", [*rows.overrides, *length], own, folder)
    for contender in MODULES.keys() - missing().keys():
        for name in COMPARED[contender]:
            losses = in_process(MODULES[contender], "losses", folder, name, OPTIMIZERS[name], CHECK_BATCH)
            expected = (found[name]["train_loss"], found[name]["val_loss"])
            differences = [abs(loss / value - 1) for loss, value in zip(losses, expected, strict=True)]
            found[name]["differences"][contender] = max(differences)
    refuse_other_work(found)
    return found


def refuse_other_work(found: Mapping[str, Any]) -> None:
    """Ends the benchmark if losses that have to agree don't."""
    too_large = {
        f"{contender} with {name}": difference
        for name, of_optimizer in found.items()
        for contender, difference in of_optimizer["differences"].items()
        if name in COMPARED.get(contender, OPTIMIZERS) and not difference <= TOLERANCE
    }
    if too_large:
        raise SystemExit(f"not the same work: losses after the same steps differ by more than {TOLERANCE}: {too_large}")


def one_optimizer(name: str) -> list[str]:
    """Returns the overrides for an optimizer of all variables."""
    lazy = ["optimizer.rows=lazy"] if name == "adam" else []
    return [f"optimizer={name}", *(f"optimizer.{key}={value}" for key, value in OPTIMIZERS[name].items()), *lazy]


def one_round(rows: Rows, num_ids: int, batch_size: int, seconds: float) -> Iterator[tuple[str, dict[str, Any]]]:
    """Trains every contender once; yields their names and what was measured of them."""
    overrides = [*rows.overrides, f"data.batch_size={batch_size}"]
    tfrun: dict[str, Sequence[str]] = {
        results.TFRUN: [],
        results.TFRUN_ADAGRAD: one_optimizer("adagrad"),
        results.TFRUN_LAZY: one_optimizer("adam"),
    }
    fit: dict[str, Sequence[str]] = {results.FIT_ALIKE: []}
    if num_ids <= MAX_SLOW_IDS:
        tfrun[results.WHOLE] = ["optimizer.rows=dense"]
        fit |= {f"fit(), {label}": one_optimizer(name) for name, label in (("adagrad", "AdaGrad"), ("adam", "Adam"))}
    for name, own in tfrun.items():
        yield name, in_process("tables_tfrun", "measure", [*overrides, *own], seconds=seconds)
    length: dict[str, Any] = {"batch_size": batch_size, "seconds": seconds}
    for name, own in fit.items():
        yield name, in_process("tables_keras", "measure_fit", [*overrides, *own], rows.folder, **length)
    absent = missing()
    if results.PYTORCH not in absent:
        threads = sorted({1, os.cpu_count() or 1})
        for name, label in (("adagrad", "AdaGrad"), ("adam", "SparseAdam")):
            values = OPTIMIZERS[name]
            measured = in_process("tables_torch", "measure", rows.folder, name, values, num_threads=threads, **length)
            for count, of_count in measured.items():
                yield f"{results.PYTORCH}, {label}, threads: {count}", of_count
    if results.JAX not in absent:
        values = OPTIMIZERS["adagrad"]
        yield f"{results.JAX}, AdaGrad", in_process("tables_jax", "measure", rows.folder, "adagrad", values, **length)
