"""The times after the last one of a series, if its times are regular."""

from __future__ import annotations

import calendar
import contextlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np

RECENT = 1000  # times that are looked at to find the step
TOLERANCE = 1e-3  # of a step, as numbers such as 1949.0833 are rounded


def times_after(times: Sequence[Any], count: int) -> list[Any] | None:
    """Returns the times after the last one, written alike; None if the steps between the times aren't all the same.

    Args:
        times: of one series in their order: floats, or texts of numbers or dates.
        count: how many are wanted.
    """
    recent = list(times[-RECENT:])
    if len(recent) < 2:
        return None
    if not isinstance(recent[0], str):
        return _numbers_after([float(time) for time in recent], count)
    numbers = _as_numbers(recent)
    if numbers is not None:
        decimals = max(len(text.partition(".")[2]) for text in recent)
        after = _numbers_after(numbers, count)
        return after and [f"{number:.{decimals}f}" for number in after]
    dates = [date for text in recent if (date := _date(text))]
    if any(text[4:5] != "-" or text[7:8] not in ("-", "") for text in recent):  # 2024-W05, which isn't written again
        return None
    after_dates = _dates_after(dates, count)
    return after_dates and [_written(date, like=recent[-1]) for date in after_dates]


def _as_numbers(texts: Sequence[str]) -> list[float] | None:
    """Returns texts as finite numbers; None if any isn't one."""
    with contextlib.suppress(ValueError):
        numbers = [float(text) for text in texts]
        return numbers if np.isfinite(numbers).all() else None
    return None


def _date(text: str) -> datetime | None:
    """Returns the date of a text; None if it isn't one. A month, 2024-01, is its first day."""
    with contextlib.suppress(ValueError):
        return datetime.fromisoformat(f"{text}-01" if len(text) == len("2024-01") else text)
    return None


def _numbers_after(numbers: Sequence[float], count: int) -> list[float] | None:
    step = (numbers[-1] - numbers[0]) / (len(numbers) - 1)
    if not np.allclose(np.diff(numbers), step, rtol=TOLERANCE, atol=0):
        return None
    return [numbers[-1] + step * k for k in range(1, count + 1)]


def _dates_after(dates: Sequence[datetime], count: int) -> list[datetime] | None:
    months = [date.year * 12 + date.month for date in dates]
    month_steps = {later - earlier for earlier, later in zip(months, months[1:], strict=False)}
    # the 15th of each month, or its last day, is as regular as every seventh day
    at_end = all((date + timedelta(days=1)).day == 1 for date in dates)
    places = {(0 if at_end else date.day, date.timetz()) for date in dates}
    if len(month_steps) == len(places) == 1 and 0 not in month_steps:
        (step_months,) = month_steps
        return [_in_month(dates[-1], months[-1] + step_months * k, at_end=at_end) for k in range(1, count + 1)]
    steps = {later - earlier for earlier, later in zip(dates, dates[1:], strict=False)}
    return [dates[-1] + step * k for step in steps for k in range(1, count + 1)] if len(steps) == 1 else None


def _in_month(date: datetime, number: int, *, at_end: bool) -> datetime:
    """Returns a date in another month; `number` counts months from the year 0."""
    year, month = divmod(number - 1, 12)
    last = calendar.monthrange(year, month + 1)[1]
    return date.replace(year=year, month=month + 1, day=last if at_end else min(date.day, last))


def _written(date: datetime, *, like: str) -> str:
    """Returns a date as a text that is written as another one."""
    if len(like) <= len("2024-01-31"):
        return date.date().isoformat()[: len(like)]
    has_seconds = like.count(":") > (2 if date.tzinfo and not like.endswith("Z") else 1)
    text = date.isoformat(sep=like[10], timespec="auto" if has_seconds else "minutes")
    return text.removesuffix("+00:00") + "Z" if like.endswith("Z") else text
