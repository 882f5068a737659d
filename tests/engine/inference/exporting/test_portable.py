"""A model of raw rows."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfrun.config.column_kinds import NumberKind
from tfrun.data.kinds import RawColumn, fit_column
from tfrun.data.preprocessing import Preprocessing
from tfrun.data.targets import FittedTarget
from tfrun.engine.inference.exporting.portable import inputs_of, portable, tensor_names_of

AGES = np.array([10.0, 30.0, 50.0])  # their standard deviation is 16.3299


def test_raw_numbers_become_numbers_in_the_unit_of_the_target() -> None:
    """A model that doubles its standardized input, for a target of mean 200 and standard deviation 50."""
    column = fit_column(RawColumn("concatenate", AGES, np.arange(3), "ages.csv"), NumberKind())
    fitted = Preprocessing(columns=(column,), targets={"output": FittedTarget("regression", [], 200.0, 50.0)})
    numbers = keras.Input((1,))
    model: Any = portable(keras.Model({"numbers": numbers}, 2.0 * numbers), fitted)
    assert inputs_of(fitted) == {"concatenate": "float32 (batch, 1), nan for empty"}
    assert tensor_names_of(model) == {"concatenate": "concatenate"}
    y = model({"concatenate": tf.constant([[30.0], [50.0], [np.nan]])})
    np.testing.assert_allclose(y, [[200.0], [200.0 + 2.0 * 50.0 * 20.0 / 16.32993], [200.0]], rtol=1e-5)
