"""How many decimals a target has, and its predictions get."""

from __future__ import annotations

import numpy as np
import pytest

from tfrun.data.decimals import decimals_of, predicted_decimals


@pytest.mark.parametrize(
    ("numbers", "decimals"),
    [
        ([1.0, 250.0, -3.0], 0),
        ([0.1, 12.0], 1),
        ([12.99, 0.07, 1234567.89], 2),
        ([1e-9], 9),
        ([1 / 3, 1.0], None),
        ([2**60 + 0.0], 0),
        ([], 0),
    ],
)
def test_numbers_have_as_many_decimals_as_a_person_writes(numbers: list[float], decimals: int | None) -> None:
    assert decimals_of(np.array(numbers)) == decimals
    # a float32 of 12.99 is 12.989999771…
    if decimals is not None and decimals < 3:
        assert decimals_of(np.array(numbers[:2], np.float32).astype("float64")) == decimals_of(np.array(numbers[:2]))


def test_predictions_have_one_decimal_more() -> None:
    weights = np.array([3750.0, 3800.0, 3250.0, 5700.0])  # a deviation of 939: a thousandth is 0.9
    assert predicted_decimals(weights) == 1
    prices = np.array([12.99, 250.0, 99.5])  # of 98: 0.098
    assert predicted_decimals(prices) == 3


def test_predictions_are_not_rounded_to_more_than_a_thousandth_of_the_deviation() -> None:
    # one of a hundred: a deviation of 0.0995, of which a thousandth is 0.0000995
    assert predicted_decimals(np.array([0.0] * 99 + [1.0])) == 5
    # grades from 1 to 5: a deviation of 1.41, of which a thousandth is 0.00141
    assert predicted_decimals(np.arange(1.0, 6.0)) == 3


def test_predictions_have_no_digits_that_float32_has_not() -> None:
    # a deviation of 0.29, of which a millionth is 0.00000029
    measured = np.random.default_rng(0).uniform(size=1000)
    assert predicted_decimals(measured) == 7
    assert predicted_decimals(measured * 1e9) == 0  # 0.29e9: a millionth is 290
    assert predicted_decimals(measured * 1e-30) is None  # 37 decimals; all digits are shorter


def test_a_target_without_a_deviation_has_its_own_decimals() -> None:
    assert predicted_decimals(np.full(3, 2.5)) == 2
    assert predicted_decimals(np.full(3, 1 / 3)) is None
