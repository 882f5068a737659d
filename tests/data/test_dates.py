"""Dates as numbers: the readers of texts agree with Python's own, and cycles are computed by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfrun.components.layers.raw_cells import Cycles, Dates
from tfrun.config.column_kinds import DateKind
from tfrun.config.date_formats import DateFormat, days_since_1970
from tfrun.data import layers
from tfrun.data.arrays import StoredArray
from tfrun.data.kinds import DateColumn, RawColumn
from tfrun.data.kinds.date import seconds_of, share_of_cycle
from tfrun.data.kinds.iso_dates import iso_seconds
from tfrun.data.kinds.texts import are_unknown
from tfrun.data.stored_texts import StoredTexts
from tfrun.errors import ConfigError

DAY = 86400
NOON = datetime(2024, 1, 31, 12, 30, 5, tzinfo=UTC).timestamp()
MIDNIGHT = datetime(2024, 1, 31, tzinfo=UTC).timestamp()
READ: list[tuple[str | None, str, float | None]] = [
    (None, "2024-01-31", MIDNIGHT),
    (None, "1970-01-01", 0.0),
    (None, "1969-12-31", -DAY),
    (None, "0001-01-01", datetime(1, 1, 1, tzinfo=UTC).timestamp()),
    (None, "9999-12-31", datetime(9999, 12, 31, tzinfo=UTC).timestamp()),
    (None, "2024-02-29", MIDNIGHT + 29 * DAY),
    (None, "2024-01-31T12:30:05", NOON),
    (None, "2024-01-31 12:30:05.25", NOON + 0.25),
    (None, "2024-01-31t12:30:05z", NOON),
    (None, "2024-01-31T12:30", NOON - 5),
    (None, "2024-01-31T13:30:05+01:00", NOON),
    (None, "2024-01-31T07:00:05-0530", NOON),
    (None, "2023-02-29", None),
    (None, "1900-02-29", None),
    (None, "2000-02-29", datetime(2000, 2, 29, tzinfo=UTC).timestamp()),
    (None, "2024-13-01", None),
    (None, "2024-00-01", None),
    (None, "2024-01-32", None),
    (None, "2024-01-31T24:00", None),
    (None, "2024-01-31T12:60", None),
    (None, "2024-1-31", None),
    (None, "2024-01", None),
    (None, "20240131", None),
    (None, "2024-01-31 and more", None),
    (None, "soon", None),
    (None, "", None),
    ("%d.%m.%Y", "31.01.2024", MIDNIGHT),
    ("%d.%m.%Y", "31.1.2024", MIDNIGHT),
    ("%d.%m.%Y", "1.31.2024", None),
    ("%m/%d/%y", "1/31/24", MIDNIGHT),
    ("%m/%d/%y", "1/31/70", 30 * DAY),
    ("%m/%d/%y", "1/31/68", datetime(2068, 1, 31, tzinfo=UTC).timestamp()),
    ("%Y%m%d", "20240131", MIDNIGHT),
    ("%d %b %Y", "31 January 2024", MIDNIGHT),
    ("%d %B %Y", "31  JAN 2024", MIDNIGHT),
    ("%A, %d-%b-%y", "Wednesday, 31-Jan-24", MIDNIGHT),
    ("%d %b %Y", "31 Janu4ry 2024", None),
    ("%m/%d/%Y %I:%M:%S %p", "1/31/2024 12:30:05 PM", NOON),
    ("%m/%d/%Y %I:%M %p", "1/31/2024 12:00 am", MIDNIGHT),
    ("%m/%d/%Y %I:%M %p", "1/31/2024 13:00 pm", None),
    ("%Y-%m-%dT%H:%M:%S.%f%z", "2024-01-31T13:30:05.5+01:00", NOON + 0.5),
    ("%Y-%m", "2024-02", MIDNIGHT + DAY),
    ("%H:%M", "01:30", 5400.0),
    ("100%% %Y", "100% 1971", 365.0 * DAY),
]


@pytest.mark.parametrize(("format", "text", "seconds"), READ)
def test_a_date_is_read_as_seconds_by_all_readers(format: str | None, text: str, seconds: float | None) -> None:
    written = DateFormat.of(format)
    assert written.seconds(text) == seconds
    layer = Dates(written.pattern, written.parts)
    (own,) = np.asarray(layer(np.array([[text]])))[0]
    (of_column,) = seconds_of(np.array([text], dtype=object), format)
    for read in (own, of_column):
        assert read.dtype == np.float64 and (np.isnan(read) if seconds is None else read == seconds)


def test_many_iso_dates_are_read_at_once_as_they_are_read_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [text for format, text, _ in READ if format is None]
    texts += ["2024-01-3x", "2024/01/31", "2024-01-31_12:30", "2024-01-31T12-30", "２024-01-31", "0000-01-01"]
    one_by_one = [DateFormat.of(None).seconds(text) for text in texts]
    np.testing.assert_array_equal(iso_seconds(np.array(texts, dtype=object)), np.array(one_by_one, "float64"))
    monkeypatch.setattr(DateFormat, "seconds", lambda self, text: pytest.fail("one by one"))
    few = np.array(["2024-01-31", "", "2024-01-31 12:30", "2024-01-31T12:30:05"], dtype=object)
    np.testing.assert_array_equal(iso_seconds(few), [MIDNIGHT, np.nan, NOON - 5, NOON])


def test_texts_on_disk_are_read_once_each(tmp_path: Path) -> None:
    np.array([1, 0, 1, 2], "int32").tofile(tmp_path / "codes")
    codes = StoredArray(str(tmp_path / "codes"), 0, shape=(4,), dtype="int32")
    texts = StoredTexts(codes, ["2024-01-31", "1970-01-02", ""])
    np.testing.assert_array_equal(seconds_of(texts, None), [DAY, MIDNIGHT, DAY, np.nan])
    assert are_unknown(texts, np.full(4, np.nan)).tolist() == [True, True, True, False]


def test_days_are_counted_as_python_does() -> None:
    for day in range(-200_000, 200_000, 997):
        date = datetime(1970, 1, 1) + timedelta(day)
        assert days_since_1970(date.year, date.month, date.day) == day


@pytest.mark.parametrize(
    ("format", "message"),
    [
        ("%d.%q.%Y", r"^here: unknown directive. Received: '%q' in '%d.%q.%Y'. Known: %Y, "),
        ("%d.%m.%", "unknown directive. Received: '%'"),
        ("%d.%m.%d", "each part of a date may be there once. Received: '%d.%m.%d'"),
        ("%d %y %Y", "each part of a date may be there once"),
        ("today", "must have a directive"),
        ("", "must have a directive"),
    ],
)
def test_a_format_that_is_none_is_an_error(format: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DateFormat.parse(format, where="here")


@pytest.mark.parametrize(
    ("cycle", "date", "share"),
    [
        ("hour", "2024-01-31T06:00:00", 0.25),
        ("hour", "1969-12-31T18:00:00", 0.75),
        ("week", "1970-01-01", 3 / 7),  # a Thursday
        ("week", "2024-01-29T23:59:59", 0.0),  # a Monday
        ("week", "1969-12-28", 6 / 7),
        ("year", "2024-01-01", 0.0),
        ("year", "2023-01-01T12:00:00", 0.0),
        ("year", "2024-02-29", 59 / 366),
        ("year", "2024-03-01", 60 / 366),
        ("year", "2023-03-01", 60 / 366),  # the same in each year
        ("year", "2023-12-31", 365 / 366),
        ("year", "1600-12-31", 365 / 366),
    ],
)
def test_a_share_of_each_cycle_has_passed(cycle: str, date: str, share: float) -> None:
    seconds = np.array([DateFormat.of(None).seconds(date)], "float64")
    np.testing.assert_allclose(share_of_cycle(cycle, seconds), [share], rtol=1e-12)
    on_circle = np.asarray(Cycles([cycle])(seconds[:, None]))[0]
    np.testing.assert_allclose(on_circle, [np.sin(2 * np.pi * share), np.cos(2 * np.pi * share)], atol=1e-12)


def fitted(*cells: str, train: int) -> tuple[DateColumn, np.ndarray]:
    raw = RawColumn("day", np.array(cells, dtype=object), np.arange(train), "homes.csv")
    column = DateColumn.fit(raw, DateKind())
    model = layers.numbers_model(column.inputs)
    return column, np.asarray(model(np.stack(column.encode(raw.cells, "float32", source=""), axis=1)))


def test_only_the_parts_that_vary_in_the_training_rows_are_inputs() -> None:
    def names(*cells: str) -> Any:
        return list(fitted(*cells, "2024-05-05T05:05:05", train=len(cells))[0].cycles)

    assert names("2024-01-01", "2024-01-08") == ["year"]
    assert names("2024-01-01", "2024-01-02") == ["year", "week"]
    assert names("2024-01-01T10:00", "2024-01-01T11:00") == ["hour"]
    assert names("2018-01-01", "2024-01-01") == []  # both are Mondays
    assert names("2024-01-01", "") == []


def test_elapsed_time_is_standardized_before_its_digits_are_lost() -> None:
    """A float32 of seconds since 1970 knows them to 128 seconds."""
    cells = [f"2024-01-31T12:00:{second:02}" for second in range(10)]
    column, numbers = fitted(*cells, train=6)
    assert column.elapsed.needs_float64 and column.raw_dtype("float32") == "string"
    seconds = np.arange(10)
    np.testing.assert_allclose(numbers[:, 0], (seconds - 2.5) / np.std(np.arange(6)), atol=1e-6)
    assert column.elapsed.median == NOON - 1805 + 2.5


def test_an_empty_date_is_the_median_and_the_centre_of_each_circle() -> None:
    column, numbers = fitted("2024-01-01", "2024-01-03", "2024-01-02", "", train=3)
    names = [number.name for number in column.inputs]
    assert names == ["day:elapsed", "day:year_sin", "day:year_cos", "day:week_sin", "day:week_cos"]
    np.testing.assert_allclose(numbers[3], [0, 0, 0, 0, 0], atol=1e-7)
    np.testing.assert_allclose(numbers[2, 3:], [np.sin(2 * np.pi / 7), np.cos(2 * np.pi / 7)], rtol=1e-6)
