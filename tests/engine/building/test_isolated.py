"""Code of the engine beside other code that uses Keras."""

from __future__ import annotations

import random

import keras
import numpy as np
import pytest

from tfrun.engine.building.isolated import isolated


def test_keras_stays_as_other_code_has_set_it() -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        first = keras.layers.Dense(1).name
        random.seed(1)
        np.random.seed(2)
        drawn = random.random(), float(np.random.random())
        random.seed(1)
        np.random.seed(2)

        def build() -> tuple[str, str, str]:
            random.random()
            np.random.random()
            layer = keras.layers.Dense(1)
            return layer.name, layer.compute_dtype, keras.config.floatx()

        # names begin as in a process of its own, and the precision is the run's
        assert isolated(build, precision="float64") == ("dense", "float64", "float64")
        assert keras.config.dtype_policy().name == "mixed_bfloat16" and keras.config.floatx() == "float32"
        assert (random.random(), float(np.random.random())) == drawn
        prefix, _, number = first.rpartition("_")
        following = f"{prefix}_{int(number) + 1}" if prefix else "dense_1"
        assert keras.layers.Dense(1).name == following  # names count on
    finally:
        keras.config.set_dtype_policy("float32")


def test_an_error_is_raised_and_leaves_nothing() -> None:
    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        isolated(fail, precision="float64")
    assert keras.config.floatx() == "float32"
