"""The state of a run: every variable that a resumed run must restore."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfrun.errors import CheckpointError
from tfrun.files.checkpoints import Checkpoint


class State:
    """A run's variables by slot.

    A slot is a role and a number, since automatic names differ between processes.

    Args:
        variables: role → variables (Keras' or TensorFlow's), in an order that is the same in every process.
    """

    def __init__(self, variables: Mapping[str, list[Any]]):
        self._variables = {f"{role}/{k:04d}": v for role, items in variables.items() for k, v in enumerate(items)}

    @property
    def slots(self) -> dict[str, Any]:
        """The variables by their slots."""
        return self._variables

    @property
    def variables(self) -> list[Any]:
        """All variables, in the order of their slots."""
        return list(self._variables.values())

    def describe(self) -> dict[str, dict[str, Any]]:
        """Returns each slot's path, shape and dtype, for the manifest of a checkpoint."""
        return {
            slot: {"path": getattr(v, "path", v.name), "shape": list(v.shape), "dtype": str(_tensor(v).dtype.name)}
            for slot, v in self._variables.items()
        }

    def read(self) -> dict[str, np.ndarray]:
        """Returns every value, which later steps don't change; the host waits for the device here.

        On a CPU nothing is copied: a variable that is assigned to while a value of it is held gets memory of its own.
        """
        return {slot: value_of(variable) for slot, variable in self._variables.items()}

    def write(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Assigns values to the variables of the given slots."""
        for slot, variable in self._variables.items():
            if slot in arrays:
                variable.assign(arrays[slot])

    def restore(self, checkpoint: Checkpoint, optional: Sequence[str] = ()) -> None:
        """Assigns a checkpoint's values, all or none.

        Args:
            checkpoint: what was saved, and is whole.
            optional: roles that may be missing on either side; their variables then keep their values.

        Raises:
            CheckpointError: a slot is missing, left over, or of another shape or type.
        """
        slots, saved = self.describe(), checkpoint.slots
        for slot in sorted(slots.keys() | saved.keys()):
            if slot.partition("/")[0] in optional and (slot in slots) != (slot in saved):
                continue
            expected = slots.get(slot)
            received = saved.get(slot)
            if not expected or not received or any(expected[key] != received[key] for key in ("shape", "dtype")):
                raise CheckpointError(
                    f"{checkpoint.path}: {slot} doesn't fit this model and optimizer. "
                    f"Received: {received or 'nothing'}. Expected: {expected or 'nothing'}"
                )
        self.write(checkpoint.arrays)


def value_of(variable: Any) -> np.ndarray:
    """Returns a variable's value, which later steps don't change; the host waits for the device here."""
    return _held(tf.convert_to_tensor(_tensor(variable)))


def _tensor(variable: Any) -> Any:
    return variable.value if isinstance(variable, keras.Variable) else variable


def _held(value: tf.Tensor) -> np.ndarray:
    """Returns a tensor as a read-only array over the same memory; a copy from another device, or of bfloat16."""
    if value.dtype == tf.bfloat16 or "CPU" not in value.device:
        return value.numpy()
    return np.asarray(memoryview(value))
