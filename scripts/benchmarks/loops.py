"""Compares tfrun with Keras' fit() and other loops: steps per second, the first step, memory, as ratios in one run.

A round runs every contender once, one after the other, so that whatever slows the machine down
slows them all. A ratio is taken within a round; the table shows the median over the rounds with the
smallest and the largest.
"""

from __future__ import annotations

import multiprocessing
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import tensorflow as tf

from benchmarks import report
from benchmarks.cases import CASES, Case
from benchmarks.contenders import BASE, Contender, Usage, all_contenders, missing
from benchmarks.machine import Neighbours
from benchmarks.results import Result, rows_of, summary_of
from benchmarks.setup import Reference

TOLERANCE = 1e-4  # of the losses after the same steps, relative
# More steps would not do: some unit ends up on the other side of a relu's kink, and float32 losses drift apart.
CHECK_STEPS = 16
QUICK_ROUNDS = 1
QUICK_USAGES = ("tfrun", BASE)
SECONDS = 1.5  # about how long each contender but tfrun trains in a round
QUICK_SECONDS = 0.2


def run(*, cases: Sequence[str], rounds: int, quick: bool, patience: float, json_file: Path | None) -> None:
    """Measures the cases, prints a table of each and writes the numbers.

    Args:
        cases: names of cases.
        rounds: how often every contender is timed.
        quick: whether to do one short round, to see that everything works.
        patience: the longest wait in seconds for an idle machine, before each measurement.
        json_file: where to write the numbers as well.
    """
    rounds = QUICK_ROUNDS if quick else rounds
    # TensorFlow takes the contenders' functions of one name for one function that is traced again, and warns
    tf.get_logger().setLevel("ERROR")
    tf.config.experimental.enable_tensor_float_32_execution(False)  # with it, a GPU's losses could not be compared
    absent = missing()
    written: dict[str, Any] = {"machine": report.machine(), "rounds": rounds, "missing": absent, "cases": {}}
    report.print_machine(written["machine"])
    for name in cases:
        results = measure_case(CASES[name], rounds=rounds, quick=quick, patience=patience)
        rows = rows_of(results)
        summary = summary_of(results)
        report.print_table(f"{name}: {rounds} rounds", rows)
        report.print_summary(summary, absent)
        written["cases"][name] = {"rows": rows, "summary": summary}
        report.write_json(written, json_file)


def measure_case(case: Case, *, rounds: int, quick: bool, patience: float) -> dict[str, Result]:
    """Checks that all contenders do the same work, then measures them; returns the results by name."""
    folder = Path(tempfile.mkdtemp())
    try:
        overrides = [*case.write(folder), *case.overrides]
        epochs = max(4, case.epochs // 250) if quick else case.epochs
        seconds = QUICK_SECONDS if quick else SECONDS
        contenders = all_contenders(case, overrides, epochs=epochs, seconds=seconds, quick=quick)
        differences = check_same_work(case, contenders)
        results = measure(contenders, rounds=rounds, quick=quick, patience=patience)
        for contender in contenders:
            results[contender.name].difference = differences[contender.name]
        # a process for each contender takes longest, so a quick run measures only tfrun and fit() here
        measured = [contender for contender in contenders if contender.name in QUICK_USAGES or not quick]
        for contender, usage in zip(measured, measure_usage(measured, quick=quick), strict=True):
            results[contender.name].usage = usage
        return results
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check_same_work(case: Case, contenders: Iterable[Contender]) -> dict[str, float]:
    """Lets all contenders take the same steps from the same weights; returns the relative difference of each one.

    The steps are a short epoch. The validation losses are compared with those of a plain eager loop; tfrun's mean
    training losses are compared as well.
    """
    references: dict[tuple[str, ...], Reference] = {}
    differences = {}
    for contender in contenders:
        overrides = (*contender.overrides, f"data.limit_rows={CHECK_STEPS * case.batch_size}")
        if overrides not in references:
            references[overrides] = Reference.of(overrides, case.loss)
        differences[contender.name] = contender.difference(references[overrides])
    too_large = {name: difference for name, difference in differences.items() if not difference <= TOLERANCE}
    if too_large:
        raise SystemExit(f"not the same work: losses after the same steps differ by more than {TOLERANCE}: {too_large}")
    return differences


def measure(contenders: Sequence[Contender], *, rounds: int, quick: bool, patience: float) -> dict[str, Result]:
    """Runs the rounds; returns the results by name."""
    neighbours = Neighbours()
    results: dict[str, Result] = {}
    try:
        for contender in contenders:
            contender.start(quick=quick)
        for _ in range(rounds):
            for contender in contenders:
                neighbours.wait(patience)
                for name, rate in contender.rates().items():
                    results.setdefault(name, Result()).rates.append(rate)
                results[contender.name].others.append(neighbours.cores())
    finally:
        for contender in contenders:
            contender.close()
    return results


def measure_usage(contenders: Iterable[Contender], *, quick: bool) -> list[Usage]:
    """Measures first steps and memory, each in a fresh process; `quick` imports TensorFlow only once for all."""
    context = multiprocessing.get_context("forkserver" if quick else "spawn")
    if quick:
        context.set_forkserver_preload(["benchmarks.contenders"])
    with ProcessPoolExecutor(1, context, max_tasks_per_child=1) as process:
        return list(process.map(_usage, contenders))


def _usage(contender: Contender) -> Usage:
    return contender.usage()
