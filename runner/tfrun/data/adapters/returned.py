"""Makes a table of what a data set's function has returned: a frame, or an iterable of rows."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from tfrun.components.datasets.columns import ColumnOptions, read_table
from tfrun.data.adapters.collect import Collected, collect
from tfrun.data.adapters.memory_columns import MemoryColumns
from tfrun.data.adapters.recognize import Source, is_frame, recognize
from tfrun.data.pieces import ROW, Keep, RowPieces, cut, row_numbers
from tfrun.data.table import Table, TrainedColumns
from tfrun.errors import DataError, ResourceError

# the parameters of a function that say what its columns mean, as those of data=parquet do
COLUMN_PARAMS = ("target", "task", "columns", "exclude", "text_columns", "max_categories", "missing")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Call:
    """A call of a data set's function, for what is known of the rows that it returns.

    Attributes:
        name: the data set's; "" for rows that Python code has given, not a data set.
        origin: the file and line of the function, for messages; "" if they aren't known.
        params: the function's arguments.
        task: "regression" or "classification", if the data set says that it is always the same.
        kinds: column -> the name of its kind, of those that are known.
        text_encodings: the encodings of the columns that the config makes texts.
        rows_only: whether the targets aren't needed.
        trained: the columns of the run that the rows are for, or None.
    """

    name: str
    origin: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    task: str | None = None
    kinds: Mapping[str, str] = field(default_factory=dict)
    text_encodings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    rows_only: bool = False
    trained: TrainedColumns | None = None

    @property
    def source(self) -> str:
        """Where the rows come from, for messages."""
        return f"data={self.name}" if self.name else "the rows"

    @contextlib.contextmanager
    def named_in_errors(self) -> Iterator[None]:
        """Names the function and the data set in errors about what it has returned."""
        try:
            yield
        except (DataError, ResourceError) as error:
            where = f"{self.origin}: " if self.origin else ""
            message = str(error).replace("data.path: ", "")
            where += "" if message.startswith(self.source) else f"{self.source}: "
            raise type(error)(f"{where}{message}{self._advice(message)}") from error

    def _advice(self, message: str) -> str:
        """Returns a hint if a message advises keys that the function has no parameters for."""
        missing = [name for name in COLUMN_PARAMS if f"data.{name}" in message and name not in self.params]
        needed = f" (for this, the function needs the parameter {', '.join(missing)})" if missing else ""
        return needed if self.name else ""

    def options(self, target: str | list[str], *, task: str = "auto") -> ColumnOptions:
        """Returns what the columns mean; `task` is that of a function which says nothing of it."""
        given = {name: self.params[name] for name in COLUMN_PARAMS if name in self.params}
        chosen = given.get("task") or self.task or "auto"
        return ColumnOptions(
            **{
                **given,
                "target": target,
                "task": task if chosen == "auto" else chosen,
                "text_encodings": self.text_encodings,
                "kinds": self.kinds,
                "rows_only": self.rows_only,
                "trained": self.trained,
            }
        )


@dataclass(frozen=True)
class ReturnedRows:
    """Rows that a data set's function has returned, in memory; `of` reads them."""

    call: Call
    columns: MemoryColumns
    options: ColumnOptions
    weights: np.ndarray | None = None

    @classmethod
    def of(cls, value: Any, call: Call) -> ReturnedRows:
        """Reads what a function has returned.

        Args:
            value: a frame, whose target is the function's parameter `target`, or an iterable of rows or batches.
            call: of the function.

        Raises:
            DataError: it is nothing that rows can be read from, or they can't be used; the message names the function.
            ResourceError: the rows don't fit into the memory.
        """
        name = call.source
        with call.named_in_errors():
            if is_frame(value):
                options = call.options(_target_of_columns(call))
                return cls(call, MemoryColumns(name, _arrow_table(value), arrays={}, options=options), options)
            source = recognize(value)
            collected = collect(source)
            if source.is_read and call.trained is None:
                _say_what_is_kept(name, source, collected)
            cells, options = _named_columns(collected, call)
            arrays = {column: values for column, values in cells.items() if isinstance(values, np.ndarray)}
            flat = pa.table({column: values for column, values in cells.items() if column not in arrays})
            columns = MemoryColumns(name, flat, arrays=arrays, options=options)
            return cls(call, columns, options, None if call.rows_only else collected.weights)

    def texts(self, name: str, *, option: str) -> Any:
        """Returns a column as texts, whatever it holds. Raises DataError; `option` is the config key that names it."""
        alone = TrainedColumns(numbers=(), texts=(name,), targets=(), option=option)
        with self.call.named_in_errors():
            return read_table(self.columns, replace(self.options, trained=alone, rows_only=True)).columns[name]

    def table(self, exclude: Sequence[str] = ()) -> Table:
        """Returns the table without some columns. Raises DataError if the rows can't be used."""
        options = replace(self.options, exclude=[*(self.options.exclude or ()), *exclude])
        with self.call.named_in_errors():
            return replace(read_table(self.columns, options), weights=self.weights)

    def pieces(self, keep: Keep) -> RowPieces:
        """Returns the rows without targets, cut into pieces, with columns as the function has returned them.

        Raises:
            ConfigError: there is no such column to keep.
            DataError: the rows can't be used.
        """
        table = self.table()
        columns = self.columns.cells
        known: dict[str, Callable[[slice], Any]] = {
            name: partial(_cells_of, columns.column(k)) for k, name in enumerate(columns.schema.names)
        }
        known = known or {ROW: row_numbers}
        kept = keep.of(list(known), self.columns.path)
        return cut(table, {name: known[name] for name in kept})


