"""Which rows each step sees."""

from __future__ import annotations

import numpy as np
import pytest

from tfrun.engine.training.order import Order

ROWS = np.array([3, 5, 8, 13, 21, 34, 55, 89, 144, 233])


def epoch(order: Order, number: int) -> list[int]:
    return order.block(number * order.steps_per_epoch, order.steps_per_epoch).tolist()


def test_an_epoch_is_a_permutation_of_the_rows() -> None:
    order = Order(ROWS, batch_size=5, seed=7)
    assert (order.batch_size, order.steps_per_epoch) == (5, 2)
    for number in range(20):
        assert sorted(epoch(order, number)) == ROWS.tolist()


def test_the_order_depends_only_on_seed_and_epoch() -> None:
    first, again = Order(ROWS, 5, seed=7), Order(ROWS, 5, seed=7)
    # in another sequence, as a resumed run asks for them
    assert [epoch(again, number) for number in (9, 0, 4)] == [epoch(first, number) for number in (9, 0, 4)]
    assert len({tuple(epoch(first, number)) for number in range(20)}) == 20
    assert len({tuple(epoch(Order(ROWS, 5, seed=seed), 0)) for seed in (0, 1, 7, 2**32 - 1)}) == 4


def test_the_next_seed_is_not_the_next_epoch() -> None:
    assert epoch(Order(ROWS, 5, seed=1), 0) != epoch(Order(ROWS, 5, seed=0), 1)


def test_rows_that_fill_no_batch_are_left_out_of_the_epoch() -> None:
    order = Order(ROWS, batch_size=4, seed=0)
    assert order.steps_per_epoch == 2
    out = [set(ROWS.tolist()) - set(epoch(order, number)) for number in range(50)]
    assert {len(rows) for rows in out} == {2}
    assert set().union(*out) == set(ROWS.tolist())  # not the same rows each time


def test_a_batch_has_at_most_all_rows() -> None:
    order = Order(ROWS[:3], batch_size=32, seed=0)
    assert (order.batch_size, order.steps_per_epoch) == (3, 1)
    assert sorted(order.block(0, 1).tolist()) == [3, 5, 8]


def test_a_block_spans_the_ends_of_epochs() -> None:
    order = Order(ROWS, batch_size=4, seed=3)
    assert order.block(1, 4).tolist() == epoch(order, 0)[4:] + epoch(order, 1) + epoch(order, 2)[:4]
    assert order.block(1, 4).dtype == np.int32


@pytest.mark.parametrize("sizes", [[1] * 15, [15], [4, 1, 7, 3], [2, 13]])
def test_any_split_into_blocks_gives_the_same_rows(sizes: list[int]) -> None:
    order = Order(ROWS, batch_size=3, seed=11)
    whole = [row for number in range(5) for row in epoch(order, number)]
    starts = np.cumsum([0, *sizes])[:-1].tolist()
    pieces = [order.block(start, size) for start, size in zip(starts, sizes, strict=True)]
    assert np.concatenate(pieces).tolist() == whole


def test_the_rows_of_a_far_step_need_no_earlier_steps() -> None:
    assert sorted(Order(ROWS, 10, seed=5).block(10**9, 1).tolist()) == ROWS.tolist()
