"""Keeps random states while a component is only tried, so that a run draws the same numbers as without the trial."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import keras
import numpy as np


@contextlib.contextmanager
def kept(scope: keras.StatelessScope | None = None) -> Iterator[None]:
    """Leaves the states of `random`, of NumPy and of Keras' variables as they are, its seed generators among them.

    TensorFlow's own random operations draw from a state of the process, except in a graph: try components in one.

    Args:
        scope: has the variables' values meanwhile; None is a new one.
    """
    with generators_kept(), scope or keras.StatelessScope():
        yield


@contextlib.contextmanager
def generators_kept() -> Iterator[None]:
    """Leaves the states of `random` and of NumPy as they are."""
    before = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
