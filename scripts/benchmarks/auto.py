"""What trainer.compile=auto picks, beside the best fixed mode, and what picking costs.

Every run has a process of its own, in which nothing is compiled yet, and is stopped after a while. There are two plans
for each case: a short one that ends by itself, and one of about a minute, long enough for auto to compare the modes.
Auto has an empty cache, but for a second run of the longer plan, which finds the first one's answer. It is not made
where auto has a single mode to pick.

Where a model convolves, XLA is left out: with trainer.deterministic it can't compile pooling's gradient.

The cost is auto's compile_seconds without those of the same fixed mode; the planned run's seconds are the latter with
all planned steps at that mode's rate.
"""

from __future__ import annotations

import json
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
LONG_SECONDS = 60.0  # of the best fixed mode
FIXED = {"xla_loop": "xla", "graph_loop": "graph"}
WANTED = 0.9  # of the best fixed mode's rate
MOST_SECONDS, MOST_OF_RUN = 3.0, 0.05  # that picking may cost


@dataclass(frozen=True)
class Trained:
    """What a run did: its mode, why, the seconds before its first timed step, and its steps per second."""

    mode: str
    why: str
    compile_seconds: float
    rate: float

    def planned_seconds(self, num_steps: int) -> float:
        """Returns what a run of so many steps takes."""
        return self.compile_seconds + num_steps / self.rate


Runner = Callable[..., Trained]  # (overrides, cache folder) → what they do in a process of their own


def run(names: Sequence[str], rounds: int, json_file: Path | None) -> None:
    """Measures the cases, prints a table of all and writes the numbers.

    Args:
        names: the cases'.
        rounds: how often each run is made; medians are shown.
        json_file: where to write the numbers as well.
    """
    written: dict[str, Any] = {"machine": report.machine(), "rounds": rounds, "rows": []}
    report.print_machine(written["machine"])
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.tfrun_run"])  # TensorFlow is imported once for all
    with ProcessPoolExecutor(1, context, max_tasks_per_child=1) as process:
        for name in names:
            written["rows"] += measure_case(
                name, rounds, lambda words, cache: process.submit(_trained, words, cache).result()
            )
            if json_file:
                json_file.write_text(json.dumps(written, indent=1) + "\n")
    print_table(written["rows"])


def measure_case(name: str, rounds: int, train: Runner) -> list[dict[str, Any]]:
    """Returns a case's rows, one for each plan."""
    folder = Path(tempfile.mkdtemp())
    try:
        words = [*CASES[name].write(folder), *CASES[name].words]
        compiled = {mode: word for mode, word in FIXED.items() if not (word == "xla" and CASES[name].convolves)}
        plans = {"short": SHORT_STEPS}
        fixed: list[dict[str, Trained]] = []
        found: dict[str, list[Trained]] = {}
        for k in range(rounds):
            fixed.append(
                {
                    mode: train([*words, *ENDLESS, f"trainer.compile={compile}"], folder / "unused")
                    for mode, compile in compiled.items()
                }
            )
            plans.setdefault("long", round(LONG_SECONDS * max(run.rate for run in fixed[0].values())))
            for plan, num_steps in plans.items():
                planned = [*words, "trainer.max_epochs=null", f"trainer.max_steps={num_steps}"]
                for again in ("", " again") if plan == "long" and len(compiled) > 1 else ("",):
                    found.setdefault(plan + again, []).append(train(planned, folder / f"{plan}-{k}"))
        return [
            {"case": name, "plan": plan, **row_of(plans[plan.split()[0]], runs, fixed)} for plan, runs in found.items()
        ]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def row_of(num_steps: int, runs: Sequence[Trained], fixed: Sequence[dict[str, Trained]]) -> dict[str, Any]:
    """Returns medians over the rounds; the ratios and the cost are taken within each round.

    Args:
        num_steps: of the plan.
        runs: auto's, one of each round.
        fixed: the fixed modes' of each round.
    """
    same = [modes[run.mode] for run, modes in zip(runs, fixed, strict=True)]
    best = [max(run.rate for run in modes.values()) for modes in fixed]
    planned = statistics.median(run.planned_seconds(num_steps) for run in same)
    cost = statistics.median(run.compile_seconds - other.compile_seconds for run, other in zip(runs, same, strict=True))
    return {
        "steps": num_steps,
        "fixed": {mode: statistics.median(modes[mode].rate for modes in fixed) for mode in fixed[0]},
        "picks": sorted({run.mode for run in runs}),
        "why": runs[-1].why,
        "steps_per_second": statistics.median(run.rate for run in runs),
        "ratio": statistics.median(run.rate / rate for run, rate in zip(runs, best, strict=True)),
        "pick_ratio": statistics.median(run.rate / rate for run, rate in zip(same, best, strict=True)),
        "cost_seconds": cost,
        "planned_seconds": planned,
        "cost_share": cost / planned,
        "best_planned_seconds": min(
            statistics.median(modes[mode].planned_seconds(num_steps) for modes in fixed) for mode in fixed[0]
        ),
    }


def _trained(words: Sequence[str], cache: Path) -> Trained:
    os.environ["XDG_CACHE_HOME"] = str(cache)
    record = train_for(words, SECONDS)
    engine, timing = record["engine"], record["timing"]
    return Trained(engine["mode"], engine["why"], timing["compile_seconds"], timing["steps_per_second"])


def print_table(rows: Sequence[dict[str, Any]]) -> None:
    """Prints the picks and what they cost, and what is not as it is wanted."""
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
    """Returns what is not as it is wanted."""
    found = ["slow pick"] if row["pick_ratio"] < WANTED else []
    return found + ["cost"] * (row["cost_seconds"] > min(MOST_SECONDS, MOST_OF_RUN * row["planned_seconds"]))
