"""Writes what a trained run predicts for rows, a piece of them at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from tfrun.config.catalog import Catalog
from tfrun.config.settings import Settings
from tfrun.console import Terminal, say
from tfrun.data.examples import Examples, prepare_evaluation, with_any_targets
from tfrun.data.pieces import Piece
from tfrun.data.preprocessing import Preprocessing
from tfrun.data.table import Table
from tfrun.data.unseen import describe_unseen, unseen_rows
from tfrun.engine.building.assembly import build_pieces
from tfrun.engine.building.id_ranges import check_ids
from tfrun.engine.inference import forecasts
from tfrun.engine.inference.opening import newest_state, program_with_best
from tfrun.engine.inference.prediction_files import PredictionFile
from tfrun.engine.inference.predictions import Predictor, text_formats
from tfrun.errors import ConfigError
from tfrun.files.runs import RunFolder
from tfrun.folders import shown


def predict(
    settings: Settings,
    folder: RunFolder,
    *,
    catalog: Catalog,
    pieces: Iterator[Piece],
    fitted: Preprocessing,
    out: Path,
) -> None:
    """Writes what a run's best weights predict for rows that may have no target.

    First come the columns that are kept. A regression has a column with the target's name, and `<target>_std` if the
    model offers samples; a classification has one with the likeliest class, and one with the probability of each class,
    `<target>=<class>`. For windows of series, which come as a single piece, see `forecasts`.

        first piece → build the model → best weights
        each piece  → encode → predict → write
        the end     → sync → rename

    Args:
        settings: the config, with the data to predict.
        folder: the run.
        catalog: the components.
        pieces: the raw rows, one piece at least.
        fitted: the run's preprocessing.
        out: the file; its folder is made.

    Raises:
        TfrunError: a later piece can't be read, a cell can't be used or kept, the disk refuses.
    """
    saved = newest_state(folder)
    first = next(pieces)
    names = target_names(settings, first.table, fitted)
    rows = RowsToPredict(fitted, names)
    table = rows.of(first)
    built = build_pieces(settings, catalog, table=table, prepare_trained=rows.encode)
    program_with_best(built, saved)
    learns_targets = built.parts.step.learns_targets
    is_replaced = out.exists()
    with PredictionFile.open(out, formats=text_formats(fitted, names, learns_targets=learns_targets)) as file:
        if fitted.window is not None:
            file.write({}, forecasts.columns(built, table.series, names=names, window=fitted.window))
        else:
            predictor = Predictor(built.parts.model, fitted, names=names, learns_targets=learns_targets)
            file.write(first.kept, predictor.columns(built.examples))
            for piece in pieces:
                table = rows.of(piece)
                examples = rows.encode(table)
                check_ids(built.parts.model, examples, table)
                file.write(piece.kept, predictor.columns(examples))
    console = Terminal()
    for line in [*built.examples.warnings, *rows.describe_unseen(settings)]:
        say(console, f"warning: {line}")
    say(console, f"{shown(folder.path)}, best weights up to step {saved.step}")
    replaced = " (in place of an earlier file)" if is_replaced else ""
    what = f"{rows.count:,} rows of {table.source}"
    if fitted.window is not None:
        what = f"{fitted.window.horizon} steps after each of {built.examples.num_rows:,} series of {table.source}"
    say(console, f"{shown(out)}{replaced}: {what}, {', '.join(file.names)}")


def target_names(settings: Settings, table: Table, fitted: Preprocessing) -> list[str]:
    """Returns the names of the targets, the main one first. Raises ConfigError if the run has another number."""
    names = settings.data.params.get("target") or table.target_name
    names = [names] if isinstance(names, str) else list(names)
    if len(names) != len(fitted.targets):
        raise ConfigError(f"data.target: the run has {len(fitted.targets)} targets. Received: {names}")
    return names


class RowsToPredict:
    """Encodes pieces, and counts their rows.

    Args:
        fitted: the run's preprocessing.
        names: of the targets.

    Attributes:
        count: the number of rows so far.
        unseen: in how many of them each column has a value that the run can't read.
    """

    def __init__(self, fitted: Preprocessing, names: Sequence[str]):
        self.count = 0
        self.unseen: Counter[str] = Counter()
        self._fitted = fitted
        self._names = names

    def of(self, piece: Piece) -> Table:
        """Returns the rows of a piece, counted, with targets that stand for those that are to be predicted."""
        table = with_any_targets(piece.table, self._fitted, names=self._names)
        self.count += len(table.target)
        self.unseen.update({name: int(rows.sum()) for name, rows in unseen_rows(table, self._fitted).items()})
        return table

    def encode(self, table: Table) -> Examples:
        """Returns the rows encoded; their columns are released."""
        return prepare_evaluation(table, self._fitted, forecasts=True)

    def describe_unseen(self, settings: Settings) -> list[str]:
        """Returns a line for each column with values that the run can't read; `settings` are the run's."""
        kinds = settings.data.column_kinds
        return list(describe_unseen(self.unseen, self.count, preprocessing=self._fitted, kinds=kinds))
