"""The state of a run that several processes train, some of whose variables have a part on each replica."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from tfrun.engine.training import replicas
from tfrun.engine.training.exchange_limit import exchange_limit
from tfrun.engine.training.state import State, value_of
from tfrun.files.checkpoints import Checkpoint

ROLE = "replicas"  # of the parts, as in a run whose replicas are all in one process


class Announce(Protocol):
    """Lets the other workers, if there are any, do what this one is about to do."""

    def __call__(self, do: str, arrays: Mapping[str, np.ndarray] | None = None, **fields: Any) -> None:
        """Announces what all workers do next.

        Args:
            do: the name of one of `engine.following`'s commands.
            arrays: what it needs, by name.
            fields: what else it needs; plain values.
        """


def announce_nothing(do: str, arrays: Mapping[str, np.ndarray] | None = None, **fields: Any) -> None:
    """Announces nothing: there is no other worker, or this one follows."""


class WorkerState(State):
    """A run's variables by slot, with the parts that other processes hold. All workers read and write it together.

    Args:
        variables: as for `State`, without the parts of replicas.
        split: the variables whose replicas have parts of a value.
        strategy: the devices of all workers.
        announce: called before the state is read or written.
        limit_seconds: how long the workers may take to exchange it; None: any time.
    """

    def __init__(
        self,
        variables: Mapping[str, list[Any]],
        split: Sequence[Any],
        *,
        strategy: tf.distribute.Strategy,
        announce: Announce,
        limit_seconds: float | None = None,
    ):
        super().__init__(variables)
        self._limit_seconds = limit_seconds
        self._split = split
        self._strategy = strategy
        self._announce = announce
        self._gathered = tf.function(lambda: replicas.gathered(strategy, split), autograph=False)

    def describe(self) -> dict[str, dict[str, Any]]:
        """Returns each slot's path, shape and dtype, for the manifest of a checkpoint."""
        described = super().describe()
        for slot, variable, k in self._slots():
            part = replicas.components(self._strategy, variable)[0]
            name = part.name if k == 0 else f"{part.name.partition(':')[0]}/replica_{k}:0"
            described[slot] = {"path": name, "shape": list(part.shape), "dtype": part.dtype.name}
        return described

    def read(self) -> dict[str, np.ndarray]:
        """Returns every value; all workers call it, and each gets all values.

        All parts are gathered in one exchange, and summed here: TensorFlow would exchange once for each sum.
        """
        self._announce("read")
        with exchange_limit(self._limit_seconds):
            gathered = self._gathered() if self._split else []
            parts = {id(variable): values.numpy() for variable, values in zip(self._split, gathered, strict=True)}
        sums = {identity: np.add.reduce(values, axis=0) for identity, values in parts.items()}
        arrays = {
            slot: sums[id(variable)] if id(variable) in sums else value_of(variable)
            for slot, variable in self.slots.items()
        }
        return arrays | {slot: parts[id(variable)][k] for slot, variable, k in self._slots()}

    def write(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Assigns values to the variables of the given slots, on all workers."""
        self._announce("write", arrays)
        super().write(arrays)
        for slot, variable, k in self._slots():
            if slot in arrays:
                self._assign_part(variable, k, arrays[slot])

    def restore(self, checkpoint: Checkpoint, optional: Sequence[str] = ()) -> None:
        """Assigns a checkpoint's values, as `State` does; the parts only if as many replicas have saved them.

        Other replicas get equal parts of the sums, which the checkpoint has too.
        """
        num_saved = sum(slot.startswith(f"{ROLE}/") for slot in checkpoint.slots)
        if num_saved != len(self._slots()):
            kept = [slot for slot in checkpoint.slots if not slot.startswith(f"{ROLE}/")]
            checkpoint = replace(
                checkpoint,
                slots={slot: checkpoint.slots[slot] for slot in kept},
                arrays={slot: checkpoint.arrays[slot] for slot in kept},
            )
        super().restore(checkpoint, optional)

    def _assign_part(self, variable: Any, replica: int, value: np.ndarray) -> None:
        """Assigns a replica's part, if the replica is one of this process."""
        of_process = replicas.components(self._strategy, variable)
        first = replicas.first_of_process(self._strategy)
        if first <= replica < first + len(of_process):
            of_process[replica - first].assign(value)

    def _slots(self) -> list[tuple[str, Any, int]]:
        """Returns each slot of a part, its variable, and the number of its replica."""
        count = self._strategy.num_replicas_in_sync
        return [
            (f"{ROLE}/{place * count + k:04d}", variable, k)
            for place, variable in enumerate(self._split)
            for k in range(count)
        ]
