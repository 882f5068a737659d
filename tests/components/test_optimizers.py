from typing import Any

import keras
import numpy as np
import pytest

from tfrun.components.optimizers import keras_optimizers
from tfrun.components.optimizers.momentum import Momentum

ALL = [
    *("adadelta", "adafactor", "adagrad", "adam", "adamax", "adamw", "ftrl", "lamb", "lion", "muon", "nadam"),
    *("rmsprop", "sgd"),
]


def one_step(optimizer: Any, gradient: float = 2.0) -> Any:
    weight = keras.Variable([1.0])
    optimizer.apply([np.array([gradient], "float32")], [weight])
    return float(weight.numpy()[0])


@pytest.mark.parametrize("name", ALL)
def test_defaults_make_a_step_downhill(name: Any) -> None:
    optimizer = getattr(keras_optimizers, name)()
    assert isinstance(optimizer, keras.optimizers.Optimizer)
    assert one_step(optimizer) < 1.0


def test_first_steps_by_hand() -> None:
    assert one_step(keras_optimizers.sgd(0.1)) == pytest.approx(1 - 0.1 * 2)
    assert one_step(keras_optimizers.sgd(0.1, momentum=0.9, nesterov=True)) == pytest.approx(1 - 0.1 * 2 * 1.9)
    assert one_step(keras_optimizers.adam(0.1)) == pytest.approx(0.9, abs=1e-6)
    assert one_step(keras_optimizers.adamw(0.1, weight_decay=0.5)) == pytest.approx(1 - 0.1 * 0.5 - 0.1, abs=1e-6)
    assert one_step(keras_optimizers.adagrad(0.1)) == pytest.approx(1 - 0.1 * 2 / 4.1**0.5, abs=1e-6)
    assert one_step(keras_optimizers.lion(0.1)) == pytest.approx(0.9)


def test_ftrl_step_by_hand_and_sparsity() -> None:
    # n = 0.1 + 2²; sigma = (√n − √0.1)/lr; z = 2 − sigma·1; w = −z·lr/√n
    root, lr = 4.1**0.5, 0.1
    expected = -(2 - (root - 0.1**0.5) / lr) * lr / root
    assert one_step(keras_optimizers.ftrl(lr)) == pytest.approx(expected, abs=1e-5)
    assert one_step(keras_optimizers.ftrl(lr, l1_regularization_strength=100)) == 0.0


def test_momentum_by_hand_equals_sgd_with_momentum() -> None:
    momentum, sgd = Momentum(0.1, momentum=0.8), keras_optimizers.sgd(0.1, momentum=0.8)
    a, b = keras.Variable([1.0, -2.0]), keras.Variable([1.0, -2.0])
    for gradient in ([2.0, 1.0], [-1.0, 0.5], [0.25, 0.0]):
        momentum.apply([np.array(gradient, "float32")], [a])
        sgd.apply([np.array(gradient, "float32")], [b])
    np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-6)
    # m: -0.2, -0.06, -0.073
    assert float(a.numpy()[0]) == pytest.approx(1 - 0.2 - 0.06 - 0.073)
