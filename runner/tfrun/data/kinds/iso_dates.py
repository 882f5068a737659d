"""Reads many ISO dates at once: one by one, a column of a million would take as long as training on it."""

from __future__ import annotations

import numpy as np

from tfrun.config.date_formats import DAY_SECONDS, LIMITS, DateFormat, days_since_1970

LAYOUTS = ("0000-00-00", "0000-00-00 00:00", "0000-00-00 00:00:00")  # a 0 is any digit; other texts are read one by one
PLACES = {"year": (0, 4), "month": (5, 7), "day": (8, 10), "hour": (11, 13), "minute": (14, 16), "second": (17, 19)}
LENGTHS = np.array([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])


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
