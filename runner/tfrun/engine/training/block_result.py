"""The result of a block as the host gets it: NumPy arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np


@dataclass(frozen=True)
class BlockResult:
    """The result of a block, as NumPy arrays.

    Attributes:
        losses, norms: the loss and the gradients' global norm of each step, (steps,) float32.
        learning_rates: (steps, num_active_groups) float32.
        train, val: the values at the end of each epoch that ended in the block, (epochs, num_values).
        improved: whether that epoch is the best so far, (epochs,) bool.
        finite: False if the step after the last one failed: its loss, its gradient, a learning rate or what its update
            would make of the state is not finite.
        stopped: whether early stopping's patience is over.
        has_val: whether there is a validation split.
        names: of an epoch's values, the loss first.
        cause: why the step failed, as a message; empty if its loss or its gradient is not finite.
        is_rate: whether a learning rate is the cause, which smaller learning rates don't mend.
        compiled: whether the block was compiled for this call, as that of a new stage is.
    """

    losses: np.ndarray
    norms: np.ndarray
    learning_rates: np.ndarray
    train: np.ndarray
    val: np.ndarray
    improved: np.ndarray
    finite: bool
    stopped: bool
    has_val: bool
    names: Sequence[str] = ("loss",)
    cause: str = ""
    is_rate: bool = False
    compiled: bool = False

    def by_split(self, k: int) -> dict[str, dict[str, float]]:
        """Returns the values of the block's k-th ended epoch, by split and name."""
        splits = {"train": dict(zip(self.names, self.train[k].tolist(), strict=True))}
        if self.has_val:
            splits["val"] = dict(zip(self.names, self.val[k].tolist(), strict=True))
        return splits

    def values(self, k: int) -> dict[str, float]:
        """Returns the values of the block's k-th ended epoch, by full name: `val/loss`."""
        return {
            f"{split}/{name}": value for split, values in self.by_split(k).items() for name, value in values.items()
        }

    def newest_values(self) -> dict[str, float]:
        """Returns the newest values that a person who watches wants to see, by full name."""
        if len(self.train):
            return self.values(len(self.train) - 1)
        return {"train/loss": float(self.losses[-1])} if len(self.losses) else {}


def joined(results: list[BlockResult]) -> BlockResult:
    """Returns the result of blocks that follow each other as that of one block."""
    if len(results) == 1:
        return results[0]
    names = ("losses", "norms", "learning_rates", "train", "val", "improved")
    arrays: dict[str, Any] = {name: np.concatenate([getattr(result, name) for result in results]) for name in names}
    return replace(results[-1], **arrays, compiled=any(result.compiled for result in results))
