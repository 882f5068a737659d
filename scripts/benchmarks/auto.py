"""Compares the mode that trainer.compile=auto picks with the best fixed mode, and measures the cost of picking.

Every run has a fresh process, in which nothing is compiled yet, and is stopped after a while. There
are two plans for each case: a short one that ends by itself, and one of about a minute, long enough
for auto to compare the modes. Auto starts with an empty cache, except in a second run of the longer
plan ("again"), which finds the first one's answer. There is no second run if auto has only one mode
to pick.

If a model convolves, XLA is left out: with trainer.deterministic it can't compile the gradient of pooling.

The cost is auto's compile_seconds minus those of the same fixed mode. The seconds of the planned
run are the fixed mode's compile_seconds plus all planned steps at its rate.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import statistics
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks import report
from benchmarks.cases import CASES
from benchmarks.tfrun_run import ENDLESS, train_for

SECONDS = 1.0  # of each run's training
SHORT_STEPS = 2000
LONG_SECONDS = 60.0  # of training in the best fixed mode
FIXED = {"xla_loop": "xla", "graph_loop": "graph"}
MIN_RATIO = 0.9  # the target for the picked mode's rate ÷ the best fixed mode's
MAX_COST_SECONDS = 3.0  # the targets for the cost of picking
MAX_COST_SHARE = 0.05


@dataclass(frozen=True, kw_only=True)
class Trained:
    """Measurements of a run.

    Attributes:
        mode: in which it trained.
        why: the reason for the mode.
        compile_seconds: before its first timed step.
        rate: steps per second.
    """

    mode: str
    why: str
    compile_seconds: float
    rate: float

    def planned_seconds(self, num_steps: int) -> float:
        """Returns the estimated seconds of a run of `num_steps` steps."""
        return self.compile_seconds + num_steps / self.rate


Runner = Callable[[Sequence[str], Path], Trained]  # trains with overrides and a cache folder, in a fresh process


def run(*, cases: Sequence[str], rounds: int, json_file: Path | None) -> None:
    """Measures the cases, prints one table of all and writes the numbers.

    Args:
        cases: names of cases.
        rounds: how often each run is repeated; the table shows medians.
        json_file: where to write the numbers as well.
    """
    written: dict[str, Any] = {"machine": report.machine(), "rounds": rounds, "rows": []}
    report.print_machine(written["machine"])
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.tfrun_run"])  # TensorFlow is imported once for all
    with ProcessPoolExecutor(1, context, max_tasks_per_child=1) as process:

        def train(overrides: Sequence[str], cache: Path) -> Trained:
            return process.submit(_trained, overrides, cache).result()

        for name in cases:
            written["rows"] += measure_case(name, rounds=rounds, train=train)
            report.write_json(written, json_file)
    print_table(written["rows"])


def measure_case(name: str, *, rounds: int, train: Runner) -> list[dict[str, Any]]:
    """Returns a case's rows, one for each plan."""
    folder = Path(tempfile.mkdtemp())
    try:
        overrides = [*CASES[name].write(folder), *CASES[name].overrides]
        modes = {mode: word for mode, word in FIXED.items() if not (word == "xla" and CASES[name].convolves)}
        num_steps = {"short": SHORT_STEPS}  # by plan
        fixed: list[dict[str, Trained]] = []
        auto: dict[str, list[Trained]] = {}
        for k in range(rounds):
            fixed.append(
                {
                    mode: train([*overrides, *ENDLESS, f"trainer.compile={word}"], folder / "unused")
                    for mode, word in modes.items()
                }
            )
            num_steps.setdefault("long", round(LONG_SECONDS * max(run.rate for run in fixed[0].values())))
            for plan, steps in num_steps.items():
                planned = [*overrides, "trainer.max_epochs=null", f"trainer.max_steps={steps}"]
                for again in ("", " again") if plan == "long" and len(modes) > 1 else ("",):
                    auto.setdefault(plan + again, []).append(train(planned, folder / f"{plan}-{k}"))
        return [
            {"case": name, "plan": plan, **row_of(runs, fixed, num_steps=num_steps[plan.split()[0]])}
            for plan, runs in auto.items()
        ]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def row_of(runs: Sequence[Trained], fixed: Sequence[dict[str, Trained]], *, num_steps: int) -> dict[str, Any]:
    """Returns medians over the rounds; the ratios and the cost are taken within each round.

    Args:
        runs: auto's run of each round.
        fixed: each round's runs in the fixed modes, by mode.
        num_steps: of the plan.
    """
    same = [by_mode[run.mode] for run, by_mode in zip(runs, fixed, strict=True)]  # the fixed runs in auto's mode
    best = [max(run.rate for run in by_mode.values()) for by_mode in fixed]
    planned = statistics.median(run.planned_seconds(num_steps) for run in same)
    cost = statistics.median(run.compile_seconds - other.compile_seconds for run, other in zip(runs, same, strict=True))
    return {
        "steps": num_steps,
        "fixed": {mode: statistics.median(by_mode[mode].rate for by_mode in fixed) for mode in fixed[0]},
        "picks": sorted({run.mode for run in runs}),
        "why": runs[-1].why,
        "steps_per_second": statistics.median(run.rate for run in runs),
        "ratio": statistics.median(run.rate / rate for run, rate in zip(runs, best, strict=True)),
        "pick_ratio": statistics.median(run.rate / rate for run, rate in zip(same, best, strict=True)),
        "cost_seconds": cost,
        "planned_seconds": planned,
        "cost_share": cost / planned,
        "best_planned_seconds": min(
            statistics.median(by_mode[mode].planned_seconds(num_steps) for by_mode in fixed) for mode in fixed[0]
        ),
    }


