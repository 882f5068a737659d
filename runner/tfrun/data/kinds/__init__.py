"""The kinds of columns: what each learns from the training rows, how it is written, and its raw cells as numbers.

`tfrun.data.layers` turns fitted columns into Keras layers; nothing here needs TensorFlow.
"""

from tfrun.data.kinds.array import ArrayColumn
from tfrun.data.kinds.boolean import BooleanColumn
from tfrun.data.kinds.category import CategoryColumn
from tfrun.data.kinds.choice import KINDS, Column, IdColumn, NumericColumn, are_iso_dates, check_cells, fit_column
from tfrun.data.kinds.date import DateColumn
from tfrun.data.kinds.hashed import HashedColumn
from tfrun.data.kinds.image import ImageColumn
from tfrun.data.kinds.inputs import FarInput, NumberInput
from tfrun.data.kinds.number import NumberColumn
from tfrun.data.kinds.ordered import OrderedColumn
from tfrun.data.kinds.raw import KINDS_KEY, RawColumn, is_text
from tfrun.data.kinds.texts import TextColumn
from tfrun.data.kinds.tokens import TokensColumn

__all__ = [
    "KINDS",
    "KINDS_KEY",
    "ArrayColumn",
    "BooleanColumn",
    "CategoryColumn",
    "Column",
    "DateColumn",
    "FarInput",
    "HashedColumn",
    "IdColumn",
    "ImageColumn",
    "NumberColumn",
    "NumberInput",
    "NumericColumn",
    "OrderedColumn",
    "RawColumn",
    "TextColumn",
    "TokensColumn",
    "are_iso_dates",
    "check_cells",
    "fit_column",
    "is_text",
]
