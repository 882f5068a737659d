"""The kind of column `date`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from tfrun.config.column_kinds import DateKind
from tfrun.config.date_formats import DAY_SECONDS, DateFormat
from tfrun.data.kinds.inputs import FarInput, NumberInput
from tfrun.data.kinds.iso_dates import iso_seconds
from tfrun.data.kinds.raw import KINDS_KEY, RawColumn, names_of_kind
from tfrun.data.kinds.texts import TextColumn, are_unknown, for_each_text, numbers_of

CYCLES = ("year", "week", "hour")
ELAPSED = "elapsed"


@dataclass(frozen=True)
class DateColumn(TextColumn):
    """Dates and times, as several columns of `inputs["numbers"]`.

    `<name>:elapsed` is the seconds since 1970, standardized. Sine and cosine of the day in the year, the day in the
    week and the time of the day follow, of those that vary in the training rows. An empty cell is the median of the
    elapsed time, and 0, the centre, of each circle.

    Attributes:
        format: as in Python's `strptime`; None is ISO 8601.
        elapsed: the statistics of the seconds.
        cycles: cycle -> the deciles of its sine and of its cosine.
    """

    name: str
    format: str | None
    elapsed: FarInput
    cycles: dict[str, tuple[tuple[float, ...], tuple[float, ...]]]

    kind: ClassVar[Any] = DateKind
    json_keys: ClassVar = (KINDS_KEY,)
    unknown_are: ClassVar = "that aren't such dates"

    @classmethod
    def fit(cls, raw: RawColumn, kind: DateKind) -> Self:
        """Learns the scale and which parts vary. Raises DataError for a cell that is no date, or if all are empty."""
        seconds = seconds_of(raw.cells, kind.format)
        how = "an ISO date (2024-01-31, 2024-01-31T12:00:00)" if kind.format is None else f"a date {kind.format!r}"
        raw.refuse(are_unknown(raw.cells, seconds), f"must be {how}")
        seconds = seconds[raw.rows]
        filled = seconds[~np.isnan(seconds)]
        if not len(filled):
            raise raw.no_value()
        cycles = {}
        for cycle in CYCLES:
            shares = share_of_cycle(cycle, filled)
            if (shares != shares[0]).any():
                sine, cosine = map(_deciles, on_circle(shares))
                cycles[cycle] = (sine, cosine)
        return cls(raw.name, kind.format, FarInput.of(f"{raw.name}:{ELAPSED}", seconds), cycles)

    @property
    def inputs(self) -> tuple[NumberInput, ...]:
        """The columns of `inputs["numbers"]` that it becomes."""
        circles = (
            NumberInput.unscaled(f"{self.name}:{cycle}_{axis}", 0.0, deciles)
            for cycle, both in self.cycles.items()
            for axis, deciles in zip(("sin", "cos"), both, strict=True)
        )
        return (self.elapsed, *circles)

    def unknown(self, cells: np.ndarray) -> np.ndarray:
        """Returns which cells are no dates, (N,) bool; an empty one isn't counted."""
        return are_unknown(cells, seconds_of(cells, self.format))

    def encode(self, cells: np.ndarray, dtype: str, *, source: str) -> list[np.ndarray]:
        """Returns raw cells as its inputs, not scaled yet: seconds, (N,) float64, and circles, (N,) each of `dtype`."""
        seconds = seconds_of(cells, self.format)
        circles = [axis.astype(dtype) for cycle in self.cycles for axis in on_circle(share_of_cycle(cycle, seconds))]
        return [seconds, *circles]

    def to_json(self) -> dict[str, Any]:
        """Returns what it has learnt, by the keys of `preprocessing.json`."""
        cycles = {cycle: [list(deciles) for deciles in both] for cycle, both in self.cycles.items()}
        learnt = {"format": self.format, "cycles": cycles, **self.elapsed.to_json()}
        return {KINDS_KEY: {"name": self.kind.name, **learnt}}

    @classmethod
    def names_in(cls, fields: Mapping[str, Any]) -> Iterable[str]:
        """Returns the names of the columns of this kind in `preprocessing.json`."""
        return names_of_kind(fields, cls.kind.name)

    @classmethod
    def from_json(cls, name: str, fields: Mapping[str, Any]) -> Self:
        """Returns a column of `preprocessing.json`."""
        column = fields[KINDS_KEY][name]
        cycles = {cycle: (tuple(sine), tuple(cosine)) for cycle, (sine, cosine) in column["cycles"].items()}
        return cls(name, column["format"], FarInput.of_json(f"{name}:{ELAPSED}", column), cycles)


def seconds_of(texts: Any, format: str | None) -> np.ndarray:
    """Returns the seconds since 1970 in UTC of texts, (N,) float64; nan for an empty one, and for one that is no date.

    Args:
        texts: (N,) object of str.
        format: as in Python's `strptime`; None is ISO 8601.
    """
    if format is None:
        return for_each_text(texts, iso_seconds, np.float64)
    return numbers_of(texts, DateFormat.of(format).seconds)


def share_of_cycle(cycle: str, seconds: np.ndarray) -> np.ndarray:
    """Returns which share of a cycle has passed at each time, from 0 to below 1, (N,) float64; nan stays nan.

    Args:
        cycle: "hour" is the time of the day; "week" the weekday, Monday first, of 7; "year" the day's number in a leap
            year, January 1 first, of 366, so that a date has the same in each year.
        seconds: since 1970 in UTC, (N,) float64.
    """
    days = np.floor(seconds / DAY_SECONDS)
    if cycle == "hour":
        return seconds / DAY_SECONDS - days
    if cycle == "week":
        return (days + 3) % 7 / 7  # 1970 began on a Thursday
    # Hinnant, "chrono-compatible low-level date algorithms", civil_from_days: years begin in March there
    day_of_era = (days + 719468) % 146097
    leaps = np.floor(day_of_era / 1460) - np.floor(day_of_era / 36524) + np.floor(day_of_era / 146096)
    year_of_era = np.floor((day_of_era - leaps) / 365)
    day = day_of_era - (365 * year_of_era + np.floor(year_of_era / 4) - np.floor(year_of_era / 100))
    return (day + 60) % 366 / 366


def on_circle(shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns sine and cosine of shares of a circle, (N,) each."""
    angles = 2 * np.pi * shares
    return np.sin(angles), np.cos(angles)


def _deciles(values: np.ndarray) -> tuple[float, ...]:
    return tuple(sorted(set(np.quantile(values, np.linspace(0.1, 0.9, 9)).tolist())))
