"""The curve of a range test: smoothing, end and suggestions, with numbers worked out by hand or by NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tfrun.reports.range_curve import Growth, RangeCurve, short_rate, smoothed

RATES = np.logspace(-6, 0, 121)  # 20 steps for each power of ten


def curve_of(losses: Any, ended: Any = "range", smoothing: float = 0.5) -> RangeCurve:
    return RangeCurve(RATES[: len(losses)].tolist(), list(map(float, losses)), ended, smoothing, 1.0)


def valley(center: float = -2.0) -> np.ndarray:
    """A loss of 2 that falls from a tenth of 10^center on, is 1 there, and then grows."""
    x = np.log10(RATES)
    return np.where(x < center, 2 - np.clip(x - center + 1, 0, 1), 1 + 4 * (x - center))


def test_the_average_is_that_of_the_weights() -> None:
    values = [4.0, 2.0, 1.0]
    assert smoothed(values, 0.5).tolist() == pytest.approx([4, (2 + 2) / 1.5, (1 + 1 + 1) / 1.75])
    many = np.random.default_rng(0).normal(size=50)
    weights = [0.9 ** np.arange(k, -1, -1) for k in range(50)]
    expected = [np.average(many[: k + 1], weights=weights[k]) for k in range(50)]
    np.testing.assert_allclose(smoothed(many, 0.9), expected)
    assert smoothed(values, 0.0).tolist() == values


def test_smoothing_does_not_move_a_line() -> None:
    """Of a loss that falls evenly over the logarithm of the rate, each smoothed point is on the same line."""
    curve = curve_of(5 - np.log10(RATES), smoothing=0.9)
    np.testing.assert_allclose(curve.smooth_losses, 5 - curve.log_rates)


@pytest.mark.parametrize(
    ("losses", "step"),
    [
        ([2, 1, 3.9, 4.1], 3),  # more than 4 · 1
        ([2, 1, 4, 4], None),
        ([-1, -2, 3.9, 4.1], 3),  # −2 + 3 · 2
        ([1, -0.5, 3.9, 4.1], 3),  # −0.5 + 3 · 1.5
        ([0, 0, 0.1], 2),
    ],
)
def test_the_loss_has_grown(losses: list[float], step: int | None) -> None:
    growth = Growth(0.0)
    assert next((k for k, loss in enumerate(losses) if growth.add(loss)), None) == step


def test_the_growth_is_that_of_the_smoothed_loss() -> None:
    growth = Growth(0.5)
    assert [growth.add(loss) for loss in (1, 6)] == [False, True]  # (0.5 + 6) / 1.5 = 4.33
    growth = Growth(0.5)
    assert [growth.add(loss) for loss in (1, 5)] == [False, False]  # 3.67


def test_a_tenth_of_the_lowest_and_the_steepest() -> None:
    curve = curve_of(valley(), "grew", smoothing=0.0)
    assert curve.why_none() == ""
    assert curve.best_rate == pytest.approx(1e-2) and curve.suggestion == pytest.approx(1e-3)
    assert 1e-3 <= curve.steepest <= 1e-2  # where alone it falls
    smooth = curve_of(valley(), "grew", smoothing=0.8)
    assert smooth.suggestion == pytest.approx(1e-3, rel=0.5) and 1e-3 <= smooth.steepest <= 1e-2


def test_noise_alone_is_no_fall() -> None:
    """The least of a hundred noisy values seems clearly lower than the others in a few tests of a hundred only."""
    noise = [np.random.default_rng(seed).normal(2, 0.3, size=121) for seed in range(100)]
    why = [curve_of(losses, smoothing=0.9).why_none() for losses in noise]
    assert sum(not text for text in why) <= 5
    assert all("never falls clearly" in text for text in why if text)


def test_a_fall_in_noise() -> None:
    """The losses fall by a half, three times their deviation: most tests of such losses suggest a rate."""
    suggestions = []
    for seed in range(30):
        noise = np.random.default_rng(seed).normal(0, 0.33, size=121)
        curve = curve_of(valley() + noise, "grew", smoothing=0.9)
        if not curve.why_none():
            suggestions.append(curve.suggestion)
    assert len(suggestions) >= 25 and min(suggestions) > 1e-4 and max(suggestions) < 1e-2


@pytest.mark.parametrize(
    ("losses", "ended", "why"),
    [
        (np.linspace(2, 3, 121), "range", "never falls clearly"),
        (np.linspace(2, 9, 121), "grew", "grows before it has clearly fallen"),
        ([2.0, 2.1], "undefined", "grows before it has clearly fallen"),
        (np.linspace(2, 1, 121), "range", "still falls at the greatest rates. Try a greater to= or more steps="),
        (np.full(121, 2.0), "range", "never falls clearly"),
        ([], "undefined", "the first loss is not finite"),
    ],
)
def test_no_suggestion(losses: Any, ended: str, why: str) -> None:
    assert why in curve_of(losses, ended).why_none()


def test_a_fall_that_ends_undefined_suggests_a_rate() -> None:
    curve = curve_of(np.linspace(2, 1, 100), "undefined")
    assert curve.why_none() == "" and curve.suggestion == pytest.approx(curve.best_rate / 10)


def test_the_top_of_a_chart_leaves_out_the_rise() -> None:
    curve = curve_of([2.0] * 20 + [1.0, 1e30], "grew", smoothing=0.0)
    assert curve.top == pytest.approx(2 + 0.3)


@pytest.mark.parametrize(("rate", "text"), [(0.0032, "3.2e-3"), (1e-4, "1e-4"), (9.96e-3, "1e-2"), (12.0, "1.2e1")])
def test_a_rate_as_it_is_typed(rate: float, text: str) -> None:
    assert short_rate(rate) == text and float(text) == pytest.approx(rate, rel=0.05)
