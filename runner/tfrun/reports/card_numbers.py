"""Numbers of a model card: with the digits that their spread gives a meaning."""

from __future__ import annotations

import math

DIGITS = 4  # of a spread
MAX_DECIMALS = 10  # then there is an exponent
MAX_DIGITS = 15  # that float64 holds of each number
NOISE_DIGITS = 9  # of a spread; what is below them is rounding
SEPARATED_FROM = 10_000  # thousands; years and the like have four digits


def number_text(value: float, *, digits: int = 7) -> str:
    """Returns a number by itself: with the digits that float32 holds, `155.3685`, all before the point, and no more."""
    return _text(value, _decimals(value, digits), strips=True)


def range_text(low: float, high: float) -> str:
    """Returns both ends of a range: `52.9 to 233.2`. A small end beside a large one keeps digits: `0.003 to 1000`."""
    spread = high - low
    if spread > 0:  # else both are one number
        low, high = (_without_noise(value, spread) for value in (low, high))
    decimals = _decimals(spread, DIGITS)
    ends = [_text(value, max(decimals, _decimals(value, DIGITS - 1)), strips=True) for value in (low, high)]
    return " to ".join(ends if spread > 0 else [number_text(low), number_text(high)])


def mean_text(mean: float, deviation: float, *, digits: int = DIGITS) -> str:
    """Returns a mean with as many decimals as its standard deviation: `148.79 ± 65.87`.

    Args:
        mean: a number.
        deviation: its standard deviation, not negative.
        digits: of the deviation, at least.
    """
    if deviation == 0:
        return f"{number_text(mean)} ± 0"
    decimals = _decimals(deviation, digits)
    return f"{_text(mean, decimals, strips=False)} ± {_text(deviation, decimals, strips=False)}"


def scaling_text(mean: float, divisor: float) -> str:
    """Returns what becomes of x: `(x − 148.79) / 65.87`, or `x − 4` where nothing is divided."""
    shift = number_text(abs(mean)) if divisor == 1 else _text(abs(mean), _decimals(divisor, DIGITS), strips=True)
    shifted = f"x {'−' if mean > 0 else '+'} {shift}" if mean else "x"
    if divisor == 1:
        return shifted
    return f"{f'({shifted})' if mean else 'x'} / {number_text(divisor, digits=DIGITS)}"


def _decimals(value: float, digits: int) -> int:
    """Returns the number of decimals with which a number has at least `digits` digits."""
    return max(digits - 1 - math.floor(math.log10(abs(value))), 0) if value else 0


def _without_noise(value: float, spread: float) -> float:
    return round(value, NOISE_DIGITS - math.floor(math.log10(spread))) + 0.0  # never -0


def _text(value: float, decimals: int, *, strips: bool) -> str:
    """Returns a number with the given decimals; `strips` leaves out trailing zeros."""
    if decimals > MAX_DECIMALS or abs(value) >= 1e15:
        digits = decimals + 1 + math.floor(math.log10(abs(value))) if value else 1
        return f"{value:.{min(max(digits, 1), MAX_DIGITS)}g}"
    text = f"{value:,.{decimals}f}"
    if abs(value) < SEPARATED_FROM:
        text = text.replace(",", "")
    return text.rstrip("0").rstrip(".") if strips and decimals else text
