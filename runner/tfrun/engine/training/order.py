"""The order of the training rows: which rows a step sees follows from the seed and the step's number alone.

So a run's position is its step number, and a resumed run sees the same batches as an uninterrupted one.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache

import numpy as np

from tfrun.data.epochs import steps_per_epoch

MIN_ROWS_AHEAD = 2**17  # of a permutation that a thread makes in advance; fewer rows take less than 2 ms


class Order:
    """The shuffled order of the training rows.

    The rows are shuffled again and again, and the batches are cut from these permutations, laid end to end. So a batch
    may have the last rows of one permutation and the first of the next, all batches have the same size, and every row
    is seen equally often. An epoch is the number of batches that comes nearest to one permutation.

    Args:
        rows: the numbers of the training rows, (R,).
        batch_size: how many rows a batch should have.
        seed: decides the permutations.
        leaves_rows_out: whether an epoch is the whole batches of a permutation of its own, and the rows that fill no
            batch are left out of it, as in earlier versions.

    Attributes:
        rows: the numbers of the training rows, int32.
        batch_size: rows of a batch; fewer than asked for if there aren't as many training rows.
        steps_per_epoch: batches in an epoch.
    """

    def __init__(self, rows: np.ndarray, batch_size: int, *, seed: int, leaves_rows_out: bool = False):
        self.rows = rows.astype(np.int32)
        self.batch_size = min(batch_size, len(rows))
        self.steps_per_epoch = steps_per_epoch(len(rows), self.batch_size)
        self._rows_used = len(rows)  # of a permutation
        if leaves_rows_out:
            self.steps_per_epoch = len(rows) // self.batch_size
            self._rows_used = self.steps_per_epoch * self.batch_size
        self._seed = seed
        self._shuffler = ThreadPoolExecutor(1, "shuffler") if self._rows_used >= MIN_ROWS_AHEAD else None
        # a block may cross the end of a permutation, so that two are in use
        self._shuffled = lru_cache(maxsize=2)(self._shuffle)
        self._started = lru_cache(maxsize=2)(self._start)

    def _permutation(self, number: int) -> np.ndarray:
        if self._shuffler is None:
            return self._shuffled(number)
        started = self._started(number)
        self._started(number + 1)  # the thread makes it while the program trains on this one
        return started.result()

    def _start(self, number: int) -> Future[np.ndarray]:
        assert self._shuffler is not None
        return self._shuffler.submit(self._shuffle, number)

    def _shuffle(self, number: int) -> np.ndarray:
        generator = np.random.Generator(np.random.Philox(key=[self._seed, number]))
        return generator.permutation(self.rows)[: self._rows_used]

    def block(self, first_step: int, num_steps: int) -> np.ndarray:
        """Returns the rows of the steps from `first_step` on, across epochs: (num_steps * batch_size,) int32."""
        number, begin = divmod(first_step * self.batch_size, self._rows_used)
        parts = []
        num_left = num_steps * self.batch_size
        while num_left > 0:
            part = self._permutation(number)[begin : begin + num_left]
            parts.append(part)
            num_left -= len(part)
            number += 1
            begin = 0
        return np.concatenate(parts)
