"""Calls code of the engine in a process whose Keras is also used by other code, in a notebook for example."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import keras

from tfrun.engine.building import devices, random_state

T = TypeVar("T")


def isolated(function: Callable[[], T], *, precision: str) -> T:
    """Returns what a function returns, and leaves Keras as the rest of the process has set it.

    The function runs in a thread of its own: there, Keras numbers automatic names from the start, and has a dtype
    policy and a seed generator of its own. The process has `floatx`, and the generators of `random` and of NumPy, which
    are restored. TensorFlow takes the memory of GPUs as it needs it, unless it has started: runs need some too.

    Args:
        function: may build models and call them. It must not choose devices, nor clear Keras' session.
        precision: as `trainer.precision` calls it.
    """
    devices.take_memory_as_needed()
    floatx = keras.config.floatx()

    def call() -> T:
        devices.set_precision(precision)
        return function()

    try:
        with random_state.generators_kept(), ThreadPoolExecutor(1, "tfrun") as executor:
            return executor.submit(call).result()
    finally:
        keras.config.set_floatx(floatx)
