"""The card beside an export: gathers what the run folder says, and writes it."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from tfrun.commands import export_code_tfjs
from tfrun.commands.export_code import iso_date, loading_code, needed
from tfrun.commands.exported_run import ExportedRun
from tfrun.config import registry
from tfrun.console import Terminal, say
from tfrun.data.kinds import (
    ArrayColumn,
    BooleanColumn,
    Column,
    DateColumn,
    NumberColumn,
    NumberInput,
    TokensColumn,
)
from tfrun.data.kinds.hashed import HashedColumn
from tfrun.data.preprocessing import Preprocessing
from tfrun.data.targets import FittedTarget
from tfrun.errors import TfrunError
from tfrun.files import model_cards
from tfrun.files.exports import Checked, Export
from tfrun.files.provenance.versions import versions
from tfrun.files.runs import EXPORTS, LEDGER, RunFolder, now
from tfrun.protocols import MAIN_OUTPUT
from tfrun.reports.card_numbers import mean_text, number_text, range_text, scaling_text
from tfrun.reports.comparison import compare
from tfrun.reports.markdown import escaped
from tfrun.reports.model_card import (
    RANGE,
    Input,
    Loading,
    Member,
    ModelCard,
    Spread,
    card_text,
    to_fill_in,
    values_text,
)
from tfrun.reports.repeats import repeats, repeats_title

BY = ("python", "tfrun", "tensorflow", "keras")  # versions that a card names


def write_card(export: Export, runs: Sequence[ExportedRun], checked: Checked) -> None:
    """Records what an export is, writes the card beside it, and says so.

    Args:
        export: what was exported.
        runs: those whose models it holds.
        checked: how it was compared with the run.

    Raises:
        ResourceError: the disk refuses.
    """
    packages = versions()
    facts = {
        "format": export.format,
        "exported": now(),
        "versions": {key: packages[key] for key in BY if key in packages},
        "checked_rows": checked.num_rows,
        "difference": checked.difference,
    }
    if checked.quantized is not None:
        facts["quantized"] = {**asdict(checked.quantized), "drop": checked.quantized.drop}
    export.record(export.key, facts)
    entries = _entries(export)
    first = runs[0]
    fitted = first.fitted
    floatx = "float64" if first.settings.trainer.precision == "float64" else "float32"
    modules = registry.modules()
    card = ModelCard(
        members=[Member(run.folder.run_id, run.folder.read_run(), run.config, _spread(run.folder)) for run in runs],
        exports=entries,
        inputs=[
            Input(column.name, column.kind.name, fitted.raw_type(column, floatx), _facts_of(column))
            for column in fitted.columns
        ],
        outputs=_outputs(first.config, fitted, predicts_target=checked.predicts_target),
        loading={
            _heading(file, entry["format"]): _loading(
                file, entry["format"], fitted=fitted, floatx=floatx, modules=modules
            )
            for file, entry in entries.items()
        },
    )
    say(Terminal(), model_cards.write(export, card_text(card), to_fill_in=to_fill_in()))


def _heading(file: str, format: str) -> str:
    """Returns the heading of the code that loads an export; the newest export of a served model has the code."""
    if file == EXPORTS[format]:
        return format
    return file.rpartition("/")[0] if format == "serving" else file


def _loading(file: str, format: str, *, fitted: Preprocessing, floatx: str, modules: Sequence[str]) -> Loading:
    """Returns how an export is loaded; see `export_code.loading_code`."""
    needs = needed(format, fitted, modules=modules, file=file)
    if format == "tfjs":
        return Loading(needs, export_code_tfjs.loading_code(fitted, floatx=floatx), "javascript")
    return Loading(needs, loading_code(format, fitted, floatx=floatx, modules=modules, file=file))


def _entries(export: Export) -> dict[str, dict[str, Any]]:
    """Returns what is recorded of the run's exports in the folder, by file; those of earlier versions say less."""
    recorded = export.recorded()
    files = {name: format for format, name in EXPORTS.items() if format != "serving"}
    files |= {name: entry["format"] for name, entry in recorded.items() if "format" in entry}
    entries = {}
    for name, format in files.items():
        entry, path = recorded.get(name), export.folder / name
        if path.is_symlink() or not path.exists():
            continue
        if export.is_own_folder or (entry is not None and entry["run_id"] == export.run_id):
            entries[name] = {**(entry or {}), "format": format}
    return entries


