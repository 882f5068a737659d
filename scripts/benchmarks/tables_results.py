"""The results of the tables' benchmark: rows of its tables, what the goals ask for, and the plot."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.cases import TABLE_CASES
from benchmarks.plots import pyplot

TFRUN = "tfrun"
TFRUN_LAZY = "tfrun, lazy Adam"
TFRUN_ADAGRAD = "tfrun, AdaGrad"
WHOLE = "tfrun, whole tables"
FIT_ALIKE = "fit(), tfrun's optimizers"
PYTORCH = "PyTorch"
JAX = "JAX"
GOALS = {FIT_ALIKE: 250, PYTORCH: 5, WHOLE: 1}  # tfrun's rate divided by theirs
GOAL_IDS = {FIT_ALIKE: 10**6, PYTORCH: 10**6, WHOLE: 10**4}  # for how many ids that is asked
FLAT_GOAL = 0.8  # the rate with the most ids divided by that with the fewest
FLAT_IDS = (10**7, 10**4)
COLOURS = {
    TFRUN: "#0b5fa5",
    TFRUN_LAZY: "#0b5fa5",
    WHOLE: "#7aa6cc",
    PYTORCH: "#c2410c",
    JAX: "#15803d",
    FIT_ALIKE: "#555555",
}

Measured = Mapping[str, Sequence[Mapping[str, Any]]]  # of each contender, one for each round


def spread(values: Sequence[float]) -> dict[str, float]:
    """Returns the median, the smallest and the largest value."""
    return {"median": statistics.median(values), "least": min(values), "greatest": max(values)}


def ratio(measured: Measured, name: str, base: str) -> dict[str, float]:
    """Returns the spread of a contender's rate divided by the base's, each within a round."""
    pairs = zip(measured[name], measured[base], strict=True)
    return spread([one["steps_per_second"] / other["steps_per_second"] for one, other in pairs])


def best_of(measured: Measured, kind: str) -> str | None:
    """Returns the contender of a kind with the largest median rate, or None if there is none."""
    names = [name for name in measured if name.startswith(kind)]
    medians = {name: statistics.median(each["steps_per_second"] for each in measured[name]) for name in names}
    return max(medians, key=medians.__getitem__, default=None)


def rows_of(measured: Measured) -> list[dict[str, Any]]:
    """Returns the rows of a case's table."""
    return [
        {
            "contender": name,
            "steps_per_second": spread([each["steps_per_second"] for each in rounds]),
            "tfrun_is_faster_by": ratio(measured, TFRUN, name),
            "in_epochs": _median([each.get("in_epochs") for each in rounds]),
            "cpu_ms": statistics.median(each["cpu_ms"] for each in rounds),
            "peak_mb": max(each["peak_mb"] for each in rounds),
            "rounds": [dict(each) for each in rounds],
        }
        for name, rounds in measured.items()
    ]


def _median(values: Sequence[float | None]) -> float | None:
    numbers = [value for value in values if value is not None]
    return statistics.median(numbers) if numbers else None


def goals_of(by_case: Mapping[str, Measured]) -> list[dict[str, Any]]:
    """Returns what the goals ask for, as far as it was measured: `what`, its `value` and the `goal`."""
    goals = []
    for case, measured in by_case.items():
        num_ids, _ = TABLE_CASES[case]
        for kind, goal in GOALS.items():
            best = best_of(measured, kind)
            if best is not None and num_ids == GOAL_IDS[kind]:
                value = ratio(measured, TFRUN, best)
                goals.append({"what": f"{case}: tfrun ÷ {best}", "value": value, "goal": goal})
    for case, measured in by_case.items():
        num_ids, batch_size = TABLE_CASES[case]
        others = [other for other, size in TABLE_CASES.items() if size == (FLAT_IDS[1], batch_size)]
        if num_ids == FLAT_IDS[0] and others[0] in by_case:
            both = {case: measured[TFRUN], others[0]: by_case[others[0]][TFRUN]}
            what = f"{case}: tfrun ÷ tfrun of {others[0]}"
            goals.append({"what": what, "value": ratio(both, case, others[0]), "goal": FLAT_GOAL})
    return goals


