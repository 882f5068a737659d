"""`tfrun compare`: runs beside each other, best first, and means over their seeds.

It reads run folders alone: `config.yaml`, `run.json`.
"""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.table import Table

from tfrun.config.catalog import Catalog, load_catalog
from tfrun.config.cross_checks import is_comparable
from tfrun.config.keys import flatten
from tfrun.console import Terminal, say, short_names, shown
from tfrun.errors import ConfigError, unknown
from tfrun.files.runs import RunFolder

NOT_COMPARED = ("output_root", "tags", "plugins")  # keys that say nothing of what was trained
MIN_FOR_IMPORTANCE = 8  # runs; of fewer a forest says nothing
LOG_SPAN = 30  # numbers whose greatest is so many times the least are looked at by their logarithms


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

    def value(self, metric: str, take: str = "best") -> float | None:
        """Returns a metric's value in the best epoch, or the last; of the test there is one value."""
        return self.run["metrics" if take == "last" or metric.startswith("test/") else "best"].get(metric)


@dataclass(frozen=True)
class Comparison:
    """Runs in an order, and what is shown of them.

    Attributes:
        rows: the best first; those without a value last.
        keys: that are not the same in all of them.
        metric: what they are ordered by.
        mode: `min` or `max`, which is better.
        take: `best` or `last`, of which epoch.
    """

    rows: Sequence[Row]
    keys: Sequence[str]
    metric: str
    mode: str
    take: str = "best"

    @property
    def done(self) -> list[Row]:
        """The runs that completed and have a value."""
        return [row for row in self.rows if row.run["status"] == "completed" and self.value(row) is not None]

    @property
    def is_comparable(self) -> bool:
        """Whether the metric means the same in all runs."""
        return is_comparable(self.metric, self.keys)

    def value(self, row: Row) -> float | None:
        """What a run is ordered by."""
        return row.value(self.metric, self.take)

    def cells(self) -> tuple[list[str], list[list[str]]]:
        """Returns the heads, and a line of cells for each run."""
        others = [key for key in self.rows[0].run["metrics"] if key.startswith("test/")]
        other = "last" if self.take == "best" else "best"
        shown = [f"{self.metric} {self.take}", "status", f"{self.metric} {other}"]
        heads = ["run", *self.keys, *shown, *others, "epoch", "steps/s"]
        lines = []
        folders = {row.folder.path.parent for row in self.rows}
        for row in self.rows:
            lines.append(
                [
                    row.folder.path.name if len(folders) == 1 else row.folder.run_id,
                    *(_text(row.config.get(key)) for key in self.keys),
                    _number(self.value(row)),
                    row.run["status"],
                    *(
                        _number(value)
                        for value in (row.value(self.metric, other), *(row.run["metrics"].get(key) for key in others))
                    ),
                    str(row.run["best"].get("epoch", row.run["epoch"])),
                    _number(row.run["timing"].get("steps_per_second")),
                ]
            )
        return heads, lines

    def over_seeds(self) -> tuple[list[str], list[list[str]]] | None:
        """Returns mean, deviation and 95 % confidence of the runs that differ in their seeds alone, or None."""
        keys = [key for key in self.keys if key not in ("seed", "name")]
        groups: dict[tuple[str, ...], list[float]] = {}
        for row in self.done:
            groups.setdefault(tuple(_text(row.config.get(key)) for key in keys), []).append(self.value(row) or 0.0)
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


def compare(paths: Sequence[str], metric: str | None = None, mode: str | None = None, take: str = "best") -> Comparison:
    """Reads runs and puts them in order.

    Args:
        paths: run folders, sweeps, or folders with such in them.
        metric: what to order by, `val/mae` for instance; None is what the first run's best weights were chosen by.
        mode: `min` or `max`; None is the first run's `checkpoint.mode` for the value that it monitored, if it was
            set, and else what the metric says.
        take: `best` or `last`, of which epoch.

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
        configured = first.get("checkpoint.mode") if metric == first["checkpoint.monitor"] else None
        mode = str(configured) if configured else _mode_of(metric, rows[0])
    elif mode not in ("min", "max"):
        raise unknown("mode", "mode", mode, ["min", "max"])
    if take not in ("best", "last"):
        raise unknown("take", "epoch", take, ["best", "last"])
    sign = 1.0 if mode == "min" else -1.0

    def rank(row: Row) -> tuple[bool, float]:
        value = row.value(metric, take)
        is_there = value is not None and not math.isnan(value)
        return not is_there, sign * value if value is not None and is_there else 0.0

    return Comparison(sorted(rows, key=rank), _differing(rows), metric, mode, take)


def _mode_of(metric: str, row: Row) -> str:
    """Returns `max` if a greater value is better: as `run.json` says, or the catalog for runs of earlier versions."""
    key = metric.partition("/")[2]
    noted = row.run.get("higher_is_better") or {}
    if key not in noted:
        component = _catalog(row.config.get("plugins")).find("metric", row.config.get(f"metric.{key}.name"))
        noted = {key: component is not None and component.declared("higher_is_better")}
    return "max" if noted[key] else "min"


def _catalog(plugins: Any) -> Catalog:
    """Returns the components with those of a run's plugins, if they can still be found."""
    try:
        return load_catalog([str(name) for name in plugins or ()])
    except ConfigError:
        return load_catalog()


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
        rows.append(Row(folder, run, dict(flatten(config if isinstance(config, dict) else {}))))
    if not any("checkpoint.monitor" in row.config for row in rows):
        raise ConfigError(f"compare: no run in {path} has a config that can be read")
    return sorted(rows, key=lambda row: "checkpoint.monitor" not in row.config)


