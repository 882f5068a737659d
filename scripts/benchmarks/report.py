"""Prints the comparison and the machine's description, and writes the numbers."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from rich.console import Console
from rich.table import Table

from benchmarks.machine import cpu_name

HEADS = ("steps/s", "least..greatest", "÷ fit()", "least..greatest", "first s", "MB", "GPU MB", "others", "loss off by")

console = Console(width=160, highlight=False)


def machine() -> dict[str, Any]:
    """Returns the description of this machine and of the libraries that matter."""
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
    """Prints the machine's description on one line."""
    values = {key: ", ".join(value) or "none" if key == "gpus" else value for key, value in described.items()}
    console.print("; ".join(f"{key} {value}" for key, value in values.items()))


def print_table(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Prints a case's table; a column without any value is left out."""
    lines = [_cells(row) for row in rows]
    columns = [k for k, cells in enumerate(zip(*lines, strict=True)) if any(cells)]
    table = Table(title=title, title_justify="left")
    for k in columns:
        table.add_column(("contender", *HEADS)[k], justify="right" if k else "left", no_wrap=True)
    for line in lines:
        table.add_row(*(line[k] for k in columns))
    console.print(table)


def _cells(row: Mapping[str, Any]) -> list[str]:
    def formatted(key: str, form: str) -> str:
        return "" if row[key] is None else format(row[key], form)

    rate = row["steps_per_second"]
    ratio = row["ratio"]
    return [
        row["contender"],
        f"{rate['median']:,.0f}",
        f"{rate['least']:,.0f}..{rate['greatest']:,.0f}",
        f"{ratio['median']:.2f}",
        f"{ratio['least']:.2f}..{ratio['greatest']:.2f}",
        formatted("first_step_seconds", ".2f"),
        formatted("peak_mb", ",.0f"),
        formatted("gpu_peak_mb", ",.0f"),
        formatted("others_cores", ".1f"),
        formatted("loss_difference", ".0e"),
    ]


def print_summary(summary: Mapping[str, Mapping[str, Any]], missing: Mapping[str, str]) -> None:
    """Prints tfrun's ratios, one line per kind of contender, and how to install what is missing."""
    for kind, entry in summary.items():
        parts = [
            f"{name} {ratio['median']:.2f} [{ratio['least']:.2f}..{ratio['greatest']:.2f}]"
            for name, ratio in entry["ratios"].items()
        ]
        base = kind if entry["base"] == kind else f"{kind} ({entry['base']})"
        console.print(f"÷ {base}: {'; '.join(parts)}", markup=False)
    for kind, how in missing.items():
        console.print(f"{kind}: not installed ({how})", markup=False)


def write_json(numbers: Mapping[str, Any], file: Path | None) -> None:
    """Writes the numbers into the file, if any; called after each case, so that an error loses only the rest."""
    if file is not None:
        file.write_text(json.dumps(numbers, indent=1) + "\n")