def cost_rows(costs: Mapping[int, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Returns the rows of the table of what isn't a step, by the number of ids.

    `copies` is how many times the weights a process' memory grows by, compared with the fewest ids.
    """
    fewest = costs[min(costs)]
    rows = []
    for num_ids, cost in costs.items():
        more_mb = 4e-6 * (cost["parameters"] - fewest["parameters"])
        copies = (cost["peak_mb"] - fewest["peak_mb"]) / more_mb if more_mb else None
        rows.append({"ids": num_ids, **cost, "weights_mb": 4e-6 * cost["parameters"], "copies": copies})
    return rows


def print_results(written: Mapping[str, Any], console: Console) -> None:
    """Prints the tables of all cases, the goals, and the costs of what isn't a step."""
    for case, rows in written["cases"].items():
        num_ids, batch_size = TABLE_CASES[case]
        table = Table(title=f"{case}: {num_ids:,} ids a column, batch {batch_size}", title_justify="left")
        for head in [
            "contender",
            "steps/s",
            "least..greatest",
            "in epochs",
            "tfrun ÷ it",
            "least..greatest",
            "CPU ms",
            "MB",
        ]:
            table.add_column(head, justify="left" if head == "contender" else "right", no_wrap=True)
        for row in rows:
            rate, faster = row["steps_per_second"], row["tfrun_is_faster_by"]
            table.add_row(
                row["contender"],
                f"{rate['median']:,.1f}",
                f"{rate['least']:,.1f}..{rate['greatest']:,.1f}",
                "" if row["in_epochs"] is None else f"{row['in_epochs']:,.1f}",
                f"{faster['median']:,.2f}",
                f"{faster['least']:,.2f}..{faster['greatest']:,.2f}",
                f"{row['cpu_ms']:,.2f}",
                f"{row['peak_mb']:,.0f}",
            )
        console.print(table)
    for goal in written["goals"]:
        value = goal["value"]
        is_reached = "reached" if value["median"] >= goal["goal"] else "not reached"
        values = f"{value['median']:,.2f} ({value['least']:,.2f}..{value['greatest']:,.2f})"
        console.print(f"{goal['what']}: {values}; the goal, {goal['goal']}, is {is_reached}", markup=False)
    if written["costs"]:
        _print_costs(written["costs"], console)
    for name, how in written["missing"].items():
        console.print(f"{name}: not installed ({how})", markup=False)


def _print_costs(rows: Sequence[Mapping[str, Any]], console: Console) -> None:
    table = Table(title="what isn't a step, in seconds, and memory", title_justify="left")
    columns = {
        "ids": ("ids", ","),
        "build_seconds": ("build", ".2f"),
        "compile_seconds": ("compile", ".2f"),
        "epoch_end_seconds": ("epoch end", ".3f"),
        "checkpoint_seconds": ("checkpoint", ".2f"),
        "waited_seconds": ("of it waited", ".2f"),
        "weights_mb": ("weights MB", ",.0f"),
        "peak_mb": ("peak MB", ",.0f"),
        "copies": ("more MB ÷ weights", ".1f"),
    }
    for head, _ in columns.values():
        table.add_column(head, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*("" if row[key] is None else format(row[key], form) for key, (_, form) in columns.items()))
    console.print(table)


def plot(written: Mapping[str, Any], file: Path) -> None:
    """Draws steps per second over the number of ids, a panel for each batch size."""
    rates: dict[int, dict[str, dict[int, float]]] = {}  # by batch size, line and number of ids
    for case, rows in written["cases"].items():
        num_ids, batch_size = TABLE_CASES[case]
        for row in rows:
            lines = rates.setdefault(batch_size, {})
            kind = row["contender"] if row["contender"] in COLOURS else row["contender"].partition(",")[0]
            if kind in (PYTORCH, JAX) or row["contender"] in COLOURS:  # the best of the others of a kind
                line = lines.setdefault(kind, {})
                line[num_ids] = max(line.get(num_ids, -math.inf), row["steps_per_second"]["median"])
    size = (5 * len(rates), 3.4)
    figure, panels = pyplot().subplots(1, len(rates), figsize=size, sharey=True, squeeze=False, layout="constrained")
    for panel, (batch_size, lines) in zip(panels[0], rates.items(), strict=True):
        for name, line in lines.items():
            style = "o--" if name == TFRUN_LAZY else "o-"
            label = f"{name}, the best" if name == PYTORCH else name
            panel.loglog(line.keys(), line.values(), style, color=COLOURS[name], markersize=3, label=label)
        panel.set_title(f"batch {batch_size}", fontsize=9)
        panel.set_xlabel("ids of a column; two columns")
        panel.grid(color="#dddddd", linewidth=0.5)
        panel.legend(fontsize=7, loc="lower left")
    panels[0][0].set_ylabel("steps per second")
    figure.savefig(file, format="svg", metadata={"Date": None})
