"""Recognizes dates, which have no kind of their own yet."""

from __future__ import annotations

import re
from collections.abc import Sequence

MONTH = r"(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
DAY = r"\d{1,2}"
YEAR = r"(\d{4}|\d{2})"
TIME = r"([ T]+\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?( ?[ap]m)?( ?(z|utc|gmt|[+-]\d{2}:?\d{2}))?)?"
DATES = re.compile(
    rf"(\d{{4}}([-/.]){DAY}\2{DAY}|\d{{4}}-\d{{2}}|{DAY}([-/.]){DAY}\3{YEAR}"
    rf"|{DAY}[-. ]+{MONTH}[-., ]+{YEAR}|{MONTH}\.? {DAY},? {YEAR}|{MONTH}[- ]\d{{4}}){TIME}",
    re.IGNORECASE,
)
LEAST_SHARE = 0.9  # this share of a column's different values must be dates


def are_dates(values: Sequence[str]) -> bool:
    """Returns whether nearly all of a column's different values, apart from the empty one, are dates."""
    filled = [value for value in values if value]
    num_dates = sum(DATES.fullmatch(value) is not None for value in filled)
    return bool(filled) and num_dates >= LEAST_SHARE * len(filled)
