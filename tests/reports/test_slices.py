"""The error on parts of the rows, compared with values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tfrun.reports.slices import worst_slices


def test_a_category_on_which_the_error_is_larger() -> None:
    """Of 5 + 15 rows with errors 3 and 1 the mean is 1.5, and σ² is (5 · 2.25 + 15 · 0.25) / 20 = 0.75."""
    town = np.array(["Ulm"] * 5 + ["Bonn"] * 15, dtype=object)
    sizes = np.array([3.0] * 5 + [1.0] * 15)
    (found,) = worst_slices({"town": town}, sizes, most=9)
    assert (found.column, found.value, found.count, found.error) == ("town", "Ulm", 5, 3.0)
    assert found.excess == pytest.approx((3 - 1.5) / (0.75 / 5) ** 0.5)


def test_quarters_of_a_number_and_its_empty_cells() -> None:
    cells = np.append(np.arange(1.0, 41.0), [np.nan] * 8)
    sizes = np.where(np.isnan(cells), 4.0, np.where(cells > 30, 3.0, 1.0))
    first, second = worst_slices({"x": cells}, sizes, most=9)
    # the quartiles of 1 to 40 are 10.75, 20.5 and 30.25
    assert (first.value, first.count, first.error) == ("(empty)", 8, 4.0)
    assert (second.value, second.count, second.error) == ("> 30.25", 10, 3.0)


def test_numbers_of_few_values_are_slices_by_value() -> None:
    cells = np.array([1.0, 2.0] * 10)
    (found,) = worst_slices({"rooms": cells}, np.array([0.0, 1.0] * 10), most=9)
    assert (found.value, found.count, found.error) == ("2", 10, 1.0)


def test_most_of_the_worst() -> None:
    columns = {name: np.array(["a", "b"] * 10, dtype=object) for name in "xyz"}
    assert len(worst_slices(columns, np.array([0.0, 1.0] * 10), most=2)) == 2


@pytest.mark.parametrize(
    ("cells", "sizes"),
    [
        (["a"] * 4 + ["b"] * 16, [9.0] * 4 + [1.0] * 16),  # too few rows to say anything
        (["a"] * 20, [1.0, 2.0] * 10),  # a slice that is everything
        (["a", "b"] * 10, [1.0] * 20),  # no row is worse than another
        (["a", "b"], [np.nan, np.inf]),
        ([], []),
    ],
)
def test_nothing_to_say(cells: list[str], sizes: list[float]) -> None:
    assert worst_slices({"x": np.array(cells, dtype=object)}, np.array(sizes), most=9) == []


def test_rows_without_a_finite_error_are_left_out() -> None:
    town = np.array(["Ulm"] * 6 + ["Bonn"] * 15, dtype=object)
    sizes = np.array([np.inf] + [3.0] * 5 + [1.0] * 15)
    (found,) = worst_slices({"town": town}, sizes, most=9)
    assert (found.count, found.error) == (5, 3.0)
