"""What a run learnt from its training rows: the fitted columns and targets, kept as `preprocessing.json`."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from tfrun.config.column_kinds import ColumnKind
from tfrun.config.data_settings import TextEncoding
from tfrun.data.decimals import predicted_decimals
from tfrun.data.kinds import (
    KINDS,
    KINDS_KEY,
    ArrayColumn,
    Column,
    IdColumn,
    NumberColumn,
    NumberInput,
    NumericColumn,
    RawColumn,
    TokensColumn,
    fit_column,
    is_text,
)
from tfrun.data.stored_texts import for_fitting
from tfrun.data.table import Features, Table, TrainedColumns
from tfrun.data.targets import EXACT_KEY, FittedTarget, TargetScale
from tfrun.data.windows import WINDOW_KEY, Window
from tfrun.errors import CheckpointError, DataError, as_typed, near_miss
from tfrun.files import strict_json
from tfrun.protocols import MAIN_OUTPUT

JSON_KEYS = (  # of preprocessing.json, in its order
    "medians",
    "means",
    "variances",
    "deciles",
    "vocabularies",
    "arrays",
    "task",
    "classes",
    "target_mean",
    "target_standard_deviation",
    "bins",
    "tokens",
    "lengths",
    "others",
    "spelt_as_read",
    EXACT_KEY,
    KINDS_KEY,
)
DECIMALS_KEY = "decimals"  # missing in the files of earlier versions


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """Everything that encoding further rows needs.

    Attributes:
        columns: the fitted columns: kind after kind in the order of `kinds.KINDS`, each kind's in the table's order.
        targets: all targets, by the model's output that predicts them, the main one first.
        window: the windows of a series that are the examples, or None if each row is one.
        decimals: with how many decimals predictions are written as text, by output; all of them for outputs that it
            lacks.
    """

    columns: tuple[Column, ...]
    targets: dict[str, FittedTarget]
    window: Window | None = None
    decimals: Mapping[str, int] = field(default_factory=dict)

    @property
    def numbers(self) -> list[NumericColumn]:
        """The columns that become numbers, in the order of `inputs["numbers"]`."""
        return [column for column in self.columns if isinstance(column, NumericColumn)]

    @property
    def number_inputs(self) -> list[NumberInput]:
        """The columns of `inputs["numbers"]`, each with a name of its own; a column of the data may have several."""
        taken = {column.name for column in self.columns}
        inputs: list[NumberInput] = []
        for column in self.numbers:
            for number in column.inputs:
                name = number.name
                if name != column.name:
                    name = _free(name, taken=taken, others=())
                    taken.add(name)
                inputs.append(number if name == number.name else replace(number, name=name))
        return inputs

    @property
    def categories(self) -> list[IdColumn]:
        """The columns with one id per row, in the order of `inputs["categories"]`."""
        return [column for column in self.columns if isinstance(column, IdColumn)]

    @property
    def tokens(self) -> list[TokensColumn]:
        return [column for column in self.columns if isinstance(column, TokensColumn)]

    @property
    def arrays(self) -> list[ArrayColumn]:
        return [column for column in self.columns if isinstance(column, ArrayColumn)]

    @property
    def text_names(self) -> list[str]:
        """The names of the columns of texts."""
        return [column.name for column in self.columns if column.is_text]

    def trained_columns(self, weight: str | None) -> TrainedColumns:
        """Returns what a data set gets to read further rows; `weight` is the config's data.sample_weight."""
        past = self.window.targets if self.window else ()
        return TrainedColumns(
            numbers=tuple(column.name for column in self.numbers if not column.is_text and column.name not in past),
            texts=tuple(self.text_names),
            targets=tuple(
                tuple(target.classes) if target.task == "classification" else None for target in self.targets.values()
            ),
            weight=weight,
            arrays=tuple(column.name for column in self.arrays),
        )

    @property
    def features(self) -> Features:
        """A description of the inputs, which a model gets when it is built."""
        if self.window is not None:
            names = tuple(number.name for number in self.number_inputs)
            return Features({}, {}, {WINDOW_KEY: (self.window.length, len(names))}, window=names)
        return Features(
            numbers={number.name: number.deciles for number in self.number_inputs},
            categories={column.name: column.num_ids for column in self.categories},
            arrays={self.input_name(column): column.shape for column in self.arrays},
            tokens={self.input_name(column): (column.num_ids, column.length) for column in self.tokens},
        )

    def input_name(self, column: TokensColumn | ArrayColumn) -> str:
        """Returns the key of a column with inputs of its own: its name, unless all columns of a kind have that."""
        return _free(column.name, taken=("numbers", "categories"), others=[column.name for column in self.columns])

    def raw_shape(self, column: Column) -> tuple[int, ...]:
        """Returns the shape of a column's raw cells in one example, which has a cell for each row of a window."""
        return column.raw_shape if self.window is None else (self.window.length,)

    def raw_type(self, column: Column, floatx: str) -> str:
        """Returns the type and the shape of a column's raw cells in a batch, and what an empty one is, for a person.

        For example `float32 (batch, 1), nan for empty`.
        """
        text = column.raw_type(floatx)
        return text if self.window is None else text.replace("(batch, 1)", f"(batch, {self.window.length})")

    @property
    def target(self) -> TargetScale:
        """The scale of the main target."""
        return self.targets[MAIN_OUTPUT].scale

    @property
    def others(self) -> dict[str, FittedTarget]:
        """The targets other than the main one, by output."""
        return {name: target for name, target in self.targets.items() if name != MAIN_OUTPUT}

    @property
    def rounded(self) -> list[str]:
        """The columns and targets, for a person, whose digits a run of an earlier version loses in float32."""
        far = [column.name for column in self.number_inputs if replace(column, exact=True).needs_float64]
        for name, target in self.targets.items():
            if target.scale.is_far:
                far.append("the target" if name == MAIN_OUTPUT else name)
        return [] if self.targets[MAIN_OUTPUT].exact else far

    @property
    def num_outputs(self) -> int:
        """How many numbers a model predicts for the main target."""
        return self.targets[MAIN_OUTPUT].num_outputs

    def to_json(self) -> str:
        """Returns the text of `preprocessing.json`: for each statistic the values of all columns that have it."""
        fields: dict[str, Any] = {key: {} for key in (KINDS_KEY, *(key for kind in KINDS for key in kind.json_keys))}
        for column in self.columns:
            for key, value in column.to_json().items():
                fields[key][column.name] = value
        main = self.targets[MAIN_OUTPUT]
        fields["task"] = main.task
        fields["classes"] = main.classes
        fields["target_mean"] = main.mean
        fields["target_standard_deviation"] = main.standard_deviation
        fields["spelt_as_read"] = main.spelt_as_read
        fields["others"] = {name: _own_fields(asdict(target)) for name, target in self.others.items()}
        fields[EXACT_KEY] = main.exact
        if not fields[KINDS_KEY]:
            del fields[KINDS_KEY]  # the file of the oldest kinds is what it always was
        written = {key: fields[key] for key in JSON_KEYS if key in fields}
        if self.decimals:
            written[DECIMALS_KEY] = dict(self.decimals)
        if self.window is not None:
            written[WINDOW_KEY] = asdict(self.window)
        return strict_json.dumps(written, indent=1) + "\n"

    def to_fields(self) -> dict[str, Any]:
        """Returns the content of `preprocessing.json`, parsed."""
        fields: dict[str, Any] = json.loads(self.to_json())
        return fields

    @classmethod
    def from_json(cls, text: str) -> Preprocessing:
        """Returns the preprocessing whose `to_json` gave this text."""
        return cls.from_fields(json.loads(text))

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any], source: str = "preprocessing.json") -> Preprocessing:
        """Returns the preprocessing from the content of `preprocessing.json`, parsed; old files have fewer keys.

        Raises:
            CheckpointError: it is damaged, or another program's; the message begins with `source`, the file.
        """
        try:
            return cls._from_fields(fields)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
            raise CheckpointError(f"{source}: is damaged, or not of a run of tfrun: {reason}") from error

    @classmethod
    def _from_fields(cls, fields: Mapping[str, Any]) -> Preprocessing:
        exact = fields.get(EXACT_KEY, False)
        known = {kind.kind.name for kind in KINDS}
        for name, column in fields.get(KINDS_KEY, {}).items():
            if column["name"] not in known:
                raise ValueError(f"column {name!r} is of a kind that this version doesn't know: {column['name']!r}")
        main = FittedTarget(
            fields["task"],
            fields["classes"],
            fields.get("target_mean", 0.0),
            fields.get("target_standard_deviation", 1.0),
            fields.get("spelt_as_read", False),
            exact,
        )
        others = {
            name: FittedTarget(**{"spelt_as_read": False, **target}, exact=exact)
            for name, target in fields.get("others", {}).items()
        }
        window = None if fields.get(WINDOW_KEY) is None else Window.of_json(fields[WINDOW_KEY])
        fitted = cls(
            columns=tuple(kind.from_json(name, fields) for kind in KINDS for name in kind.names_in(fields)),
            targets={MAIN_OUTPUT: main, **others},
            decimals=fields.get(DECIMALS_KEY, {}),
        )
        return fitted if window is None else fitted.with_window(window)

    def with_window(self, window: Window) -> Preprocessing:
        """Returns the preprocessing for windows of rows; a target's past is scaled as the target is.

        Raises:
            DataError: a column isn't one of numbers.
        """
        scales = dict(zip(window.targets, self.targets.values(), strict=True))
        others = [column.name for column in self.columns if not isinstance(column, NumericColumn)]
        if others:
            raise DataError(
                f"data.window: windows are of numbers. Received: {', '.join(others)}, other kinds of columns. "
                f"Leave them out: {as_typed('data.exclude', others)}"
            )
        columns = tuple(
            _scaled_like(column, scales[column.name])
            if isinstance(column, NumberColumn) and column.name in scales
            else column
            for column in self.columns
        )
        targets = {name: replace(target, horizon=window.horizon) for name, target in self.targets.items()}
        return replace(self, columns=columns, targets=targets, window=window)


