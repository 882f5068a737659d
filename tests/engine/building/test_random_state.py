from __future__ import annotations

import random

import keras
import numpy as np

from tfrun.engine.building import random_state


def test_what_is_drawn_inside_changes_nothing() -> None:
    generator = keras.random.SeedGenerator(3)

    def states() -> tuple[str, str, str]:
        return str(random.getstate()), str(np.random.get_state(legacy=True)), str(generator.state.numpy())

    before = states()
    with random_state.kept():
        random.random()
        np.random.normal()
        keras.random.normal([2], seed=generator)
    assert states() == before
