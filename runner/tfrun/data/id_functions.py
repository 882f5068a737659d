"""The ids of whole numbers and of words: the same as those that the layers of `layers.py` give their texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import keras
import numpy as np
import tensorflow as tf

from tfrun.data.integer_texts import IntegerPlaces, empty_of
from tfrun.data.kinds import CategoryColumn, HashedColumn, IdColumn, TokensColumn
from tfrun.data.layers import tokens_model

FIRST_WORD = 2  # the id of a vocabulary's first word; 0 is padding and 1 unseen


def ids_of_integers(column: IdColumn | TokensColumn, dtype: np.dtype) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a function from whole numbers, (R,), to their ids, (R,) int32.

    Args:
        column: of the ids; in one of words, each number is a word.
        dtype: of the numbers, see `IntegerTexts`; 0 is the id of an empty one.
    """
    empty = empty_of(dtype)
    if isinstance(column, HashedColumn) or (isinstance(column, TokensColumn) and column.bins is not None):
        # the texts of a block are in TensorFlow alone, and only while they are hashed
        hashing = keras.layers.Hashing(column.num_ids, mask_value="")

        def hashed(numbers: np.ndarray) -> np.ndarray:
            texts = tf.where(numbers == empty, "", tf.strings.as_string(numbers))
            return np.asarray(hashing(texts), np.int32)

        return hashed
    known: Sequence[str] = column.values if isinstance(column, CategoryColumn) else column.words
    places = IntegerPlaces(known, dtype)
    if isinstance(column, CategoryColumn):
        return lambda numbers: places.of(numbers) + np.int32(1)

    def looked_up(numbers: np.ndarray) -> np.ndarray:
        return np.where(numbers == empty, np.int32(0), places.of(numbers) + np.int32(FIRST_WORD))

    return looked_up


def ids_of_words(column: TokensColumn, words: Sequence[str]) -> np.ndarray:
    """Returns the ids of words, (W,) int32; 0 for the word ""."""
    if len(words) == 0:
        return np.empty(0, np.int32)
    model = tokens_model(replace(column, length=1))
    return np.asarray(model(tf.constant(words)[:, None]), np.int32)[:, 0]
