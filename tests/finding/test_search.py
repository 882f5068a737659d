"""Which sizes are tried, with a memory that is made up."""

from __future__ import annotations

import math

import pytest

from tfrun.finding.search import largest


class Memory:
    """Has room for sizes up to a limit, and remembers what was tried."""

    def __init__(self, limit: int):
        self.limit = limit
        self.tried: list[int] = []

    def fits(self, size: int) -> bool:
        self.tried.append(size)
        return size <= self.limit


def search(limit: int, first: int = 32, *, most: float = math.inf, unit: int = 8, smallest: int = 1) -> tuple:
    memory = Memory(limit)
    return largest(memory.fits, first, unit=unit, smallest=smallest, most=lambda: most), memory.tried


def test_sizes_are_doubled_and_then_halved_between() -> None:
    assert search(300) == (288, [32, 64, 128, 256, 512, 384, 320, 288])  # 320 − 288 is less than an eighth
    assert search(256) == (256, [32, 64, 128, 256, 512, 384, 320, 288])


def test_all_rows_are_one_batch() -> None:
    assert search(10**9, most=353) == (353, [32, 64, 128, 256, 353])
    assert search(10**9, first=353, most=353) == (353, [353])


def test_smaller_sizes_if_the_first_does_not_fit() -> None:
    assert search(20) == (20 // 8 * 8, [32, 16, 24])
    assert search(3) == (2, [32, 16, 8, 4, 2])
    assert search(0) == (None, [32, 16, 8, 4, 2, 1])


def test_sizes_are_multiples() -> None:
    found, tried = search(100, first=12, unit=24, smallest=6)
    assert found == 96 and all(size % 6 == 0 for size in tried)
    assert search(0, first=12, unit=24, smallest=6) == (None, [12, 6])


def test_the_number_of_rows_may_be_known_later() -> None:
    memory = Memory(10**9)
    assert largest(memory.fits, 32, unit=8, smallest=1, most=lambda: 100 if memory.tried else math.inf) == 100
    assert memory.tried == [32, 64, 100]


@pytest.mark.parametrize("limit", [8, 9, 100, 1000, 5000])
def test_the_result_fits_and_an_eighth_more_does_not(limit: int) -> None:
    found, _ = search(limit)
    assert found is not None and found <= limit < found + max(8, found // 8)
