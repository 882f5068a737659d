"""The curve of a learning-rate range test: losses over growing rates, smoothed, and the rates that it suggests.

Sources: Smith, "Cyclical learning rates for training neural networks", 2017, arXiv:1506.01186, section 3.3, for the
test; Gugger, "How do you find a good learning rate", 2018, and fastai's `Learner.lr_find` for rates that grow
exponentially, the smoothed loss, the end at four times the best one, and the two rules: a tenth of the rate of the
least loss, and the rate at which the loss falls fastest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

GROWN = 4.0  # times the best smoothed loss, at which a test ends
CLEAR = 4.5  # times the deviation that the smoothed loss has by chance, by which it has to fall
MIN_FALL = 1e-4  # of the loss, since a smaller one may be rounding

Ended = Literal["range", "grew", "undefined"]


class Average:
    """A moving average that begins unbiased: a_k = Σ β^(k−j) v_j / Σ β^(k−j), over j = 0 … k.

    Source: Kingma and Ba, "Adam", 2015, arXiv:1412.6980, section 3, for the correction of the bias.

    Args:
        beta: the weight of a value divided by that of the next one, 0 to below 1.
    """

    def __init__(self, beta: float):
        self._beta = beta
        self._sum = 0.0
        self._weight = 0.0

    def add(self, value: float) -> float:
        """Returns the average once a value is in it."""
        self._sum = self._beta * self._sum + value
        self._weight = self._beta * self._weight + 1
        return self._sum / self._weight


def smoothed(values: Sequence[float] | np.ndarray, beta: float) -> np.ndarray:
    """Returns the moving average at each of the values, (n,)."""
    average = Average(beta)
    return np.array([average.add(float(value)) for value in values])


class Growth:
    """Notices that a smoothed loss has grown to four times its best value.

    Of a loss below 0 there is no four times: there, the loss may grow by three times its best value's size, or three
    times what it has fallen so far, if that is more.

    Args:
        beta: of the moving average.
    """

    def __init__(self, beta: float):
        self._average = Average(beta)
        self._first = math.nan
        self._best = math.inf

    def add(self, loss: float) -> bool:
        """Returns whether the loss has grown too much, once a step's loss, which is finite, is added."""
        value = self._average.add(loss)
        if math.isnan(self._first):
            self._first = value
        self._best = min(self._best, value)
        size = self._best if self._best > 0 else max(-self._best, self._first - self._best)
        return value > self._best + (GROWN - 1) * size


@dataclass(frozen=True)
class RangeCurve:
    """What a range test has measured.

    A step's loss is that of its batch before the step's update. Each smoothed loss stands at the rate that is the
    average of the same steps, as a logarithm: smoothing doesn't move the curve to greater rates.

    Attributes:
        rates: the learning rate of each step, growing.
        losses: the loss of each step, finite.
        ended: why the test ended: all rates were tried, the loss grew, or it, or a weight, was no longer finite.
        smoothing: the β of the moving average.
        last_rate: the greatest rate that was to be tried.
    """

    rates: Sequence[float]
    losses: Sequence[float]
    ended: Ended
    smoothing: float
    last_rate: float

    @cached_property
    def log_rates(self) -> np.ndarray:
        """The decimal logarithm of the rate of each smoothed loss."""
        return smoothed(np.log10(self.rates), self.smoothing)

    @cached_property
    def smooth_losses(self) -> np.ndarray:
        """The smoothed loss of each step."""
        return smoothed(self.losses, self.smoothing)

    @property
    def steps_to_begin(self) -> int:
        """The first steps, of which the average has too few values yet."""
        return math.ceil(1 / (1 - self.smoothing) - 1e-9)

    @property
    def half_width(self) -> int:
        """The number of steps before and after a step over which its slope is measured."""
        return math.ceil(0.5 / (1 - self.smoothing) - 1e-9)

    @cached_property
    def best_step(self) -> int:
        """The step of the least smoothed loss, from 0."""
        return int(np.argmin(self.smooth_losses))

    @property
    def best_rate(self) -> float:
        """The rate of the least smoothed loss."""
        return float(10 ** self.log_rates[self.best_step])

    @property
    def suggestion(self) -> float:
        """A tenth of the rate of the least smoothed loss: at that rate, training is about to become unstable."""
        return self.best_rate / 10

    @property
    def steepest(self) -> float:
        """The rate at which the smoothed loss falls fastest over the logarithm of the rate: another rule."""
        return float(10 ** self.log_rates[self._steepest_step])

    @cached_property
    def _steepest_step(self) -> int:
        steps = np.arange(self.steps_to_begin, self.best_step + 1)
        before = np.maximum(steps - self.half_width, 0)
        after = np.minimum(steps + self.half_width, self.best_step)
        falls = self.smooth_losses[after] - self.smooth_losses[before]
        return int(steps[np.argmin(falls / (self.log_rates[after] - self.log_rates[before]))])

    def why_none(self) -> str:
        """Returns why the curve suggests no rate, and what may help, or an empty string."""
        if len(self.losses) == 0:
            return "the first loss is not finite"
        if self.best_step <= self.steps_to_begin or not self._falls_clearly():
            if self.ended == "range":
                return (
                    "the loss never falls clearly. More steps= and a larger data.batch_size make the curve "
                    "smoother, and a greater to= longer"
                )
            return (
                "the loss grows before it has clearly fallen. Try a smaller from=, more steps= or a larger "
                "data.batch_size"
            )
        if self.ended == "range" and self.best_step >= len(self.rates) - 1 - self.half_width:
            return "the smoothed loss still falls at the greatest rates. Try a greater to= or more steps="
        return ""

    def _falls_clearly(self) -> bool:
        """Returns whether the smoothed loss falls further than noise would explain."""
        before = np.asarray(self.losses[: self.best_step + 1], float)
        first, best = float(np.mean(before[: len(before) // 2])), float(self.smooth_losses[self.best_step])
        # differences of neighbours show the noise and hardly the fall; 0.6745 makes a median a deviation
        deviation = float(np.median(np.abs(np.diff(before)))) / 0.6745 / math.sqrt(2)
        by_chance = deviation * math.sqrt((1 - self.smoothing) / (1 + self.smoothing))
        return first - best > max(CLEAR * by_chance, MIN_FALL * abs(first))

    @property
    def top(self) -> float:
        """The greatest smoothed loss that a chart should show: the rise at the end may be a thousand times higher."""
        until_best = self.smooth_losses[: self.best_step + 1]
        highest, lowest = float(until_best.max()), float(until_best.min())
        return highest + 0.3 * ((highest - lowest) or abs(highest) or 1.0)


def short_rate(rate: float) -> str:
    """Returns a rate with two digits, as a person types it: `3.2e-3`."""
    digits, _, exponent = f"{rate:.1e}".partition("e")
    return f"{digits.removesuffix('.0')}e{int(exponent)}"
