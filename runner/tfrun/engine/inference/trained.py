"""Evaluates and exports a trained run; `predict` has a module of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from tfrun.config.catalog import Catalog
from tfrun.config.settings import Settings
from tfrun.console import Results, Terminal, say, shown_number
from tfrun.data.examples import describe_rounding
from tfrun.data.fingerprint import fingerprint
from tfrun.data.preprocessing import Preprocessing
from tfrun.data.samples import Samples
from tfrun.data.splitting.split import split
from tfrun.data.table import Table
from tfrun.data.unseen import describe_unseen, unseen_rows
from tfrun.data.windows import Window, rows_of_samples, split_windows, take_windows
from tfrun.engine.building.pieces import Pieces
from tfrun.engine.inference.exporting import formats
from tfrun.engine.inference.exporting.compared_rows import rows_to_compare
from tfrun.engine.inference.exporting.portable import portable, raw_rows
from tfrun.engine.inference.opening import check_fingerprint, newest_state, open_to_evaluate, open_to_export
from tfrun.engine.inference.outputs import outputs_of, predictions_of
from tfrun.engine.recording.undefined_values import UndefinedValues
from tfrun.errors import DataError
from tfrun.files import checkpoints
from tfrun.files.exports import Checked, Export
from tfrun.files.runs import RunFolder
from tfrun.folders import shown


def evaluate(
    settings: Settings,
    folder: RunFolder,
    *,
    catalog: Catalog,
    table: Table,
    fitted: Preprocessing,
    other_data: bool = False,
) -> None:
    """Prints the metrics of a run's best weights on its test split, or on every row of other data.

    Args:
        settings: the config, with the data to evaluate on.
        folder: the run.
        catalog: the components.
        table: the raw rows of the config's data.
        fitted: the run's preprocessing.
        other_data: whether `settings.data` is not what the run was trained on.

    Raises:
        DataError: the run's own data have changed.
    """
    unseen = unseen_rows(table, fitted)
    opened = open_to_evaluate(settings, folder, catalog=catalog, table=table, fitted=fitted, other_data=other_data)
    pieces = opened.pieces
    rows = rows_of_test(pieces)
    console = Results()
    say(console, f"{shown(folder.path)}, best weights up to step {opened.step}")
    examples = "rows" if pieces.examples.windows is None else "windows"
    say(console, f"{len(rows):,} {examples if other_data else f'test {examples}'} of {pieces.table.source}")
    for line in warnings_of_test(pieces, unseen, other_data=other_data):
        say(console, f"warning: {line}")
    values = opened.program.evaluate(rows)
    for name, value in values.items():
        say(console, f"test/{name:15s} {shown_number(value)}")
    UndefinedValues(pieces, console).report({f"test/{name}": value for name, value in values.items()})


def rows_of_test(pieces: Pieces) -> np.ndarray:
    """Returns the numbers of the rows to evaluate on. Raises DataError if there are none."""
    rows = pieces.examples.splits["test"]
    if len(rows) == 0:
        raise DataError("data.test_split: there are no test rows to evaluate on. Received: 0 rows")
    return rows


def warnings_of_test(
    pieces: Pieces, unseen: Mapping[str, np.ndarray], *, other_data: bool, split: str = "test"
) -> list[str]:
    """Returns a line for each thing about rows that are evaluated on which their user may not expect.

    Args:
        pieces: over the rows.
        unseen: as `unseen_rows` returns it.
        other_data: whether they aren't those that the run was trained on.
        split: the split that is evaluated on.
    """
    rows, fitted = pieces.examples.splits[split], pieces.examples.preprocessing
    counts = {name: int(is_unseen[rows].sum()) for name, is_unseen in unseen.items()}
    kinds = pieces.settings.data.column_kinds
    of_rows = pieces.examples.warnings if other_data else ()
    return [
        *describe_rounding(fitted),
        *of_rows,
        *describe_unseen(counts, len(rows), preprocessing=fitted, kinds=kinds),
    ]


def export_run(
    settings: Settings,
    folder: RunFolder,
    *,
    catalog: Catalog,
    table: Table,
    fitted: Preprocessing,
    export_to: Export,
    is_stored: bool,
) -> Checked:
    """Writes a run's best weights as a model that takes raw rows, and compares its predictions with the run's own.

    Args:
        settings: the config.
        folder: the run.
        catalog: the components.
        table: the raw rows to compare with: those that the run has stored, or its data.
        fitted: the run's preprocessing.
        export_to: the format and the place.
        is_stored: whether the run has stored the rows.

    Returns:
        What the comparison has given.

    Raises:
        TfrunError: the format can't hold the model, the data have changed, or predictions differ.
    """
    saved = newest_state(folder)
    formats.check_format(export_to.format, fitted)
    source = shown(folder.samples_json) if is_stored else table.source
    if not is_stored:
        table = _checked_rows(settings, saved, table=table)
    opened = open_to_export(settings, saved, catalog=catalog, table=table, fitted=fitted)
    pieces = opened.pieces
    with export_to.replaced(opened.step) as temporary:
        off = export_pieces(pieces, format=export_to.format, folder=temporary)
    console = Terminal()
    say(console, f"{shown(export_to.path)}, best weights up to step {opened.step}")
    for name, kind in formats.inputs_of(fitted, export_to.format).items():
        say(console, f"        {name}: {kind}")
    for module in formats.imports_of(fitted, export_to.format):
        say(console, f"        before it is loaded: import {module}")
    num_rows = f"{pieces.examples.num_rows} {'stored rows' if is_stored else 'rows'} of {source}"
    place = formats.place_of_check(export_to.format, export_to.folder)
    say(console, f"checked {place}: {num_rows}, predictions at most {off:.2g} off the run's own")
    return Checked(pieces.examples.num_rows, off, pieces.parts.step.learns_targets)


def _checked_rows(settings: Settings, saved: checkpoints.Checkpoint, *, table: Table) -> Table:
    """Returns the rows of a run's data that an export is compared with. Raises DataError if the data have changed."""
    advice = "An export is compared on the data that the run was trained on, or on rows that it has stored"
    check_fingerprint(fingerprint(table), saved, source=table.source, advice=advice)
    if settings.data.window is None:
        samples, series = Samples.take(table, split(table, settings.data).rows), None
    else:
        window = Window.of(settings.data.window, table.targets)
        samples, series = rows_of_samples(take_windows(table, split_windows(table, settings.data), window), window)
    return replace(table, columns=samples.columns, target=np.zeros(len(samples.rows)), series=series)


def export_pieces(pieces: Pieces, *, format: str, folder: Path) -> float:
    """Writes a model of raw rows, and checks it in a clean process.

    Returns:
        The largest difference between its predictions for the sample rows and the run's own.
    """
    model, preprocessing = pieces.parts.model, pieces.examples.preprocessing
    formats.check_format(format, preprocessing)
    has_targets = pieces.parts.step.learns_targets
    inputs, columns = rows_to_compare(pieces.examples)
    outputs = outputs_of(model, inputs, as_graph=formats.is_graph(format))
    return formats.write_checked(
        portable(model, preprocessing, has_targets=has_targets, of_ids=formats.is_of_ids(format)),
        format,
        folder=folder,
        preprocessing=preprocessing,
        rows=raw_rows(columns, preprocessing),
        expected=predictions_of(outputs, preprocessing, has_targets=has_targets),
        has_targets=has_targets,
    )
