"""The best weights of a trained run in this process, for Python code: predictions, metrics and a model of raw rows."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfrun.config.catalog import Catalog
from tfrun.config.settings import Settings
from tfrun.data.examples import Examples, prepare_evaluation, with_any_targets
from tfrun.data.pieces import Piece
from tfrun.data.preprocessing import Preprocessing
from tfrun.data.table import Table
from tfrun.data.unseen import unseen_rows
from tfrun.engine.building.assembly import pieces_over
from tfrun.engine.building.id_ranges import check_ids
from tfrun.engine.building.isolated import isolated
from tfrun.engine.building.pieces import Pieces
from tfrun.engine.inference import forecasts
from tfrun.engine.inference.exporting.portable import portable
from tfrun.engine.inference.opening import encode_test, newest_state, program_with_best
from tfrun.engine.inference.predict import RowsToPredict, target_names
from tfrun.engine.inference.predictions import Predictor
from tfrun.engine.inference.trained import rows_of_test, warnings_of_test
from tfrun.files.runs import RunFolder

UNNAMED = "target"  # the name of a target that neither the config nor the rows name


@dataclass(frozen=True)
class Result:
    """The predictions or metrics of a run for rows.

    Attributes:
        values: columns of predictions, (R,) each, or metrics, by name.
        warnings: a line for each thing about the rows that their user may not expect.
    """

    values: Mapping[str, Any]
    warnings: list[str]


class LoadedRun:
    """A trained run, whose model is built once in this process and then predicts any rows.

    Other code may use Keras in the same process: its settings stay as they are, see `isolated`, and the devices are
    those that TensorFlow has.

    Args:
        settings: the run's config.
        folder: the run.
        catalog: the components.
        fitted: the run's preprocessing.
    """

    def __init__(self, settings: Settings, folder: RunFolder, *, catalog: Catalog, fitted: Preprocessing):
        self._settings = settings
        self._folder = folder
        self._catalog = catalog
        self._fitted = fitted
        self._built: Pieces | None = None
        self._predictor: Predictor | None = None

    def predict(self, pieces: Iterator[Piece]) -> Result:
        """Returns the columns that `tfrun predict` writes for raw rows, with all digits.

        Args:
            pieces: the rows, one piece at least.

        Raises:
            TfrunError: a piece can't be read, or a cell can't be used.
        """
        return self._isolated(functools.partial(self._predict, pieces))

    def evaluate(self, table: Table, *, other_data: bool) -> Result:
        """Returns the metrics that `tfrun evaluate` prints, `test/loss` for example.

        Args:
            table: the raw rows. Its columns are released.
            other_data: whether they aren't the run's own, and all of them are evaluated on.

        Raises:
            DataError: there are no rows, or the run's own have changed.
        """
        return self._isolated(functools.partial(self._evaluate, table, other_data=other_data))

    def portable(self, table: Table) -> keras.Model:
        """Returns a new model of raw rows, see `portable`; `table` has some of them, to build it over."""
        return self._isolated(functools.partial(self._portable, table))

    def _isolated(self, function: Any) -> Any:
        return isolated(function, precision=self._settings.trainer.precision)

    def _predict(self, pieces: Iterator[Piece]) -> Result:
        first = next(pieces)
        names = [name or UNNAMED for name in target_names(self._settings, first.table, self._fitted)]
        rows = RowsToPredict(self._fitted, names)
        parts: list[Mapping[str, Any]] = []
        warnings: list[str] = []
        for piece in (first, *pieces):
            table = rows.of(piece)
            examples = rows.encode(table)
            warnings = warnings or list(examples.warnings)
            parts.append(self._columns(examples, table, names=names))
        values = {name: np.concatenate([np.asarray(part[name]) for part in parts]) for name in parts[0]}
        return Result(values, [*warnings, *rows.describe_unseen(self._settings)])

    def _columns(self, examples: Examples, table: Table, *, names: list[str]) -> Mapping[str, Any]:
        """Returns the predictions for encoded rows; the first ones are what the model is built over."""
        if self._built is None:
            self._built = self._build(examples, table)
        else:
            check_ids(self._built.parts.model, examples, table)
        if self._fitted.window is not None:
            built = replace(self._built, examples=examples)
            return forecasts.columns(built, table.series, names=names, window=self._fitted.window)
        if self._predictor is None:
            parts = self._built.parts
            learns_targets = parts.step.learns_targets
            self._predictor = Predictor(parts.model, self._fitted, names=names, learns_targets=learns_targets)
        return self._predictor.columns(examples)

    def _evaluate(self, table: Table, *, other_data: bool) -> Result:
        saved = newest_state(self._folder)
        unseen = unseen_rows(table, self._fitted)
        examples = encode_test(table, settings=self._settings, saved=saved, fitted=self._fitted, other_data=other_data)
        pieces = self._pieces(examples, table)
        values = program_with_best(pieces, saved).evaluate(rows_of_test(pieces))
        metrics = {f"test/{name}": float(value) for name, value in values.items()}
        return Result(metrics, warnings_of_test(pieces, unseen, other_data=other_data))

    def _portable(self, table: Table) -> keras.Model:
        rows = with_any_targets(table, self._fitted, names=[table.target_name])
        parts = self._build(prepare_evaluation(rows, self._fitted, forecasts=True), rows).parts
        return portable(parts.model, self._fitted, has_targets=parts.step.learns_targets)

    def _build(self, examples: Examples, table: Table) -> Pieces:
        """Returns the run's pieces with its best weights."""
        pieces = self._pieces(examples, table)
        program_with_best(pieces, newest_state(self._folder))
        return pieces

    def _pieces(self, examples: Examples, table: Table) -> Pieces:
        strategy = tf.distribute.get_strategy()
        return pieces_over(
            self._settings, self._catalog, table=table, strategy=strategy, examples=examples, is_trained=False
        )
