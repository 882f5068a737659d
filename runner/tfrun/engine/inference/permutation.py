"""Permutation importance: how much worse a metric of a trained run becomes without the order of one column's cells."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from tfrun.data.examples import Examples
from tfrun.data.kinds import ArrayColumn, TokensColumn
from tfrun.data.preprocessing import Preprocessing
from tfrun.engine.building.pieces import Pieces
from tfrun.engine.training import feed
from tfrun.engine.training.program import Program
from tfrun.reports.evaluated_rows import Importance

MAX_ROWS = 2000
MAX_BYTES = 2**26  # of the rows' inputs
MAX_EVALUATIONS = 200
MAX_COLUMNS = 400
REPEATS = 5
SEED = 0

Permute = Callable[[Any, np.ndarray], Any]


def importance(pieces: Pieces, program: Program, rows: np.ndarray) -> Importance | str:
    """Returns the importance of each raw column of the data, or a sentence on why it isn't defined or left out.

    The encoded inputs that come from a column are permuted together. Each row is encoded alone, so this is the same as
    permuting the raw cells. The metric is the one that the run monitors, else the loss, as `tfrun evaluate` computes
    it. Afterwards the program's examples are those rows alone.

    Args:
        pieces: of the run.
        program: with the weights to use.
        rows: the numbers of the test rows; of more than 2,000 a selection with a fixed seed is used.
    """
    columns = list(_columns(pieces.examples.preprocessing))
    if len(columns) < 2:
        return "The data has a single column."
    if len(columns) > MAX_COLUMNS:
        return f"Left out, since there are {len(columns):,} columns, more than {MAX_COLUMNS}."
    if len(rows) < 2:
        return "There is a single row."
    name, is_greater_better = _monitored(pieces, program)
    draws = np.random.default_rng(SEED)
    examples = _selected(pieces.examples, rows, draws)

    def evaluate(inputs: Any) -> float:
        permuted = replace(examples, inputs=inputs)
        program.use_feed(feed.Resident(permuted, pieces.order, strategy=pieces.strategy), np.arange(0))
        return program.evaluate(examples.splits["test"])[name]

    value = evaluate(examples.inputs)
    repeats = max(1, min(REPEATS, MAX_EVALUATIONS // len(columns)))
    importances = []
    for column, permute in columns:
        orders = [draws.permutation(examples.num_rows) for _ in range(repeats)]
        worse = np.array([evaluate(permute(examples.inputs, order)) for order in orders]) - value
        worse = -worse if is_greater_better else worse
        importances.append((column, float(worse.mean()), float(worse.std())))
    if not np.isfinite([value, *(mean for _, mean, _ in importances)]).all():
        return f"Undefined, since {name} isn't defined on these rows."
    importances.sort(key=lambda entry: -entry[1])
    return Importance(name, value, examples.num_rows, repeats, importances)


def _monitored(pieces: Pieces, program: Program) -> tuple[str, bool]:
    """Returns the name of the value that the run monitors, else "loss", and whether a greater one is better."""
    checkpoint = pieces.settings.checkpoint
    name = checkpoint.monitor.partition("/")[2]
    return (name, checkpoint.mode == "max") if name in program.names else ("loss", False)


def _selected(examples: Examples, rows: np.ndarray, draws: np.random.Generator) -> Examples:
    """Returns at most 2,000 rows, fewer if they are large, as examples of their own that are all test rows."""
    row_bytes = max(1, feed.data_bytes(examples) // examples.num_rows)
    most = max(2, min(MAX_ROWS, MAX_BYTES // row_bytes))
    if len(rows) > most:
        rows = np.sort(draws.choice(rows, most, replace=False))
    inputs, targets, weights = feed.take(examples, rows)
    numbers = np.arange(len(rows), dtype=np.int32)
    splits = {"train": numbers[:1], "val": numbers[:0], "test": numbers}
    weights = None if isinstance(weights, tuple) else weights
    return replace(examples, inputs=inputs, targets=targets, weights=weights, splits=splits)


def _columns(fitted: Preprocessing) -> Iterator[tuple[str, Permute]]:
    """Yields each raw column with a function from inputs and an order of their rows to inputs with permuted cells."""
    first = 0
    for column in fitted.numbers:
        yield column.name, _permuting("numbers", slice(first, first + len(column.inputs)))
        first += len(column.inputs)
    for k, category in enumerate(fitted.categories):
        yield category.name, _permuting("categories", slice(k, k + 1))
    others: list[TokensColumn | ArrayColumn] = [*fitted.tokens, *fitted.arrays]
    for other in others:
        yield other.name, _permuting(fitted.input_name(other), slice(None))


def _permuting(name: str, places: slice) -> Permute:
    """Returns a function that permutes some columns of one of the inputs."""

    def permute(inputs: Any, order: np.ndarray) -> Any:
        values = inputs[name].copy()
        values[:, places] = values[order, places]
        return {**inputs, name: values}

    return permute
