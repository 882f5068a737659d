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


def test_batches_are_cut_from_permutations_laid_end_to_end() -> None:
    order = Order(ROWS, batch_size=4, seed=0)
    rows = order.block(0, 5)  # 20 rows
    assert sorted(rows[:10].tolist()) == sorted(rows[10:].tolist()) == ROWS.tolist()
    assert order.block(2, 1).tolist() == rows[8:12].tolist()  # of both permutations


@pytest.mark.parametrize(
    ("num_rows", "batch_size", "steps"),
    [(64, 32, 2), (60, 32, 2), (48, 32, 2), (47, 32, 1), (33, 32, 1), (20, 32, 1), (354, 32, 11), (16512, 32, 516)],
)
def test_an_epoch_is_the_number_of_batches_nearest_to_all_rows(num_rows: int, batch_size: int, steps: int) -> None:
    assert Order(np.arange(num_rows), batch_size, seed=1).steps_per_epoch == steps


def test_every_row_is_seen_equally_often() -> None:
    rows = Order(np.arange(60), 32, seed=2).block(0, 30)  # 960 rows, 16 for each
    assert np.bincount(rows).tolist() == [16] * 60


def test_an_earlier_run_leaves_rows_that_fill_no_batch_out_of_the_epoch() -> None:
    order = Order(ROWS, batch_size=4, seed=0, leaves_rows_out=True)
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
    assert order.steps_per_epoch == 3
    assert order.block(1, 6).tolist() == epoch(order, 0)[4:] + epoch(order, 1) + epoch(order, 2)[:4]
    assert order.block(1, 6).dtype == np.int32


@pytest.mark.parametrize("sizes", [[1] * 15, [15], [4, 1, 7, 3], [2, 13]])
def test_any_split_into_blocks_gives_the_same_rows(sizes: list[int]) -> None:
    order = Order(ROWS, batch_size=3, seed=11)
    whole = [row for number in range(5) for row in epoch(order, number)]
    starts = np.cumsum([0, *sizes])[:-1].tolist()
    pieces = [order.block(start, size) for start, size in zip(starts, sizes, strict=True)]
    assert np.concatenate(pieces).tolist() == whole


def test_the_rows_of_a_far_step_need_no_earlier_steps() -> None:
    assert sorted(Order(ROWS, 10, seed=5).block(10**9, 1).tolist()) == ROWS.tolist()


def test_a_long_permutation_that_a_thread_makes_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = Order(ROWS, batch_size=4, seed=0).block(0, 15).tolist()  # of six permutations
    monkeypatch.setattr("tfrun.engine.training.order.MIN_ROWS_AHEAD", len(ROWS))
    ahead = Order(ROWS, batch_size=4, seed=0)
    assert ahead.block(0, 15).tolist() == expected
    assert [ahead.block(step, 1).tolist() for step in (14, 0, 2)] == [expected[56:], expected[:4], expected[8:12]]
