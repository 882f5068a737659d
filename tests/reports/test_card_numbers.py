"""Numbers of a card: the digits that their spread gives a meaning."""

from __future__ import annotations

import pytest

from tfrun.reports.card_numbers import mean_text, number_text, range_text, scaling_text


@pytest.mark.parametrize(
    ("value", "text"),
    [(155.36849999999998, "155.3685"), (0.1 + 0.2, "0.3"), (1985.0, "1985"), (12_345_678.9, "12,345,679"), (0.0, "0"),
     (-0.0002, "-0.0002"), (37.774929, "37.77493"), (1e300, "1e+300"), (1.25e-12, "1.25e-12")],
)  # fmt: skip
def test_a_number_has_the_digits_that_float32_holds(value: float, text: str) -> None:
    assert number_text(value) == text


def test_a_column_of_float64_has_more_digits() -> None:
    assert number_text(1_577_880_000.25, digits=15) == "1,577,880,000.25"


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (52.94, 233.21, "52.9 to 233.2"),
        (1.0000000000000002, 6.0, "1 to 6"),
        (37.774912, 37.774983, "37.774912 to 37.774983"),  # four digits would be the same at both ends
        (0.003, 1000.0, "0.003 to 1000"),
        (-1e-17, 1.0, "0 to 1"),  # rounding of float64
        (4.0, 4.0, "4 to 4"),
        (1e-14, 3e-14, "1e-14 to 3e-14"),
    ],
)
def test_the_ends_of_a_range_differ(low: float, high: float, text: str) -> None:
    assert range_text(low, high) == text


@pytest.mark.parametrize(
    ("mean", "deviation", "text"),
    [(147.5279, 63.5741, "147.53 ± 63.57"), (171_939.4, 65_248.3, "171,939 ± 65,248"), (0.5, 0.0, "0.5 ± 0"),
     (0.0, 1.0, "0.000 ± 1.000"), (1e-14, 2e-15, "1e-14 ± 2e-15")],
)  # fmt: skip
def test_a_mean_has_the_decimals_of_its_deviation(mean: float, deviation: float, text: str) -> None:
    assert mean_text(mean, deviation) == text


def test_few_digits_of_a_large_deviation_keep_those_before_the_point() -> None:
    assert mean_text(16832.16, 2650.4, digits=3) == "16,832 ± 2650"


@pytest.mark.parametrize(
    ("mean", "divisor", "text"),
    [(147.5279, 63.5741, "(x − 147.53) / 63.57"), (-3.0, 2.0, "(x + 3) / 2"), (4.0, 1.0, "x − 4"),
     (0.0, 2.5, "x / 2.5")],
)  # fmt: skip
def test_scaling_as_a_formula(mean: float, divisor: float, text: str) -> None:
    assert scaling_text(mean, divisor) == text
