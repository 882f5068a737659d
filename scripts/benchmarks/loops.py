"""tfrun beside Keras' fit() and other loops: steps per second, the first step, memory, as ratios in one run.

A round runs every contender once, one after the other, so that what slows the machine down slows them all; a ratio is
taken within a round, and the median over the rounds is shown with the least and the greatest.
"""

from __future__ import annotations

import json
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
from benchmarks.contenders import Contender, Usage, all_contenders, missing
from benchmarks.machine import Neighbours
from benchmarks.results import Result, rows_of, summary_of
from benchmarks.setup import Reference

TOLERANCE = 1e-4  # of the losses after the same steps, relative
# Of the check. Later a rounding error has put some unit on the other side of a relu's kink, and float32 losses part.
CHECK_STEPS = 16
QUICK_USAGES = 3
SECONDS, QUICK_SECONDS = 1.5, 0.2  # about how long each contender but tfrun trains in a round


def run(cases: Sequence[str], rounds: int, quick: bool, patience: float, json_file: Path | None) -> None:
    """Measures the cases, prints a table of each and writes the numbers.

    Args:
        cases: their names.
        rounds: how often everyone is timed.
        quick: whether to see that it works, not how fast it is.
        patience: how many seconds to wait for an idle machine before each measurement.
        json_file: where to write the numbers as well.
    """
    tf.get_logger().setLevel("ERROR")  # it takes the contenders' functions of one name for one that is traced again
    tf.config.experimental.enable_tensor_float_32_execution(False)  # or a GPU's losses could not be compared
    absent = missing()
    written: dict[str, Any] = {"machine": report.machine(), "rounds": rounds, "missing": absent, "cases": {}}
    report.print_machine(written["machine"])
    for name in cases:
        results = measure_case(CASES[name], rounds, quick, patience)
        rows, summary = rows_of(results), summary_of(results)
        report.print_table(f"{name}: {rounds} rounds", rows)
        report.print_summary(summary, absent)
        written["cases"][name] = {"rows": rows, "summary": summary}
        if json_file:
            json_file.write_text(json.dumps(written, indent=1) + "\n")


def measure_case(case: Case, rounds: int, quick: bool, patience: float) -> dict[str, Result]:
    """Checks that all do the same work, then measures them; returns the results by name."""
    folder = Path(tempfile.mkdtemp())
    try:
        words = [*case.write(folder), *case.words]
        epochs = max(2, case.epochs // 10) if quick else case.epochs
        contenders = all_contenders(case, words, epochs, QUICK_SECONDS if quick else SECONDS)
        differences = check_same_work(case, contenders)
        results = measure(contenders, rounds, patience)
        for contender in contenders:
            results[contender.name].difference = differences[contender.name]
        # a process each is what takes longest: a quick run has two of tfrun's and one of fit()'s
        measured = contenders[:QUICK_USAGES] if quick else contenders
        for contender, usage in zip(measured, measure_usage(measured, quick), strict=True):
            results[contender.name].usage = usage
        return results
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check_same_work(case: Case, contenders: Iterable[Contender]) -> dict[str, float]:
    """Lets all take the same steps from the same weights; returns each one's relative difference.

    The steps are a short epoch. Compared are the validation losses with those of a plain eager loop, for tfrun the mean
    training losses as well.
    """
    references: dict[tuple[str, ...], Reference] = {}
    differences = {}
    for contender in contenders:
        words = (*contender.words, f"data.limit_rows={CHECK_STEPS * case.batch_size}")
        if words not in references:
            references[words] = Reference.of(words, case.loss)
        differences[contender.name] = contender.difference(references[words])
    far = {name: difference for name, difference in differences.items() if not difference <= TOLERANCE}
    if far:
        raise SystemExit(f"not the same work: losses after the same steps differ by more than {TOLERANCE}: {far}")
    return differences


def measure(contenders: Sequence[Contender], rounds: int, patience: float) -> dict[str, Result]:
    """Runs the rounds; returns the results by name."""
    neighbours = Neighbours()
    results: dict[str, Result] = {}
    try:
        for contender in contenders:
            contender.start()
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


def measure_usage(contenders: Iterable[Contender], quick: bool) -> list[Usage]:
    """Measures first steps and memory, each in a process of its own; `quick` imports TensorFlow only once for all."""
    context = multiprocessing.get_context("forkserver" if quick else "spawn")
    if quick:
        context.set_forkserver_preload(["benchmarks.contenders"])
    with ProcessPoolExecutor(1, context, max_tasks_per_child=1) as process:
        return list(process.map(_usage, contenders))


def _usage(contender: Contender) -> Usage:
    return contender.usage()
