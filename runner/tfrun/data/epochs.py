"""How many batches an epoch has."""

from __future__ import annotations


def steps_per_epoch(num_rows: int, batch_size: int) -> int:
    """Returns the number of batches that comes nearest to all training rows, at least 1; half a batch counts as one.

    Args:
        num_rows: of the training rows.
        batch_size: rows of a batch; if there aren't as many, all rows are one batch.
    """
    batch_size = min(batch_size, num_rows)
    whole_batches, num_left = divmod(num_rows, batch_size)
    return whole_batches + (2 * num_left >= batch_size)
