"""Formats of dates: what is written where in a text, as one regular expression that Python and TensorFlow both read."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Any, Self

from tfrun.errors import ConfigError

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
NAMED_MONTH = "(?:" + "|".join(MONTHS) + ")[a-z]*"
DIRECTIVES = {  # of strptime -> part of a date, its regular expression
    "Y": ("year", r"(\d{4})"),
    "y": ("short_year", r"(\d{2})"),
    "m": ("month", r"(\d{1,2})"),
    "b": ("month", f"({NAMED_MONTH})"),
    "B": ("month", f"({NAMED_MONTH})"),
    "d": ("day", r"(\d{1,2})"),
    "H": ("hour", r"(\d{1,2})"),
    "I": ("hour", r"(\d{1,2})"),
    "M": ("minute", r"(\d{1,2})"),
    "S": ("second", r"(\d{1,2})"),
    "f": ("fraction", r"(\d+)"),
    "p": ("half", "(am|pm)"),
    "z": ("offset", r"(z|[+-]\d{2}:?\d{2})"),
    "a": ("", "[a-z]+"),
    "A": ("", "[a-z]+"),
    "%": ("", "%"),
}
ISO = r"(\d{4})-(\d{2})-(\d{2})(?:[t ](\d{2}):(\d{2})(?::(\d{2})(?:\.(\d+))?)?(z|[+-]\d{2}:?\d{2})?)?"
ISO_PARTS = ("year", "month", "day", "hour", "minute", "second", "fraction", "offset")
DEFAULTS = {"year": 1970, "month": 1, "day": 1, "hour": 0, "minute": 0, "second": 0}
LIMITS = {"year": (1, 9999), "month": (1, 12), "day": (1, 31), "hour": (0, 23), "minute": (0, 59), "second": (0, 59)}
SHORT_YEARS_FROM = 69  # two digits from it on are years of 19xx, as POSIX has it
DAY_SECONDS = 86400


@dataclass(frozen=True)
class DateFormat:
    """How dates are written.

    Attributes:
        pattern: a regular expression for the whole text in small letters, with a group for each part.
        parts: the part of a date that each group holds.
    """

    pattern: str
    parts: tuple[str, ...]

    @classmethod
    def of(cls, format: str | None) -> Self:
        """Returns a format that `parse` has accepted, or ISO 8601 for None."""
        return cls(ISO, ISO_PARTS) if format is None else cls.parse(format, where="format")

    @classmethod
    def parse(cls, format: str, *, where: str) -> Self:
        """Reads a format as in Python's `strptime`; a space stands for one or more.

        Raises:
            ConfigError: a directive isn't known, or stands there twice; `where` is the config path.
        """
        pattern, parts = "", []
        for percent, letter, text in re.findall(r"(%)(.?)|([^%]+)", format):
            if percent and letter not in DIRECTIVES:
                known = ", ".join(f"%{name}" for name in DIRECTIVES)
                raise ConfigError(f"{where}: unknown directive. Received: '%{letter}' in {format!r}. Known: {known}")
            if percent:
                part, expression = DIRECTIVES[letter]
                pattern += expression
                parts += [part] if part else []
            else:
                pattern += re.sub(r"(\\ |\s)+", r"\\s+", re.escape(text.lower()))
        names = [part.removeprefix("short_") for part in parts]
        if not names or len(set(names)) < len(names):
            rule = "each part of a date may be there once" if names else "must have a directive, such as %Y"
            raise ConfigError(f"{where}: {rule}. Received: {format!r}")
        return cls(pattern, tuple(parts))

    def seconds(self, text: str) -> float | None:
        """Returns the seconds since 1970 in UTC; None if the text isn't a date of this format, or of no calendar.

        A text without an offset counts as UTC.
        """
        match = _compiled(self.pattern).fullmatch(text.lower())
        if match is None:
            return None
        texts = {part: group for part, group in zip(self.parts, match.groups(), strict=True) if group}
        numbers = {name: _number(name, texts) for name in DEFAULTS}
        if any(not low <= numbers[name] <= high for name, (low, high) in LIMITS.items()):
            return None
        if numbers["day"] > days_in_month(numbers["year"], numbers["month"]):
            return None
        days = days_since_1970(numbers["year"], numbers["month"], numbers["day"])
        time = (numbers["hour"] * 60 + numbers["minute"]) * 60 + numbers["second"]
        fraction = float(f"0.{texts['fraction']}") if "fraction" in texts else 0.0
        return days * DAY_SECONDS + time - _offset_seconds(texts.get("offset", "z")) + fraction


def days_in_month(year: int, month: int) -> int:
    """Returns the length of a month of the Gregorian calendar."""
    is_leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return 29 if month == 2 and is_leap else (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)[month - 1]


def days_since_1970(year: Any, month: Any, day: Any) -> Any:
    """Returns the days from 1970-01-01 to a date of the Gregorian calendar, of whole numbers or of arrays of them.

    Source: Hinnant, "chrono-compatible low-level date algorithms", `days_from_civil`; years begin in March there.
    """
    year = year - (month <= 2)
    day_of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return 365 * year + year // 4 - year // 100 + year // 400 + day_of_year - 719468


def _number(name: str, texts: dict[str, str]) -> int:
    """Returns a part of a date as a number; -1 is none that there can be."""
    if name == "year" and "short_year" in texts:
        short = int(texts["short_year"])
        return short + (1900 if short >= SHORT_YEARS_FROM else 2000)
    text = texts.get(name)
    if text is None:
        return DEFAULTS[name]
    if not text.isdigit():
        return MONTHS.index(text[:3]) + 1
    if name == "hour" and "half" in texts:
        hour = int(text)
        return hour % 12 + 12 * (texts["half"] == "pm") if 1 <= hour <= 12 else -1
    return int(text)


def _offset_seconds(text: str) -> int:
    """Returns the seconds by which a clock is ahead of UTC."""
    if text == "z":
        return 0
    seconds = (int(text[1:3]) * 60 + int(text[-2:])) * 60
    return -seconds if text[0] == "-" else seconds


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.ASCII)