def show(comparison: Comparison) -> None:
    """Prints the tables, for a person."""
    console = Terminal()
    for title, table in (("", comparison.cells()), ("over seeds", comparison.over_seeds())):
        if table is not None:
            heads, lines = table
            keys = [key for key in comparison.keys if key in heads]
            shorter = dict(zip(keys, short_names(keys), strict=True))
            heads = [shorter.get(head, head) for head in heads]
            wanted = 1 + len(keys)
            count = len(heads)
            endless = console.options.update(max_width=10**4)
            while count > wanted + 1 and (
                console.measure(_as_table(title, heads, lines, count), options=endless).maximum > console.width
            ):
                count -= 1  # what matters least stands last; --csv has all
            console.print(_as_table(title, heads, lines, count))
    for key, share in importances(comparison).items():
        say(console, f"importance {share:4.0%}  {key}")
    _say_best(comparison)


def _say_best(comparison: Comparison) -> None:
    best = comparison.rows[0]
    if comparison.value(best) is None:
        return
    if comparison.is_comparable:
        say(Terminal(), f"best       {shown(best.folder.path)}")
    else:
        say(Terminal(), f"no best: {comparison.metric} of different losses can't be compared. metric=val/<metric> can")


def show_differences(comparison: Comparison) -> None:
    """Prints two runs beside each other: every key of their configs that differs, and all metrics."""
    table, rows = Table(), comparison.rows
    table.add_column("", overflow="fold")
    for row in rows:
        table.add_column(row.folder.run_id, overflow="fold")
    every = dict.fromkeys(key for row in rows for key in row.config)
    for key in every:
        texts = [_text(row.config[key]) if key in row.config else "–" for row in rows]
        if not key.startswith(NOT_COMPARED) and texts[0] != texts[1]:
            table.add_row(key, *texts)
    table.add_section()
    for take in ("best", "last"):
        for key in dict.fromkeys(key for row in rows for key in row.run["metrics"] if "/" in key):
            if take == "last" or not key.startswith("test/"):
                table.add_row(f"{key} {take}", *(_number(row.value(key, take)) for row in rows))
    Terminal().print(table)
    _say_best(comparison)


def importances(comparison: Comparison) -> dict[str, float]:
    """Returns how much each key that differs has to do with the metric, as shares of 1, the greatest first.

    By fANOVA (Hutter, Hoos and Leyton-Brown, 2014), as Optuna has it: a forest is fitted to the runs, and the variance
    of its predictions is split by key. Empty for fewer than MIN_FOR_IMPORTANCE completed runs, where the metric doesn't
    mean the same in all, and without Optuna.
    """
    try:
        import optuna
    except ImportError:
        return {}
    keys = [key for key in comparison.keys if key != "name" and all(key in row.config for row in comparison.done)]
    found = {key: _distribution(optuna, [row.config[key] for row in comparison.done]) for key in keys}
    kinds = {key: kind for key, kind in found.items() if kind is not None}
    if not comparison.is_comparable or len(comparison.done) < MIN_FOR_IMPORTANCE or len(kinds) < 2:
        return {}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(storage=optuna.storages.InMemoryStorage())
    for row in comparison.done:
        params = {key: kind.of(row.config[key]) for key, kind in kinds.items()}
        kinds_of = {key: kind.distribution for key, kind in kinds.items()}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=kinds_of, value=comparison.value(row)))
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return {
        key: float(share) for key, share in optuna.importance.get_param_importances(study, evaluator=evaluator).items()
    }


def is_logarithmic(values: Sequence[float]) -> bool:
    """Returns whether numbers are to be looked at by their logarithms."""
    return min(values) > 0 and max(values) / min(values) >= LOG_SPAN


@dataclass(frozen=True)
class _Kind:
    """How Optuna sees a key's values."""

    distribution: Any
    of: Callable[[Any], Any]


def _distribution(optuna: Any, values: Sequence[Any]) -> _Kind | None:
    """Returns the distribution that a key's values are of, or None where they are all the same."""
    if len({repr(value) for value in values}) < 2:
        return None
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        low, high = float(min(values)), float(max(values))
        return _Kind(optuna.distributions.FloatDistribution(low, high, log=is_logarithmic(values)), float)
    choices = list(dict.fromkeys(map(repr, values)))
    return _Kind(optuna.distributions.CategoricalDistribution(choices), repr)


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