def _trained(overrides: Sequence[str], cache: Path) -> Trained:
    os.environ["XDG_CACHE_HOME"] = str(cache)
    record = train_for(overrides, SECONDS)
    return Trained(
        mode=record["engine"]["mode"],
        why=record["engine"]["why"],
        compile_seconds=record["timing"]["compile_seconds"],
        rate=record["timing"]["steps_per_second"],
    )


def print_table(rows: Sequence[dict[str, Any]]) -> None:
    """Prints the picks, their cost, and the targets that they miss."""
    heads = ["xla", "graph", "auto", "pick ÷ best", "auto ÷ best", "planned s", "best s", "cost s", "of run"]
    table = Table(title="steps/s of the modes, and auto", title_justify="left")
    for head in ["case", "plan", *heads, "pick", ""]:
        table.add_column(head, justify="left" if head in ("case", "plan", "pick", "") else "right", no_wrap=True)
    for row in rows:
        table.add_row(
            row["case"],
            row["plan"],
            *(f"{row['fixed'][mode]:,.0f}" if mode in row["fixed"] else "" for mode in FIXED),
            f"{row['steps_per_second']:,.0f}",
            *(f"{row[key]:.2f}" for key in ("pick_ratio", "ratio")),
            *(f"{row[key]:.1f}" for key in ("planned_seconds", "best_planned_seconds")),
            f"{row['cost_seconds']:.2f}",
            f"{row['cost_share']:.1%}",
            ", ".join(row["picks"]),
            ", ".join(faults(row)),
        )
    report.console.print(table)
    for row in rows:
        report.console.print(f"{row['case']}, {row['plan']}, {row['steps']:,} steps: {row['why']}", markup=False)


def faults(row: dict[str, Any]) -> list[str]:
    """Returns the names of the targets that a row misses."""
    names = []
    if row["pick_ratio"] < MIN_RATIO:
        names.append("slow pick")
    if row["cost_seconds"] > min(MAX_COST_SECONDS, MAX_COST_SHARE * row["planned_seconds"]):
        names.append("cost")
    return names