def fit(
    table: Table,
    rows: np.ndarray,
    *,
    scale_target: bool,
    text: Mapping[str, TextEncoding] | None = None,
    kinds: Mapping[str, ColumnKind] | None = None,
    exact: bool = True,
    guesses_dates: bool = True,
) -> Preprocessing:
    """Learns the columns and targets of a table from its training rows.

    Args:
        table: the raw rows.
        rows: the numbers of the training rows.
        scale_target: whether a number target is standardized.
        text: text column -> how its texts become ids; a column that isn't named gives each text its own.
        kinds: column -> its kind; that of a column that neither this nor `text` names is guessed.
        exact: False for a run of an earlier version, see `NumberInput` and `TargetScale`; it has no `decimals`.
        guesses_dates: False for a run of an earlier version: text columns of ISO dates are categories.

    Raises:
        DataError: a column without any value, no such text column, a target that can't be used.
    """
    text = text or {}
    _check_encodings(table, text)
    chosen = {**{name: encoding.kind for name, encoding in text.items()}, **(kinds or {})}
    columns = [
        fit_column(
            RawColumn(name, for_fitting(column), rows, table.source, table.find),
            chosen.get(name),
            exact=exact,
            guesses_dates=guesses_dates,
        )
        for name, column in table.columns.items()
    ]
    targets = [
        FittedTarget.fit(
            target.values[rows],
            target.task,
            scale=scale_target,
            where=f"{table.source}: target {name!r}",
            exact=exact,
        )
        for name, target in table.targets.items()
    ]
    outputs = output_names(table)
    decimals = {
        output: predicted_decimals(np.asarray(target.values[rows], "float64"))
        for output, target in zip(outputs, table.targets.values(), strict=True)
        if target.task == "regression" and exact
    }
    return Preprocessing(
        columns=tuple(sorted(columns, key=lambda column: KINDS.index(type(column)))),
        targets=dict(zip(outputs, targets, strict=True)),
        decimals={output: count for output, count in decimals.items() if count is not None},
    )


