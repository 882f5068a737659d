"""What the host gets of a block."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tfrun.engine.training.block_result import BlockResult, joined


def test_a_result_names_the_values_of_its_epochs() -> None:
    empty = np.zeros((0, 2))
    result = BlockResult(
        losses=np.array([4.0, 3.0]),
        norms=np.zeros(2),
        learning_rates=np.zeros((2, 1)),
        train=np.array([[1.0, 2.0], [0.5, 1.5]]),
        val=np.array([[3.0, 4.0], [2.5, 3.5]]),
        improved=np.array([True, False]),
        finite=True,
        stopped=False,
        has_val=True,
        names=["loss", "mae"],
    )
    assert result.by_split(1) == {"train": {"loss": 0.5, "mae": 1.5}, "val": {"loss": 2.5, "mae": 3.5}}
    assert result.newest_values() == {"train/loss": 0.5, "train/mae": 1.5, "val/loss": 2.5, "val/mae": 3.5}
    assert replace(result, has_val=False).values(0) == {"train/loss": 1.0, "train/mae": 2.0}
    inside = replace(result, train=empty, val=empty)
    assert inside.newest_values() == {"train/loss": 3.0}
    assert replace(inside, losses=np.zeros(0)).newest_values() == {}


def test_blocks_that_follow_each_other_are_joined() -> None:
    def block(first: float, num_steps: int, num_epochs: int, stopped: bool) -> BlockResult:
        steps, epochs = first + np.arange(num_steps), np.full((num_epochs, 1), first)
        rates = np.ones((num_steps, 1))
        return BlockResult(steps, -steps, rates, epochs, -epochs, epochs[:, 0] > 1, True, stopped, has_val=True)

    result = joined([block(1.0, 2, 1, False), block(3.0, 3, 0, False), block(6.0, 1, 1, True)])
    assert result.losses.tolist() == [1, 2, 3, 4, 5, 6] and result.norms.tolist() == [-1, -2, -3, -4, -5, -6]
    assert result.learning_rates.shape == (6, 1)
    assert (result.train.tolist(), result.val.tolist()) == ([[1], [6]], [[-1], [-6]])
    assert result.improved.tolist() == [False, True] and result.stopped
