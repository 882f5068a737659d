"""The kinds of columns: what each learns from the training rows, how it is written, and its raw cells as numbers.

`tfrun.data.layers` turns fitted columns into Keras layers; nothing here needs TensorFlow.
"""

from tfrun.data.kinds.array import ArrayColumn
from tfrun.data.kinds.category import CategoryColumn
from tfrun.data.kinds.choice import KINDS, Column, fit_column
from tfrun.data.kinds.hashed import HashedColumn
from tfrun.data.kinds.inputs import NumberInput
from tfrun.data.kinds.number import NumberColumn
from tfrun.data.kinds.raw import RawColumn, is_text
from tfrun.data.kinds.texts import TextColumn
from tfrun.data.kinds.tokens import TokensColumn

__all__ = [
    "KINDS",
    "ArrayColumn",
    "CategoryColumn",
    "Column",
    "HashedColumn",
    "NumberColumn",
    "NumberInput",
    "RawColumn",
    "TextColumn",
    "TokensColumn",
    "fit_column",
    "is_text",
]
