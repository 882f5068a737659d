"""The rows that an exported model is compared on: sample rows, and some of them with empty and unknown cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from tfrun.data.encode import encode
from tfrun.data.examples import Examples, with_any_targets
from tfrun.data.kinds import ArrayColumn, Column, TokensColumn
from tfrun.data.preprocessing import Preprocessing
from tfrun.data.table import Table
from tfrun.engine.training import feed

MAX_CHANGED = 16  # rows
UNKNOWN = ("", "unknown – ünbekannt")  # in place of texts; two words that no training row has, hopefully


def rows_to_compare(examples: Examples, *, known: Preprocessing | None = None) -> tuple[Any, dict[str, np.ndarray]]:
    """Returns a model's inputs of rows, and these rows by column, as a table has them.

    The first 16 rows follow once more with changed cells: of each row every third number is empty, and of texts one
    third is empty and one third unknown. The texts of the last row have the largest ids, whose products a runtime with
    small integers may not hold, and words twice, which a runtime may count once.

    Args:
        examples: with the sample rows.
        known: the preprocessing with these ids, of the first run of an ensemble; by default that of the examples.
    """
    samples, preprocessing = examples.samples, examples.preprocessing
    known = known or preprocessing
    inputs, _, _ = feed.take(examples, samples.rows)
    columns = {column.name: samples.columns[column.name] for column in preprocessing.columns}
    if all(isinstance(column, ArrayColumn) for column in preprocessing.columns):  # which have no empty cells
        return inputs, columns
    changed = {
        column.name: _changed(column, columns[column.name][:MAX_CHANGED], k) for k, column in enumerate(known.columns)
    }
    both = {name: np.concatenate([cells, changed[name]]) for name, cells in columns.items()}
    encoded = _encoded(changed, preprocessing)
    return tf.nest.map_structure(lambda *parts: np.concatenate(parts), inputs, encoded), both


def _changed(column: Column, cells: np.ndarray, place: int) -> np.ndarray:
    """Returns cells, or windows of cells, of the column at a place, some of them empty or unknown."""
    if isinstance(column, ArrayColumn):
        return cells
    flat = cells.reshape(-1).copy()
    for k, value in enumerate(UNKNOWN if column.is_text else (np.nan,)):
        flat[(place + k) % 3 :: 3] = value
    if isinstance(column, TokensColumn):
        word = column.words[-1] if column.words else UNKNOWN[-1].split()[0]
        flat[-1] = f"{word} {word}"
    elif known := getattr(column, "values", ()):
        flat[-1] = known[-1]
    return flat.reshape(cells.shape)


def _encoded(columns: Mapping[str, np.ndarray], preprocessing: Preprocessing) -> Any:
    """Returns the model's inputs of rows, or of windows of rows."""
    window = preprocessing.window
    if window is not None:
        rows = {name: cells.reshape(-1) for name, cells in columns.items()}
        numbers = _encoded(rows, replace(preprocessing, window=None))["numbers"]
        return numbers.reshape(-1, window.length, numbers.shape[-1])
    num_rows = len(next(iter(columns.values())))
    table = Table(dict(columns), np.zeros(num_rows), "", "regression", "changed rows")
    inputs, _ = encode(with_any_targets(table, preprocessing, names=[""]), preprocessing)
    return inputs
