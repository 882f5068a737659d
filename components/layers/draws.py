"""Random numbers that are the same in Python, in a graph and in XLA's program.

TensorFlow's own are not: its kernels and XLA lay the same Philox numbers out differently, so that a step could not be
debugged in Python with the dropout masks that it has when it is compiled.

Each number is a hash of its place and the seed: MurmurHash3's finalizer (Appleby, 2011), once with either word of the
seed. That is enough for masks and noise, and nothing for secrets.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


def next_state(generator: keras.random.SeedGenerator) -> tf.Tensor:
    """Returns the generator's state, (2,) uint32, and moves it on."""
    return tf.cast(generator.next(), tf.uint32)


def uniform(shape: Any, state: Any, dtype: Any = tf.float32) -> tf.Tensor:
    """Returns numbers from 0 to below 1, multiples of 2⁻²⁴ (in half precision of 2⁻⁸).

    Args:
        shape: of the result.
        state: (2,) integers that say which numbers.
        dtype: of the result, a float.
    """
    state = tf.cast(state, tf.uint32)
    places = tf.bitcast(tf.range(tf.reduce_prod(shape)), tf.uint32)
    first = _mixed(state[0])
    second = _mixed(state[1] + first)  # so that two seeds next to each other don't give one sequence, shifted
    bits = _mixed(_mixed(places + first) ^ second)
    digits = 24 if tf.as_dtype(dtype).size > 2 else 8
    whole = tf.cast(tf.bitwise.right_shift(bits, tf.constant(32 - digits, tf.uint32)), tf.int32)
    return tf.reshape(tf.cast(whole, dtype) * tf.constant(2.0**-digits, dtype), shape)


def normal(shape: Any, state: Any, dtype: Any = tf.float32) -> tf.Tensor:
    """Returns numbers of mean 0 and deviation 1, in float32 digits, from one uniform number each."""
    u = (tf.floor(uniform(shape, state) * 2.0**23) + 0.5) * 2.0**-23  # between 0 and 1, symmetric
    return tf.cast(tf.sqrt(2.0) * tf.math.erfinv(2.0 * u - 1.0), dtype)


def _mixed(x: tf.Tensor) -> tf.Tensor:
    for factor, shift in ((0x85EBCA6B, 16), (0xC2B2AE35, 13)):
        x = (x ^ tf.bitwise.right_shift(x, tf.constant(shift, tf.uint32))) * tf.constant(factor, tf.uint32)
    return x ^ tf.bitwise.right_shift(x, tf.constant(16, tf.uint32))
