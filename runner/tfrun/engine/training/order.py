"""Which examples a step sees: a function of (seed, epoch, step) and of nothing else.

So a run's position is its step number, and a resumed run sees the batches that it would have seen.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np


class Order:
    """The shuffled order of the training rows.

    Each epoch is a new permutation, cut into whole batches; the few rows that don't fill a batch sit that epoch out.

    Attributes:
        batch_size: examples in a step; all of them where there are fewer rows than asked for.
        steps_per_epoch: whole batches in an epoch.
    """

    def __init__(self, rows: np.ndarray, batch_size: int, seed: int):
        self.rows = rows.astype(np.int32)
        self.batch_size = min(batch_size, len(rows))
        self.steps_per_epoch = len(rows) // self.batch_size
        self._seed = seed
        self._epoch = lru_cache(maxsize=2)(self._shuffled)

    def _shuffled(self, epoch: int) -> np.ndarray:
        generator = np.random.Generator(np.random.Philox(key=[self._seed, epoch]))
        return generator.permutation(self.rows)[: self.steps_per_epoch * self.batch_size]

    def block(self, first_step: int, num_steps: int) -> np.ndarray:
        """Returns the rows of steps from `first_step` on, over epochs' ends: (num_steps * batch_size,) int32."""
        epoch, step = divmod(first_step, self.steps_per_epoch)
        parts, missing = [], num_steps
        while missing > 0:
            taken = min(missing, self.steps_per_epoch - step)
            parts.append(self._epoch(epoch)[step * self.batch_size : (step + taken) * self.batch_size])
            missing -= taken
            epoch, step = epoch + 1, 0
        return np.concatenate(parts)
