"""Reads the cells of a CSV file as numbers, and finds those that could be numbers in another way of writing them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tfrun.errors import ConfigError

NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
SPACES = " \u00a0\u2009\u202f"  # the usual one, and three that programs write between thousands
SIGNS = {".": "point", ",": "comma"}


class NumberFormat:
    """How numbers are written in a file.

    Args:
        decimal: the character before a number's fraction, a point or a comma.
        missing: the cells that stand for no value.
        thousands: the character between groups of three digits, if any. A space is also one that doesn't break.
        strip: texts that are removed from cells before they are read.

    Raises:
        ConfigError: thousands are separated by the decimal sign, or an empty text is to be removed.
    """

    def __init__(
        self, decimal: str, missing: Iterable[str], *, thousands: str | None = None, strip: Sequence[str] = ()
    ):
        if thousands == decimal:
            raise ConfigError(f"data.thousands: must be another character than data.decimal. Received: {thousands!r}")
        if "" in strip:
            raise ConfigError(f"data.strip: must be texts to remove. Received: {list(strip)}")
        self.decimal = decimal
        self._thousands = SPACES if thousands == " " else thousands or ""
        # the longest first, so that none is cut by a part of it
        self._strip = "|".join(re.escape(text) for text in sorted(strip, key=len, reverse=True))
        self.other = "," if decimal == "." else "."
        self._missing = pa.array(list(missing), pa.string())

    def identity(self) -> list[Any]:
        """Returns what the reading of a cell follows from, plain values."""
        return [self.decimal, self.missing, self._thousands, self._strip]

    @property
    def missing(self) -> list[str]:
        """The cells that stand for no value."""
        return self._missing.to_pylist()

    def is_missing(self, cells: pa.StringArray) -> np.ndarray:
        """Returns whether each cell stands for no value, (N,) bool."""
        return np.array(pc.is_in(cells, value_set=self._missing))

    def read(self, cells: pa.StringArray) -> np.ndarray | None:
        """Returns cells as (N,) float64 with nan for missing ones, or None if one of them isn't a number."""
        text = self._filled(cells)
        if self.decimal == ",":
            if pc.any(pc.match_substring(text, ".")).as_py():
                return None  # it could be a thousand or the decimal sign
            text = pc.replace_substring(text, ",", ".")
        # without a leading +, which Arrow refuses, only if the first try fails: the replacement is slow
        for clean in (lambda text: text, lambda text: pc.replace_substring_regex(text, r"^\+", "")):
            try:
                return pc.cast(clean(text), pa.float64()).to_numpy(zero_copy_only=False)
            except pa.ArrowInvalid:
                pass
        return None

    def is_number(self, cells: pa.StringArray) -> np.ndarray:
        """Returns whether each cell is missing or a number with this decimal sign, (N,) bool."""
        text = self._filled(cells)
        if self.decimal == ",":
            text = pc.replace_substring(pc.replace_substring(text, ".", "?"), ",", ".")
        return np.array(pc.fill_null(pc.match_substring_regex(text, NUMBER), True))

    def is_grouped(self, cells: pa.StringArray) -> np.ndarray:
        """Returns whether each cell is a number if the other sign separates thousands, such as 1,234 or 1,234.5."""
        other, decimal = rf"\{self.other}", rf"\{self.decimal}"
        return _matches(cells, rf"^[+-]?\d{{1,3}}({other}\d{{3}})+({decimal}\d+)?$")

    def has_other_sign(self, cells: pa.StringArray) -> np.ndarray:
        """Returns whether each cell is a number if the other sign is the decimal sign, such as 1,5."""
        return _matches(cells, rf"^[+-]?\d*\{self.other}\d+([eE][+-]?\d+)?$")

    def _filled(self, cells: pa.StringArray) -> pa.StringArray:
        """Returns the cells with null for those that stand for no value, and without signs that aren't read."""
        is_missing = pc.is_in(cells, value_set=self._missing)
        if self._strip:
            cells = pc.utf8_trim_whitespace(pc.replace_substring_regex(cells, self._strip, ""))
            # what is left of a cell may be missing too, but a cell of such signs alone isn't
            is_missing = pc.or_(is_missing, pc.and_(pc.is_in(cells, value_set=self._missing), pc.not_equal(cells, "")))
        if self._thousands:
            between = f"[{self._thousands}]"
            is_grouped = pc.match_substring_regex(cells, rf"^[+-]?\d{{1,3}}({between}\d{{3}})+(\{self.decimal}\d*)?$")
            # other cells keep the character, with which they are no numbers
            cells = pc.if_else(is_grouped, pc.replace_substring_regex(cells, between, ""), cells)
        return pc.if_else(is_missing, pa.scalar(None, pa.string()), cells)


def _matches(cells: pa.StringArray, pattern: str) -> np.ndarray:
    return np.array(pc.match_substring_regex(cells, pattern))
