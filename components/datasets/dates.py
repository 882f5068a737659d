"""Recognizes texts that are dates to a person."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tfrun.config.date_formats import DateFormat
from tfrun.errors import as_typed

MONTH = r"(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
DAY = r"\d{1,2}"
YEAR = r"(\d{4}|\d{2})"
TIME = r"([ T]+\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?( ?[ap]m)?( ?(z|utc|gmt|[+-]\d{2}:?\d{2}))?)?"
DATES = re.compile(
    rf"(\d{{4}}([-/.]){DAY}\2{DAY}|\d{{4}}-\d{{2}}|{DAY}([-/.]){DAY}\3{YEAR}"
    rf"|{DAY}[-. ]+{MONTH}[-., ]+{YEAR}|{MONTH}\.? {DAY},? {YEAR}|{MONTH}[- ]\d{{4}}){TIME}",
    re.IGNORECASE,
)
DAYS = ("%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%Y/%m/%d", "%d-%m-%Y", "%Y.%m.%d", "%d.%m.%y", "%m/%d/%y", "%Y-%m")
NAMED_DAYS = ("%d %b %Y", "%d-%b-%y", "%d-%b-%Y", "%b %d, %Y", "%b %d %Y", "%b %Y")
FORMATS = [f"{day}{time}" for time in ("", " %H:%M", " %H:%M:%S", " %I:%M %p") for day in (*DAYS, *NAMED_DAYS)]
MIN_SHARE = 0.9  # this share of a column's different values must be dates


def are_dates(values: Sequence[str]) -> bool:
    """Returns whether nearly all of a column's different values, apart from the empty one, are dates."""
    filled = [value for value in values if value]
    num_dates = sum(DATES.fullmatch(value) is not None for value in filled)
    return bool(filled) and num_dates >= MIN_SHARE * len(filled)


def date_option(name: str, values: Sequence[str]) -> str:
    """Returns the word that makes a column one of dates, as it is typed in a shell, with a format that fits its values.

    A person has to look at it: where no day is above 12, days and months can't be distinguished.
    """
    filled = [value for value in values if value]
    fitting = (format for format in FORMATS if all(_is_date(value, format) for value in filled))
    return as_typed("data.kinds", {name: f'{{name: date, format: "{next(fitting, FORMATS[0])}"}}'})


def _is_date(text: str, format: str) -> bool:
    return DateFormat.of(format).seconds(text) is not None