def _spread(folder: RunFolder) -> Spread | None:
    """Returns what the repetitions of a job of a sweep give, or None if there are none."""
    sweep = folder.path.parent
    if not (sweep / LEDGER).is_file():
        return None
    try:
        comparison = compare([str(sweep)])
        group = next(
            group for group in repeats(comparison) if any(row.folder.path == folder.path for row in group.rows)
        )
    except (TfrunError, StopIteration):  # of a sweep that can't be compared, the run alone is known
        return None
    names = dict.fromkeys(
        key
        for row in group.rows
        for key in (*row.run["best"], *row.run["metrics"])
        if key.startswith(("val/", "test/"))
    )
    values = {}
    for name in names:
        numbers = [value for row in group.rows if (value := row.value(name)) is not None]
        if len(numbers) > 1:
            values[name] = (statistics.fmean(numbers), statistics.stdev(numbers), len(numbers))
    over = repeats_title(comparison).removeprefix("over").strip() or "runs with the same settings"
    return Spread(over, group.is_complete, values)


def _facts_of(column: Column) -> str:
    """Returns what the training rows had in a column, as Markdown."""
    if isinstance(column, NumberColumn):
        return _facts_of_number(column)
    if isinstance(column, BooleanColumn):
        return f"an empty cell counts as {'true' if column.filled else 'false'}"
    if isinstance(column, DateColumn):
        return _facts_of_dates(column)
    if isinstance(column, TokensColumn):
        if column.words:
            return f"{values_text(column.words, 'word', 'words')}; texts are cut to {column.length}"
        return f"texts, cut to {column.length} tokens"
    if isinstance(column, HashedColumn):
        return f"texts, hashed to {column.bins:,} ids; the texts aren't kept"
    if isinstance(column, ArrayColumn):
        return f"arrays of the shape {escaped(str(tuple(column.shape)))}"
    return values_text([str(value) for value in getattr(column, "values", ())], "value", "values")


def _facts_of_number(column: NumberInput) -> str:
    parts = [f"an empty cell becomes {number_text(column.median, digits=15 if column.needs_float64 else 7)}"]
    if column.quantiles:
        least, greatest = column.quantiles[0][0], column.quantiles[-1][0]
        return "; ".join([*parts, "scaled by their quantiles", f"all of them: {range_text(least, greatest)}"])
    if (column.mean, column.variance) != (0.0, 1.0):  # else it isn't scaled
        parts.append(f"scaled: {scaling_text(column.mean, column.divisor)}")
    return "; ".join([*parts, f"{RANGE}: {range_text(*ends)}" if (ends := _ends(column)) else "range not recorded"])


def _facts_of_dates(column: DateColumn) -> str:
    parts = [f"as {escaped(column.format)}" if column.format else "ISO 8601"]
    parts.append(f"an empty cell becomes {iso_date(column, column.elapsed.median)}")
    texts = [iso_date(column, seconds) for seconds in _ends(column.elapsed)]
    zone = " (UTC)" if "hour" in column.cycles else ""
    return "; ".join([*parts, f"{RANGE}: {' to '.join(texts)}{zone}" if texts else "range not recorded"])


def _ends(column: NumberInput) -> list[float]:
    """Returns the first and the ninth decile of the training rows; they are among the deciles, however few differ."""
    return [column.mean + column.deciles[k] * column.divisor for k in (0, -1)] if column.deciles else []


def _outputs(config: Mapping[str, Any], fitted: Preprocessing, *, predicts_target: bool) -> list[str]:
    if not predicts_target:
        return ["what the model computes; it doesn't predict the data's target"]
    chosen = (config.get("data") or {}).get("target")
    main = chosen[0] if isinstance(chosen, list) and chosen else chosen
    lines = []
    for name, target in fitted.targets.items():
        name_of = main if name == MAIN_OUTPUT else name
        head = f"**{escaped(name_of)}**" if isinstance(name_of, str) else "the target of the data set"
        key = f", {escaped(name)} of the mapping" if len(fitted.targets) > 1 else ""
        lines.append(f"{head}{key}: {_target(target)}")
    return lines


def _target(target: FittedTarget) -> str:
    if target.task == "classification":
        classes = values_text(target.classes, "class", "classes")
        return f"a probability for each class, (batch, {len(target.classes)}), in this order. {classes}"
    shape = f"a number, (batch, {target.horizon}), in the unit of the data, which tfrun doesn't know"
    if (target.mean, target.standard_deviation) == (0.0, 1.0):
        return f"{shape}; its mean in the training rows isn't recorded, as it isn't scaled"
    spread = mean_text(target.mean, target.standard_deviation)
    return f"{shape}; in the training rows {spread} (mean ± standard deviation)"
