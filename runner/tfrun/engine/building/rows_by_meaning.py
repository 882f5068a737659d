"""Which row of an earlier run's table of ids is which of a new one's: the row of the same category or word.

The ids of a column depend on its training rows, so the same category often has another id in another run. The model
itself says which rows of a table a column's ids read: it is called on a few ids, and the gradient of a table names the
rows. That shows where each column's rows begin, and those of a cross of columns.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfrun.data.kinds import CategoryColumn, IdColumn, TokensColumn
from tfrun.data.preprocessing import Preprocessing
from tfrun.errors import ConfigError, some

MAX_NAMED = 5  # columns or classes in a sentence


@dataclass(frozen=True)
class RowMap:
    """Where the rows of a table come from.

    Attributes:
        rows: for each row of the new table the row of the old one, or −1 if it has none; (num_rows,) int64.
        num_earlier_rows: the rows of the old table.
    """

    rows: np.ndarray
    num_earlier_rows: int

    def apply(self, earlier: np.ndarray, fresh: np.ndarray) -> np.ndarray:
        """Returns the new table: rows of the earlier one, and fresh ones where there is none."""
        known = self.rows >= 0
        table = fresh.copy()
        table[known] = earlier[self.rows[known]].astype(table.dtype)
        return table

    def __str__(self) -> str:
        return f"{int((self.rows >= 0).sum()):,} of {len(self.rows):,} rows"


@dataclass(frozen=True)
class _Part:
    """Rows of a table that the ids of a column read, or those of several columns together, as a cross of them does.

    Attributes:
        offset: the first one.
        columns: with the ids i and j of two columns, the row is offset + i · (number of ids of the second) + j.
    """

    offset: int
    columns: tuple[str, ...]


def row_maps(model: keras.Model, inputs: Any, *, new: Preprocessing, earlier: Preprocessing) -> dict[str, RowMap]:
    """Returns where the rows of each table come from, by the table's path; empty if no column's ids have changed.

    Args:
        model: the new run's, built.
        inputs: a few encoded rows.
        new: what the new run has learnt from its rows.
        earlier: the same of the run that the weights are from.

    Raises:
        ConfigError: a column's ids have changed, and it isn't known which weights belong to which id.
    """
    ids = {column.name: _meanings(column) for column in _id_columns(new)}
    before = {column.name: _meanings(column) for column in _id_columns(earlier)}
    changed = [name for name in ids if ids[name] != before.get(name)]
    if not changed and ids.keys() == before.keys():
        return {}
    probes = _Probes(model, inputs, new)
    parts = probes.parts()
    followed = {name for of_table in parts.values() for part in of_table or () for name in part.columns}
    is_lost = any(of_table is None for of_table in parts.values())
    lost = [name for name in changed if name in before and (is_lost or name not in followed or probes.reads_else(name))]
    if lost:
        raise ConfigError(
            f"init: the categories of {', '.join(lost)} are others than in the earlier run, and the model doesn't tell "
            "which of its weights belong to which. Encode the rows as then: init.preprocessing=same"
        )
    sizes = {name: len(meanings) for name, meanings in before.items()}
    maps = {}
    for variable in model.trainable_variables:
        if of_table := parts.get(variable.path):
            maps[variable.path] = _row_map(variable, of_table, ids, before, sizes=sizes)
    return maps


def _id_columns(preprocessing: Preprocessing) -> list[IdColumn | TokensColumn]:
    return [*preprocessing.categories, *preprocessing.tokens]


def _meanings(column: IdColumn | TokensColumn) -> list[Hashable]:
    """Returns what each id of a column stands for; two ids of two runs that mean the same are equal."""
    if isinstance(column, TokensColumn) and column.tokenizer is not None:
        return [("padding",), *((column.tokenizer.sha256, k) for k in range(column.tokenizer.num_tokens))]
    if isinstance(column, TokensColumn) and column.bins is None:
        return [("padding",), ("unseen",), *column.words]
    if isinstance(column, CategoryColumn):
        return [("unseen",), *column.values]
    return [("empty",), *((column.num_ids, k) for k in range(1, column.num_ids))]  # hashed: all bins, or none


def _row_map(
    variable: keras.Variable,
    parts: Sequence[_Part],
    ids: Mapping[str, Sequence[Hashable]],
    before: Mapping[str, Sequence[Hashable]],
    *,
    sizes: Mapping[str, int],
) -> RowMap:
    """Returns where a table's rows come from; in the earlier table, too, the parts lie one after the other."""
    rows = np.full(variable.shape[0], -1, np.int64)
    offset = parts[0].offset
    rows[:offset] = np.arange(offset)
    for part in _with_dropped(parts, before):
        size = math.prod(sizes.get(name, 0) for name in part.columns)
        if size and all(name in ids for name in part.columns):
            shape = [len(ids[name]) for name in part.columns]
            earlier = np.zeros(shape, np.int64)
            is_known = np.ones(shape, np.bool_)
            for axis, name in enumerate(part.columns):
                places = {meaning: k for k, meaning in enumerate(before[name])}
                of_column = np.array([places.get(meaning, -1) for meaning in ids[name]])
                of_column = of_column.reshape([-1 if k == axis else 1 for k in range(len(shape))])
                earlier = earlier * sizes[name] + of_column
                is_known &= of_column >= 0
            count = math.prod(shape)
            rows[part.offset : part.offset + count] = np.where(is_known, earlier + offset, -1).ravel()
        offset += size
    return RowMap(rows, offset)