def output_names(table: Table) -> list[str]:
    """Returns the model's output that predicts each target, the main one first."""
    return [MAIN_OUTPUT, *(_free(name, taken=[MAIN_OUTPUT], others=table.others) for name in table.others)]


def _check_encodings(table: Table, text: Mapping[str, TextEncoding]) -> None:
    """Raises DataError if an encoding is set for a column that holds no texts."""
    known = [name for name, column in table.columns.items() if is_text(column)]
    for name in text:
        if name not in known:
            raise DataError(
                f"{table.source}: data.text: no such text column. Received: {name!r}. Known: {', '.join(known)}."
                f"{near_miss(name, known)}"
            )


def _free(name: str, *, taken: Collection[str], others: Collection[str]) -> str:
    """Returns the name, with a `_` or more after it if it is taken."""
    result = name
    while result in taken or (result != name and result in others):
        result += "_"
    return result


def _scaled_like(column: NumberColumn, target: FittedTarget) -> NumberColumn:
    """Returns a target's past as a column that is scaled as the target is."""
    variance = target.standard_deviation**2
    return replace(column, mean=target.mean, variance=variance, quantiles=(), indicator=False)


def _own_fields(target: dict[str, Any]) -> dict[str, Any]:
    """Returns a target's fields without those that all targets share."""
    return {key: value for key, value in target.items() if key not in ("exact", "horizon")}
