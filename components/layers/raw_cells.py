"""Defines the layers that turn raw cells into numbers inside an exported model: `quantiles`, and those for texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfrun import register
from tfrun.config.date_formats import DAY_SECONDS, DEFAULTS, LIMITS, MONTHS, SHORT_YEARS_FROM

OFFSET = r"^([+-])(\d{2}):?(\d{2})$"


@register.layer("quantiles")
@keras.saving.register_keras_serializable("tfrun.layers")
class Quantiles(keras.layers.Layer):
    """Quantile scaling: y[i, k] is on the straight lines through the points of column k, and level beyond them.

    x and y are (B, F) floats.

    Args:
        points: for each of the F columns its points (x, y), with increasing x.
    """

    def __init__(self, points: Sequence[Sequence[Sequence[float]]], **kwargs: Any):
        super().__init__(**kwargs)
        self.points = [[[float(x), float(y)] for x, y in column] for column in points]

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        longest = max(map(len, self.points))
        # a column with fewer points ends in pieces of no width
        x, y = np.array([[*column, *column[-1:] * (longest - len(column))] for column in self.points]).T
        widths = np.diff(x, axis=0)
        slopes = np.divide(np.diff(y, axis=0), widths, out=np.zeros_like(widths), where=widths > 0)
        start, width, slope = (tf.constant(part.T, inputs.dtype) for part in (x[:-1], widths, slopes))
        along = tf.clip_by_value(inputs[:, :, None] - start, tf.zeros_like(width), width)
        return tf.constant(y[0], inputs.dtype) + tf.reduce_sum(slope * along, axis=2)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "points": self.points}


@keras.saving.register_keras_serializable("tfrun.layers")
class TextNumbers(keras.layers.Layer):
    """y[i, 0] = numbers[x[i, 0]], (B, 1) floats for (B, 1) strings; nan for a text without a number.

    Args:
        numbers: text -> its number.
        lower: whether capital letters are read as small ones.
    """

    def __init__(self, numbers: Mapping[str, float], lower: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.numbers = {text: float(number) for text, number in numbers.items()}
        self.lower = lower

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        texts = tf.strings.lower(inputs) if self.lower else inputs
        is_text = tf.equal(texts, tf.constant([list(self.numbers)]))
        numbers = tf.constant([list(self.numbers.values())], self.compute_dtype)
        number = tf.reduce_sum(tf.where(is_text, numbers, tf.zeros_like(numbers)), axis=1, keepdims=True)
        return tf.where(tf.reduce_any(is_text, axis=1, keepdims=True), number, tf.constant(np.nan, number.dtype))

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        return keras.KerasTensor(inputs.shape, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "numbers": self.numbers, "lower": self.lower}


@keras.saving.register_keras_serializable("tfrun.layers")
class HashedWords(keras.layers.Layer):
    """y[i, k] = 1 + hash(word k of x[i, 0]) mod bins, (B, length) int32 for (B, 1) strings; 0 behind the last word.

    Words are split at white space. The hash is that of `keras.layers.Hashing`: a word alone in its text has the id that
    this layer gives it with `bins + 1` bins and the mask "".

    Args:
        bins: the number of ids that words share, from 1 on.
        length: the number of words to keep.
    """

    def __init__(self, bins: int, length: int, **kwargs: Any):
        super().__init__(autocast=False, **kwargs)
        self.bins = bins
        self.length = length

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        words = tf.strings.split(inputs[:, 0])
        ids = words.with_flat_values(tf.strings.to_hash_bucket_fast(words.flat_values, self.bins) + 1)
        return tf.cast(ids.to_tensor(shape=(None, self.length)), tf.int32)

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        return keras.KerasTensor((inputs.shape[0], self.length), dtype="int32")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "bins": self.bins, "length": self.length}


@keras.saving.register_keras_serializable("tfrun.layers")
class Dates(keras.layers.Layer):
    """Returns the seconds since 1970 in UTC, (B, 1) float64, of texts, (B, 1); nan for one that is no date.

    It does what `tfrun.config.date_formats.DateFormat.seconds` does.

    Args:
        pattern: the regular expression of the format, for small letters.
        parts: the part of a date that each of its groups holds.
    """

    def __init__(self, pattern: str, parts: Sequence[str], **kwargs: Any):
        super().__init__(**{**kwargs, "dtype": "float64"})
        self.pattern = pattern
        self.parts = list(parts)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        texts = tf.strings.lower(inputs)
        # the words of a text that doesn't match stay as they are, and aren't read
        is_date = tf.strings.regex_full_match(texts, self.pattern)
        groups = {
            part: tf.where(is_date, tf.strings.regex_replace(texts, f"^{self.pattern}$", rf"\{k}"), "")
            for k, part in enumerate(self.parts, start=1)
        }
        numbers = {name: self._number(name, groups, texts) for name in DEFAULTS}
        for name, (low, high) in LIMITS.items():
            is_date &= (numbers[name] >= low) & (numbers[name] <= high)
        year, month, day = (tf.where(is_date, numbers[name], 1.0) for name in ("year", "month", "day"))
        is_date &= day <= _days_in_month(year, month)
        time = (numbers["hour"] * 60 + numbers["minute"]) * 60 + numbers["second"]
        seconds = _days_since_1970(year, month, day) * DAY_SECONDS + time
        if "offset" in groups:
            seconds -= _offset_seconds(groups["offset"])
        if "fraction" in groups:
            seconds += _to_number(tf.strings.join(["0.", groups["fraction"]]), "0.", default=0.0)
        return tf.where(is_date, seconds, tf.constant(np.nan, tf.float64))

    def _number(self, name: str, groups: Mapping[str, tf.Tensor], texts: tf.Tensor) -> tf.Tensor:
        """Returns a part of a date, float64 of the shape of the texts; -1 is none that there can be."""
        default = float(DEFAULTS[name])
        if name == "year" and "short_year" in groups:
            short = _to_number(groups["short_year"], default=0.0)
            return short + tf.where(short >= SHORT_YEARS_FROM, tf.constant(1900.0, tf.float64), 2000.0)
        if name not in groups:
            return tf.fill(tf.shape(texts), tf.constant(default, tf.float64))
        digits = groups[name]
        if name == "month":
            for k, month in enumerate(MONTHS, start=1):
                digits = tf.strings.regex_replace(digits, f"^{month}[a-z]*$", str(k))
        number = _to_number(digits, default=default)
        if name == "hour" and "half" in groups:
            is_hour = (number >= 1) & (number <= 12)
            shifted = number % 12 + tf.where(groups["half"] == "pm", tf.constant(12.0, tf.float64), 0.0)
            return tf.where(is_hour, shifted, tf.constant(-1.0, tf.float64))
        return number

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        return keras.KerasTensor(inputs.shape, "float64")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "pattern": self.pattern, "parts": self.parts}


@keras.saving.register_keras_serializable("tfrun.layers")
class Cycles(keras.layers.Layer):
    """Returns sine and cosine of each cycle, (B, 2·C) float64, of seconds since 1970, (B, 1) float64.

    It does what `tfrun.data.kinds.date.share_of_cycle` does.

    Args:
        cycles: their C names: year, week, hour.
    """

    def __init__(self, cycles: Sequence[str], **kwargs: Any):
        super().__init__(**{**kwargs, "dtype": "float64"})
        self.cycles = list(cycles)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        angles = [2 * np.pi * _share_of_cycle(cycle, inputs) for cycle in self.cycles]
        return tf.concat([axis(angle) for angle in angles for axis in (tf.sin, tf.cos)], axis=1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape[0], 2 * len(self.cycles)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "cycles": self.cycles}


def _share_of_cycle(cycle: str, seconds: tf.Tensor) -> tf.Tensor:
    days = tf.floor(seconds / DAY_SECONDS)
    if cycle == "hour":
        return seconds / DAY_SECONDS - days
    if cycle == "week":
        return tf.math.floormod(days + 3, 7) / 7
    day_of_era = tf.math.floormod(days + 719468, 146097)
    leaps = tf.floor(day_of_era / 1460) - tf.floor(day_of_era / 36524) + tf.floor(day_of_era / 146096)
    year_of_era = tf.floor((day_of_era - leaps) / 365)
    day = day_of_era - (365 * year_of_era + tf.floor(year_of_era / 4) - tf.floor(year_of_era / 100))
    return tf.math.floormod(day + 60, 366) / 366


def _days_in_month(year: tf.Tensor, month: tf.Tensor) -> tf.Tensor:
    is_leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    lengths = tf.constant([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], tf.float64)
    extra = tf.where(is_leap & (month == 2), tf.constant(1.0, tf.float64), 0.0)
    return tf.gather(lengths, tf.cast(month, tf.int32) - 1) + extra


def _days_since_1970(year: tf.Tensor, month: tf.Tensor, day: tf.Tensor) -> tf.Tensor:
    year -= tf.cast(month <= 2, tf.float64)
    day_of_year = tf.floor((153 * ((month + 9) % 12) + 2) / 5) + day - 1
    leaps = tf.floor(year / 4) - tf.floor(year / 100) + tf.floor(year / 400)
    return 365 * year + leaps + day_of_year - 719468


def _offset_seconds(texts: tf.Tensor) -> tf.Tensor:
    has_offset = tf.strings.regex_full_match(texts, OFFSET)
    hours, minutes = (tf.where(has_offset, tf.strings.regex_replace(texts, OFFSET, rf"\{k}"), "") for k in (2, 3))
    seconds = (_to_number(hours, default=0.0) * 60 + _to_number(minutes, default=0.0)) * 60
    return tf.where(tf.strings.regex_full_match(texts, "-.*"), -seconds, seconds)


def _to_number(texts: tf.Tensor, empty: str = "", *, default: float) -> tf.Tensor:
    """Returns texts as numbers, float64; that of an empty one is the default."""
    return tf.strings.to_number(tf.where(texts == empty, str(default), texts), tf.float64)