def _with_dropped(parts: Sequence[_Part], before: Mapping[str, Any]) -> Iterator[_Part]:
    """Yields the parts in the order of the earlier table, with the columns that only the earlier run has."""
    singles = {part.columns[0]: part for part in parts if len(part.columns) == 1}
    if len(singles) == len(parts):
        order = list(before)
        known = [name for name in order if name in singles]
        first, last = (order.index(known[k]) for k in (0, -1)) if known else (0, -1)
        for name in order[first : last + 1]:
            yield singles.get(name) or _Part(-1, (name,))
        return
    yield from parts


class _Probes:
    """Calls a model on a few ids, to see which rows of its tables they read.

    Args:
        model: built.
        inputs: a few encoded rows, of which the first is used, with other ids.
        preprocessing: names the columns.
    """

    def __init__(self, model: keras.Model, inputs: Any, preprocessing: Preprocessing):
        self._model = model
        self._inputs = tf.nest.map_structure(lambda array: np.array(array[:1]), inputs)
        self._places = {column.name: ("categories", k) for k, column in enumerate(preprocessing.categories)}
        self._places |= {column.name: (preprocessing.input_name(column), 0) for column in preprocessing.tokens}
        self._sizes = {column.name: column.num_ids for column in _id_columns(preprocessing)}

    def parts(self) -> dict[str, list[_Part] | None]:
        """Returns the parts of each table, by its path; None for one whose rows don't follow from the ids so."""
        base = self._reads({})
        ones = {name: self._reads({name: 1}) for name in self._sizes}
        last = {name: self._reads({name: size - 1}) for name, size in self._sizes.items()}
        every = self._reads({name: size - 1 for name, size in self._sizes.items()})
        found: dict[str, list[_Part] | None] = {}
        for path, rows in base.items():
            strides = {name: ones[name][path] - rows for name in self._sizes}
            steps = {name: strides[name] * (size - 1) for name, size in self._sizes.items()}
            is_linear = all(np.array_equal(last[name][path] - rows, steps[name]) for name in steps)
            is_linear &= np.array_equal(every[path] - rows, sum(steps.values(), np.zeros_like(rows)))
            found[path] = self._parts_of(rows, strides) if is_linear else None
        return found

    def _parts_of(self, rows: np.ndarray, strides: Mapping[str, np.ndarray]) -> list[_Part] | None:
        parts = set()
        for k, offset in enumerate(rows.tolist()):
            of_row = {name: int(stride[k]) for name, stride in strides.items() if stride[k]}
            columns = sorted(of_row, key=lambda name: -of_row[name])
            expected = [math.prod(self._sizes[name] for name in columns[i + 1 :]) for i in range(len(columns))]
            if [of_row[name] for name in columns] != expected:
                return None
            if columns:
                parts.add(_Part(offset, tuple(columns)))
        return sorted(parts, key=lambda part: part.offset)

    def reads_else(self, name: str) -> bool:
        """Returns whether the model computes with a column's ids otherwise than by reading rows of tables.

        The tables are 0 for this, and all other weights random, so that nothing hides it.
        """
        tables = self._reads({})
        random = np.random.default_rng(0)
        before = [variable.numpy() for variable in self._model.trainable_variables]
        try:
            for variable, value in zip(self._model.trainable_variables, before, strict=True):
                is_table = variable.path in tables
                variable.assign(np.zeros_like(value) if is_table else random.normal(size=value.shape))
            first, last = (self._outputs({name: k}) for k in (0, self._sizes[name] - 1))
        finally:
            for variable, value in zip(self._model.trainable_variables, before, strict=True):
                variable.assign(value)
        return any(not np.array_equal(a, b) for a, b in zip(first, last, strict=True))

    def _outputs(self, ids: Mapping[str, int]) -> list[np.ndarray]:
        return [output.numpy() for output in tf.nest.flatten(self._model(self._with(ids), training=False))]

    def _reads(self, ids: Mapping[str, int]) -> dict[str, np.ndarray]:
        """Returns the rows that are read of each table for one example with these ids, and 0 for all other columns."""
        variables = self._model.trainable_variables
        with tf.GradientTape() as tape:
            outputs = tf.nest.flatten(self._model(self._with(ids), training=False))
            total = tf.add_n([tf.reduce_sum(tf.cast(output, "float32")) for output in outputs])
        gradients = tape.gradient(total, [variable.value for variable in variables])
        return {
            variable.path: gradient.indices.numpy().astype("int64")
            for variable, gradient in zip(variables, gradients, strict=True)
            if isinstance(gradient, tf.IndexedSlices)
        }

    def _with(self, ids: Mapping[str, int]) -> Any:
        """Returns the example with these ids."""
        changed = tf.nest.map_structure(np.copy, self._inputs)
        for key, _ in self._places.values():
            changed[key][:] = 0
        for name, number in ids.items():
            key, place = self._places[name]
            changed[key][0, place] = number
        return tf.nest.map_structure(tf.convert_to_tensor, changed)


