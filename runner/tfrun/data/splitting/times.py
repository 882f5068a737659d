"""The rule `time`: the oldest rows are trained on, newer ones validate, the newest test."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn

import numpy as np

from tfrun.config.column_kinds import DateKind
from tfrun.config.data_settings import DataSettings
from tfrun.config.date_formats import DateFormat
from tfrun.data.kinds.iso_dates import time_seconds
from tfrun.data.splitting.parts import Fold, Parts, Rule, codes_of, even_sizes, is_empty
from tfrun.errors import DataError


@dataclass(frozen=True)
class Times(Rule):
    """Cuts rows at moments, the newest rows first. Rows of one time stay together.

    Attributes:
        times: of each row of the table, (N,) numbers; see `as_numbers`.
        column: its name, for messages.
    """

    times: np.ndarray
    column: str
    why_sizes_differ: ClassVar[str] = "the rows of one time stay together"

    def cut(self, rows: np.ndarray, sizes: Sequence[int], random: np.random.Generator) -> Parts:
        """Returns the parts, each from old to new; see `Rule`. Raises DataError if there are too few times."""
        order = rows[np.argsort(self.times[rows], kind="stable")]
        times = self.times[order]
        edges = np.flatnonzero(times[1:] != times[:-1]) + 1  # the first row of each time but the oldest
        num_cuts = sum(size > 0 for size in sizes)
        if len(edges) < num_cuts:
            raise DataError(
                f"data.split.column: the training rows and each other split need a time of {self.column!r}. "
                f"Received: {len(edges) + 1} {'time' if len(edges) == 0 else 'times'}"
            )
        cuts, end = [], len(order)
        for part, size in enumerate(sizes):
            if size:
                num_cuts -= 1
                # each later part needs a time of its own
                possible = edges[num_cuts:][edges[num_cuts:] < end]
                end = int(possible[np.argmin(np.abs(possible - (len(order) - sum(sizes[: part + 1]))))])
            cuts.append(end)
        return Parts(np.split(order, cuts[::-1])[::-1])

    def fold(self, rows: np.ndarray, number: int, *, num_folds: int, random: np.random.Generator) -> Fold:
        """Returns one of as many stretches after the oldest one, and all rows that are older; see `Rule`.

        Newer rows are in neither.

        Source: the rolling origin of Tashman, Out-of-sample tests of forecasting accuracy (2000).
        """
        parts = self.cut(rows, even_sizes(len(rows), num_folds + 1)[1:], random)
        newest_first = num_folds - 1 - number
        return Fold(np.concatenate(parts.rows[:newest_first:-1]), parts.rows[newest_first], parts.notes)

    def limit(self, rows: np.ndarray, num_rows: int, random: np.random.Generator) -> np.ndarray:
        """Returns the newest training rows; see `Rule`."""
        return rows[-num_rows:]

    def check(self, splits: Mapping[str, np.ndarray], find: Callable[[int], str]) -> None:
        """Raises DataError if a validation or test row is older than a training row; see `Rule`."""
        train = splits["train"]
        for name in ("val", "test"):
            rows = splits[name]
            if not len(rows) or not len(train):
                continue
            newest, oldest = int(train[np.argmax(self.times[train])]), int(rows[np.argmin(self.times[rows])])
            if self.times[oldest] < self.times[newest]:
                raise DataError(
                    f"{find(oldest)}, column {self.column!r}: no row of the {name} split may be older than a training "
                    f"row, with data.split.by=time. Received: an older one than {find(newest)}"
                )


def as_numbers(
    cells: Any, *, find: Callable[[int], str], where: str, date_format: DateFormat | None = None
) -> np.ndarray:
    """Returns times as numbers in their order, (N,) float64; of dates, the seconds since 1970.

    Args:
        cells: a column, (N,): numbers, or texts that are all numbers, or all ISO dates with or without a time of day,
            with a UTC offset or all without one.
        find: returns where a row is, for messages.
        where: the column, for messages.
        date_format: how the texts are written, if they are neither numbers nor ISO dates.

    Raises:
        DataError: a cell is empty or is no time, or only some have a UTC offset.
    """
    if cells.dtype != object:
        times = np.asarray(cells, "float64")
        if np.isnan(times).any():
            raise DataError(f"{find(int(np.argmax(np.isnan(times))))}, {where}: is empty")
        return times
    codes, values = codes_of(cells, np.arange(len(cells)))

    def refuse(code: int, rule: str) -> NoReturn:
        place, value = find(int(np.argmax(codes == code))), values[code]
        raise DataError(f"{place}, {where}: {'is empty' if is_empty(value) else rule}. Received: {value!r}")

    if date_format is not None:
        read = np.array([_or_nan(date_format.seconds(str(value))) for value in values])
        rule = "must be a date of the format that data.kinds gives"
    else:
        read, rule = np.array([_number(value) for value in values]), "must be a number, or a date such as 2024-01-31"
        if np.isnan(read).any():
            return _iso_dates(values, refuse, rule=rule)[codes]
    if np.isnan(read).any():
        refuse(int(np.argmax(np.isnan(read))), rule)
    return read[codes]


def format_of_times(data: DataSettings, column: str) -> DateFormat | None:
    """Returns how a column's times are written, if data.kinds gives a format of dates."""
    kind = data.kinds.get(column)
    return DateFormat.of(kind.format) if isinstance(kind, DateKind) and kind.format else None


def _iso_dates(values: Sequence[Any], refuse: Callable[[int, str], NoReturn], *, rule: str) -> np.ndarray:
    """Returns the seconds since 1970 of ISO dates, (V,) float64; `refuse` raises for the value of a number."""
    seconds, has_offset = time_seconds([str(value) for value in values])
    no_dates = np.flatnonzero(np.isnan(seconds)).tolist()
    if no_dates:
        # among numbers, a word is what is wrong
        refuse(next((code for code in no_dates if np.isnan(_number(values[code]))), no_dates[0]), rule)
    if has_offset.any() and not has_offset.all():
        rule = f"must have a UTC offset if {values[0]!r} has one, and none if that has none"
        refuse(int(np.argmax(has_offset != has_offset[0])), rule)
    return seconds


def _or_nan(number: float | None) -> float:
    return np.nan if number is None else number


def _number(cell: Any) -> float:
    """Returns a cell as a number, nan if it is none."""
    try:
        number = float(cell)
    except ValueError:
        return np.nan
    return number if np.isfinite(number) else np.nan
