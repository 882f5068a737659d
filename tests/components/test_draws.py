from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tfrun.components.layers.draws import normal, uniform

COUNT = 2**18


@pytest.mark.parametrize("draw", [uniform, normal])
def test_python_graph_and_xla_draw_the_same(draw: Callable[..., Any]) -> None:
    in_python = draw([50, 7], [3, 4])
    for jit in (False, True):
        compiled = tf.function(lambda state: draw([50, 7], state), jit_compile=jit)
        np.testing.assert_allclose(compiled(tf.constant([3, 4])), in_python, rtol=1e-6)


def test_numbers_are_uniform_and_independent() -> None:
    draws = [np.asarray(uniform([COUNT], state), "float64") for state in ([0, 0], [0, 1], [1, 0], [1, 1], [2, 0])]
    for values in draws:
        assert values.min() >= 0 and values.max() < 1
        counts = np.histogram(values, 256, (0, 1))[0]
        assert 150 < np.sum((counts - COUNT / 256) ** 2 / (COUNT / 256)) < 370  # χ² of 255: 5 deviations to either side
    pairs = [(a, b) for k, a in enumerate(draws) for b in draws[:k]] + [(values[1:], values[:-1]) for values in draws]
    pairs += [(a[1:], b[:-1]) for a in draws for b in draws if a is not b]
    assert max(abs(np.corrcoef(a, b)[0, 1]) for a, b in pairs) < 5.5 / np.sqrt(COUNT)


def test_normal_numbers_have_the_moments_and_tails_of_the_distribution() -> None:
    values = np.asarray(normal([COUNT], [5, 6]), "float64")
    assert np.isfinite(values).all()
    assert abs(values.mean()) < 5 / np.sqrt(COUNT)
    assert values.var() == pytest.approx(1, abs=5 * np.sqrt(2 / COUNT))
    assert np.mean(values**4) == pytest.approx(3, abs=5 * np.sqrt(96 / COUNT))
    assert np.mean(np.abs(values) > 3) == pytest.approx(0.0027, abs=5 * np.sqrt(0.0027 / COUNT))


def test_half_precision() -> None:
    values = uniform([1000], [1, 2], tf.bfloat16)
    assert values.dtype == tf.bfloat16
    assert float(tf.reduce_max(values)) < 1