def differences(new: Preprocessing, earlier: Preprocessing) -> list[str]:
    """Returns sentences on how rows are encoded otherwise than in the earlier run."""
    sentences = []
    scales = {column.name: (column.mean, column.variance) for column in earlier.number_inputs}
    names = [column.name for column in new.number_inputs]
    other = [c.name for c in new.number_inputs if c.name in scales and scales[c.name] != (c.mean, c.variance)]
    if other:
        sentences.append(f"{some(other, MAX_NAMED)} are scaled by other means and deviations than in the earlier run")
    for output, target in new.targets.items():
        before = earlier.targets.get(output)
        if before and (before.mean, before.standard_deviation) != (target.mean, target.standard_deviation):
            sentences.append(
                f"the target is scaled by the mean {target.mean:.4g} and deviation {target.standard_deviation:.4g}, "
                f"in the earlier run by {before.mean:.4g} and {before.standard_deviation:.4g}"
            )
        if before and before.classes != target.classes:
            sentences.append(
                f"the classes were {some(before.classes, MAX_NAMED)}, and are {some(target.classes, MAX_NAMED)} now: "
                "an output stands for another class, unless init.new names its layer"
            )
    missing = [name for name in scales if name not in names]
    if missing:
        sentences.append(f"{some(missing, MAX_NAMED)} of the earlier run are no inputs now")
    return sentences
