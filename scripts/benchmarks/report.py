"""The comparison on the terminal, and the machine's description."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import keras
import tensorflow as tf
from rich.console import Console
from rich.table import Table

from benchmarks.machine import cpu_name

HEADS = ("steps/s", "least..greatest", "÷ fit()", "least..greatest", "first s", "MB", "GPU MB", "others", "loss off by")

console = Console(width=160, highlight=False)


def machine() -> dict[str, Any]:
    """Returns what the numbers were measured on."""
    gpus = [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")]
    return {
        "date": date.today().isoformat(),
        "cpu": cpu_name() or platform.processor(),
        "cores": os.cpu_count(),
        "gpus": [details.get("device_name", "unnamed") for details in gpus],
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
    }


def print_machine(described: Mapping[str, Any]) -> None:
    """Prints the machine in a line."""
    values = {key: ", ".join(value) or "none" if key == "gpus" else value for key, value in described.items()}
    console.print("; ".join(f"{key} {value}" for key, value in values.items()))


def print_table(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Prints a case's table; a column that nobody has a value for is left out."""
    lines = [_cells(row) for row in rows]
    kept = [k for k, cells in enumerate(zip(*lines, strict=True)) if any(cells)]
    table = Table(title=title, title_justify="left")
    for k in kept:
        table.add_column(("contender", *HEADS)[k], justify="right" if k else "left", no_wrap=True)
    for line in lines:
        table.add_row(*(line[k] for k in kept))
    console.print(table)


def _cells(row: Mapping[str, Any]) -> list[str]:
    def shown(key: str, form: str) -> str:
        return "" if row[key] is None else format(row[key], form)

    rate, ratio = row["steps_per_second"], row["ratio"]
    return [
        row["contender"],
        f"{rate['median']:,.0f}",
        f"{rate['least']:,.0f}..{rate['greatest']:,.0f}",
        f"{ratio['median']:.2f}",
        f"{ratio['least']:.2f}..{ratio['greatest']:.2f}",
        shown("first_step_seconds", ".2f"),
        shown("peak_mb", ",.0f"),
        shown("gpu_peak_mb", ",.0f"),
        shown("others_cores", ".1f"),
        shown("loss_difference", ".0e"),
    ]


def print_summary(summary: Mapping[str, Mapping[str, Any]], missing: Mapping[str, str]) -> None:
    """Prints tfrun's ratios, a line for each of those that it is compared with."""
    for kind, entry in summary.items():
        parts = [
            f"{name} {ratio['median']:.2f} [{ratio['least']:.2f}..{ratio['greatest']:.2f}]"
            for name, ratio in entry["ratios"].items()
        ]
        base = kind if entry["base"] == kind else f"{kind} ({entry['base']})"
        console.print(f"÷ {base}: {'; '.join(parts)}", markup=False)
    for kind, how in missing.items():
        console.print(f"{kind}: not installed ({how})", markup=False)
