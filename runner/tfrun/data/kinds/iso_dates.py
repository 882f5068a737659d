"""Reads many ISO dates at once: one by one, a column of a million would take as long as training on it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np

from tfrun.config.date_formats import DAY_SECONDS, LIMITS, DateFormat, days_since_1970

LAYOUTS = ("0000-00-00", "0000-00-00 00:00", "0000-00-00 00:00:00")  # a 0 is any digit; other texts are read one by one
PLACES = {"year": (0, 4), "month": (5, 7), "day": (8, 10), "hour": (11, 13), "minute": (14, 16), "second": (17, 19)}
LENGTHS = np.array([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])

MONTH = re.compile(r"\d{4}-\d{2}")
OFFSET = re.compile(r".{10}[t ].*(z|[+-]\d{2}:?\d{2})", re.IGNORECASE)
EPOCH = datetime(1970, 1, 1)


def iso_seconds(texts: np.ndarray) -> np.ndarray:
    """Returns the seconds since 1970 in UTC, (R,) float64, of texts, (R,) object of str; nan for one that is no date.

    It gives what `DateFormat.of(None).seconds` gives.
    """
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    seconds = np.full(len(texts), np.nan)
    is_left = lengths > 0
    for layout in LAYOUTS:
        places = np.flatnonzero(lengths == len(layout))
        joined = "".join(texts[places].tolist())
        if joined and joined.isascii():
            characters = np.frombuffer(joined.encode(), np.uint8).reshape(len(places), len(layout))
            seconds[places] = _of_layout(characters.astype(np.int64), layout)
            is_left[places] = False
    read = DateFormat.of(None).seconds
    for place in np.flatnonzero(is_left).tolist():
        number = read(texts[place])
        if number is not None:
            seconds[place] = number
    return seconds


def time_seconds(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the seconds since 1970 of texts that are to be put in order, and which of them have a UTC offset.

    It reads what `iso_seconds` reads, and further spellings of ISO 8601, such as 2024-01 and 2024-W05, which no model
    takes: the first day of the month or week.

    Args:
        texts: (V,) of them.

    Returns:
        (V,) float64, nan for a text that is no date, and (V,) bool.
    """
    days = np.array([f"{text}-01" if MONTH.fullmatch(text) else text for text in texts], dtype=object)
    seconds = iso_seconds(days)
    has_offset = np.array([OFFSET.fullmatch(text) is not None for text in texts], bool)
    for place in np.flatnonzero(np.isnan(seconds)).tolist():
        try:
            date = datetime.fromisoformat(days[place])
        except ValueError:
            continue
        offset = date.utcoffset()
        has_offset[place] = offset is not None
        seconds[place] = (date.replace(tzinfo=None) - EPOCH - (offset or timedelta())).total_seconds()
    return seconds, has_offset


def _of_layout(characters: np.ndarray, layout: str) -> np.ndarray:
    """Returns the seconds of texts of one layout, (R,) float64; their characters are (R, length) integers."""
    is_date = np.ones(len(characters), bool)
    for k, wanted in enumerate(layout):
        column = characters[:, k]
        if wanted == "0":
            is_date &= (column >= ord("0")) & (column <= ord("9"))
        else:
            is_date &= np.isin(column, [ord(sign) for sign in (" tT" if wanted == " " else wanted)])
    parts = {
        name: (characters[:, start:end] - ord("0")) @ 10 ** np.arange(end - start)[::-1]
        for name, (start, end) in PLACES.items()
        if end <= len(layout)
    }
    for name, part in parts.items():
        low, high = LIMITS[name]
        is_date &= (part >= low) & (part <= high)
    year, month, day = (np.where(is_date, parts[name], 1) for name in ("year", "month", "day"))
    is_leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    is_date &= day <= LENGTHS[month - 1] + (is_leap & (month == 2))
    hour, minute, second = (parts.get(name, np.zeros(1, np.int64)) for name in ("hour", "minute", "second"))
    seconds = days_since_1970(year, month, day) * DAY_SECONDS + (hour * 60 + minute) * 60 + second
    return np.where(is_date, seconds.astype(np.float64), np.nan)