def _cells_of(column: pa.ChunkedArray, rows: slice) -> pa.ChunkedArray:
    return column.slice(rows.start, rows.stop - rows.start)


def _arrow_table(frame: Any) -> pa.Table:
    """Returns a frame as a table of Arrow's. Raises DataError if its cells are of no type that Arrow has."""
    try:
        has_stream = any(hasattr(frame, name) for name in ("__arrow_c_stream__", "__arrow_c_array__"))
        if not has_stream and hasattr(frame, "to_arrow"):  # polars before 1.3
            return frame.to_arrow()
        return pa.table(frame)
    except (pa.ArrowException, TypeError, ValueError) as error:
        kind = f"{type(frame).__module__.partition('.')[0]} {type(frame).__name__}"
        raise DataError(f"a {kind} that Arrow can't read: {' '.join(str(error).split())}") from error


def _target_of_columns(call: Call) -> str | list[str]:
    """Returns the name of the target, or of several. Raises DataError if the function has no parameter for it."""
    target: str | list[str] | None = call.params.get("target")
    if target is not None:
        return target
    if call.rows_only:
        return []
    if not call.name:
        raise DataError("nothing says which column is the target: the run's config has no data.target")
    raise DataError(
        "rows of named columns need a target. Give the function a parameter for it, "
        f"target: str = 'price' for example. Received parameters: {', '.join(call.params) or 'none'}"
    )


def _named_columns(collected: Collected, call: Call) -> tuple[dict[str, Any], ColumnOptions]:
    """Returns all columns by name, and what they mean. Raises DataError if there is no target, or it is of arrays."""
    inputs = {name or "x": values for name, values in collected.inputs.items()}
    if not collected.targets:
        return inputs, call.options(_target_of_columns(call))
    targets: dict[str, Any] = {_free(name, call.params, inputs): values for name, values in collected.targets.items()}
    for name, values in targets.items():
        if isinstance(values, np.ndarray):
            raise DataError(
                f"target {name!r} must be one number or text for each row. Received: {values.dtype} {values.shape}. "
                "Of classes in one-hot form: numpy.argmax(y, axis=-1)"
            )
    # as for data=npz: floats are numbers, anything else is a class
    are_floats = {name: pa.types.is_floating(values.type) for name, values in targets.items()}
    task = (
        "auto" if len(set(are_floats.values())) > 1 else "regression" if all(are_floats.values()) else "classification"
    )
    options = call.options(next(iter(targets)) if len(targets) == 1 else list(targets), task=task)
    if options.task == "auto":
        targets |= {name: targets[name].cast(pa.string()) for name, is_float in are_floats.items() if not is_float}
    return {**inputs, **targets}, options


def _free(name: str, params: Mapping[str, Any], taken: Mapping[str, Any]) -> str:
    """Returns the name of a target: its own, the function's parameter, or y, with a `_` after it if it is taken."""
    target = params.get("target")
    name = name or (target if isinstance(target, str) and target not in taken else "y")
    while name in taken:
        name += "_"
    return name


def _say_what_is_kept(name: str, source: Source, collected: Collected) -> None:
    """Says what of the promises holds for rows that a pipeline has given."""
    parts = [*collected.inputs.values(), *collected.targets.values()]
    size = sum(part.nbytes for part in parts) / 2**20
    log.warning(
        "%s: the %d rows of %s are in memory now (%.1f MiB) and are split, shuffled and batched here. Each epoch sees "
        "these rows: what is random in their making is drawn once. A run is resumed only if they are the same again",
        name,
        len(parts[0]),
        source.label,
        size,
    )
