"""`tfrun compare`: runs beside each other, best first, and means over their seeds.

It reads run folders alone: `config.yaml`, `run.json`.
"""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.table import Table

from tfrun import schema
from tfrun.console import Terminal, say, shown
from tfrun.errors import ConfigError, unknown
from tfrun.runs import RunFolder

NOT_COMPARED = ("output_root", "tags", "plugins")  # keys that say nothing of what was trained
GREATER_IS_BETTER = ("accuracy", "auc", "fbeta", "precision", "r2", "recall")  # metrics, by their registered names


@dataclass(frozen=True)
class Row:
    """A run.

    Attributes:
        folder: where it is.
        run: its `run.json`.
        config: its config's leaves by dotted path.
    """

    folder: RunFolder
    run: Mapping[str, Any]
    config: Mapping[str, Any]

    def at_best(self, metric: str) -> float | None:
        """Returns a metric's value in the best epoch; of the test there is one value."""
        return (self.run["metrics"] if metric.startswith("test/") else self.run["best"]).get(metric)


@dataclass(frozen=True)
class Comparison:
    """Runs in an order, and what is shown of them.

    Attributes:
        rows: the best first; those without a value last.
        keys: that are not the same in all of them.
        metric: what they are ordered by.
        mode: `min` or `max`, which is better.
    """

    rows: Sequence[Row]
    keys: Sequence[str]
    metric: str
    mode: str

    def cells(self) -> tuple[list[str], list[list[str]]]:
        """Returns the heads, and a line of cells for each run."""
        others = [key for key in self.rows[0].run["metrics"] if key.startswith("test/")]
        heads = ["run", *self.keys, f"{self.metric} best", "status", f"{self.metric} last", *others, "epoch", "steps/s"]
        lines = []
        folders = {row.folder.path.parent for row in self.rows}
        for row in self.rows:
            best, last = row.at_best(self.metric), row.run["metrics"].get(self.metric)
            lines.append(
                [
                    row.folder.path.name if len(folders) == 1 else row.folder.run_id,
                    *(_text(row.config.get(key)) for key in self.keys),
                    _number(best),
                    row.run["status"],
                    *(_number(value) for value in (last, *(row.run["metrics"].get(key) for key in others))),
                    str(row.run["best"].get("epoch", row.run["epoch"])),
                    _number(row.run["timing"].get("steps_per_second")),
                ]
            )
        return heads, lines

    def over_seeds(self) -> tuple[list[str], list[list[str]]] | None:
        """Returns mean, deviation and 95 % confidence of the runs that differ in their seeds alone, or None."""
        keys = [key for key in self.keys if key not in ("seed", "name")]
        groups: dict[tuple[str, ...], list[float]] = {}
        for row in self.rows:
            value = row.at_best(self.metric)
            if value is not None and row.run["status"] == "completed":
                groups.setdefault(tuple(_text(row.config.get(key)) for key in keys), []).append(value)
        if "seed" not in self.keys or all(len(values) < 2 for values in groups.values()):
            return None
        heads = [*keys, "seeds", f"{self.metric} mean", "deviation", "95 % of the mean"]
        lines = []
        ordered = sorted(groups.items(), key=lambda pair: statistics.fmean(pair[1]), reverse=self.mode == "max")
        for settings, values in ordered:
            deviation = statistics.stdev(values) if len(values) > 1 else None
            within = None if deviation is None else _t_95(len(values) - 1) * deviation / math.sqrt(len(values))
            numbers = [
                _number(statistics.fmean(values)),
                _number(deviation),
                "" if within is None else f"± {within:.3g}",
            ]
            lines.append([*settings, str(len(values)), *numbers])
        return heads, lines


def compare(paths: Sequence[str], metric: str | None = None, mode: str | None = None) -> Comparison:
    """Reads runs and puts them in order.

    Args:
        paths: run folders, sweeps, or folders with such in them.
        metric: what to order by, `val/mae` for instance; None is what the first run's best weights were chosen by.
        mode: `min` or `max`; None takes it from the metric.

    Raises:
        ConfigError: there are no runs, or none has the metric.
    """
    rows = [row for path in paths for row in _read(path)]
    first = rows[0].config
    metric = metric or str(first["checkpoint.monitor"])
    known = {key for row in rows for key in (*row.run["metrics"], *row.run["best"]) if "/" in key}
    if metric not in known and any(row.run["status"] == "completed" for row in rows):
        raise unknown("metric", "metric of these runs", metric, known)
    if mode is None:
        name = first.get(f"metric.{metric.partition('/')[2]}.name")
        own = metric == first["checkpoint.monitor"]
        mode = str(first["checkpoint.mode"]) if own else "max" if name in GREATER_IS_BETTER else "min"
    elif mode not in ("min", "max"):
        raise unknown("mode", "mode", mode, ["min", "max"])
    sign = 1.0 if mode == "min" else -1.0

    def rank(row: Row) -> tuple[bool, float]:
        value = row.at_best(metric)
        is_there = value is not None and not math.isnan(value)
        return not is_there, sign * value if value is not None and is_there else 0.0

    return Comparison(sorted(rows, key=rank), _differing(rows), metric, mode)


