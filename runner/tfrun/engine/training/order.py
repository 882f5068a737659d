"""The order of the training rows: which rows a step sees follows from (seed, epoch, step) alone.

So a run's position is its step number, and a resumed run sees the same batches as an uninterrupted one.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np


class Order:
    """The shuffled order of the training rows.

    Each epoch is a new permutation, cut into whole batches; the few rows that don't fill a batch sit that epoch out.

    Args:
        rows: the numbers of the training rows.
        batch_size: how many rows a batch should have.
        seed: decides the permutations.

    Attributes:
        rows: the numbers of the training rows, int32.
        batch_size: rows of a batch; fewer than asked for if there aren't as many training rows.
        steps_per_epoch: whole batches in an epoch.
    """

    def __init__(self, rows: np.ndarray, batch_size: int, *, seed: int):
        self.rows = rows.astype(np.int32)
        self.batch_size = min(batch_size, len(rows))
        self.steps_per_epoch = len(rows) // self.batch_size
        self._seed = seed
        # a block may cross the end of an epoch, so that two permutations are in use
        self._epoch = lru_cache(maxsize=2)(self._shuffled)

    def _shuffled(self, epoch: int) -> np.ndarray:
        generator = np.random.Generator(np.random.Philox(key=[self._seed, epoch]))
        return generator.permutation(self.rows)[: self.steps_per_epoch * self.batch_size]

    def block(self, first_step: int, num_steps: int) -> np.ndarray:
        """Returns the rows of the steps from `first_step` on, across epochs: (num_steps * batch_size,) int32."""
        epoch, step = divmod(first_step, self.steps_per_epoch)
        parts = []
        steps_left = num_steps
        while steps_left > 0:
            steps = min(steps_left, self.steps_per_epoch - step)
            parts.append(self._epoch(epoch)[step * self.batch_size : (step + steps) * self.batch_size])
            steps_left -= steps
            epoch += 1
            step = 0
        return np.concatenate(parts)