def _differing(rows: Sequence[Row]) -> list[str]:
    """Returns the keys whose values are not the same in all runs, and aren't so just because another key's is not.

    Two models have other parameters: what counts is the model, and what a command line has set.
    """
    with_config = [row for row in rows if row.config]
    asked = {str(text).lstrip("+").partition("=")[0] for row in rows for text in row.run.get("overrides", [])}
    differ = [
        key
        for key in dict.fromkeys(key for row in with_config for key in row.config)
        if not key.startswith(NOT_COMPARED) and len({repr(row.config.get(key)) for row in with_config}) > 1
    ]
    named = {key.removesuffix("name") for key in differ if key.endswith(".name")}  # `model.`, where models differ
    return [
        key
        for key in differ
        if key in asked
        or (
            all(key in row.config for row in with_config)
            and (key.endswith(".name") or key.rpartition(".")[0] + "." not in named)
        )
    ]


def _read(path: str) -> list[Row]:
    root = Path(path).expanduser()
    if not root.is_dir():
        raise ConfigError(f"compare: no such folder. Received: {path!r}")
    folders = sorted(file.parent for file in root.rglob("run.json"))
    if not folders:
        raise ConfigError(f"compare: there are no runs in {path}")
    rows = []
    for folder in map(RunFolder, folders):
        try:
            config = yaml.safe_load(folder.config_yaml.read_text())
        except (OSError, yaml.YAMLError):  # a job that never had one
            config = {}
        run = {"status": "failed", "metrics": {}, "best": {}, "timing": {}, "epoch": 0} | folder.read_run()
        rows.append(Row(folder, run, dict(schema.flatten(config if isinstance(config, dict) else {}))))
    if not any("checkpoint.monitor" in row.config for row in rows):
        raise ConfigError(f"compare: no run in {path} has a config that can be read")
    return sorted(rows, key=lambda row: "checkpoint.monitor" not in row.config)


def show(comparison: Comparison) -> None:
    """Prints the tables, for a person."""
    console = Terminal()
    for title, table in (("", comparison.cells()), ("over seeds", comparison.over_seeds())):
        if table is not None:
            heads, lines = table
            wanted = 1 + len([key for key in comparison.keys if key in heads])
            count = len(heads)
            endless = console.options.update(max_width=10**4)
            while count > wanted + 1 and (
                console.measure(_as_table(title, heads, lines, count), options=endless).maximum > console.width
            ):
                count -= 1  # what matters least stands last; --csv has all
            console.print(_as_table(title, heads, lines, count))
    best = comparison.rows[0]
    if best.at_best(comparison.metric) is not None:
        say(console, f"best       {shown(best.folder.path)}")


def _as_table(title: str, heads: Sequence[str], lines: Sequence[Sequence[str]], count: int) -> Table:
    """Returns the first `count` columns."""
    table = Table(title=title or None, title_justify="left")
    for head in heads[:count]:
        table.add_column(head, overflow="fold", justify="left" if head in ("run", "status") else "right")
    for line in lines:
        table.add_row(*line[:count])
    return table


def as_csv(table: tuple[list[str], list[list[str]]]) -> str:
    """Returns a table as CSV, with its heads."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([table[0], *table[1]])
    return text.getvalue().rstrip("\n")


def as_markdown(table: tuple[list[str], list[list[str]]]) -> str:
    """Returns a table as Markdown."""

    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return "\n".join([line(table[0]), line("---" for _ in table[0]), *map(line, table[1])])


def _text(value: Any) -> str:
    return "" if value is None else yaml.safe_dump(value, default_flow_style=True, width=10**6).partition("\n")[0]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _t_95(degrees: int) -> float:
    """Returns Student's t that 95 % of a mean's deviations stay within."""
    from scipy.special import stdtrit  # here: it takes a tenth of a second

    return float(stdtrit(degrees, 0.975))
