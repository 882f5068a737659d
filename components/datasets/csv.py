"""Defines `csv`, a data set in a CSV file; every doubtful cell is reported with its line before training starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from annotated_types import Gt

from tfrun import register
from tfrun.components.datasets.checks import missing_spellings
from tfrun.components.datasets.columns import ColumnOptions, read_table
from tfrun.components.datasets.csv_file import CsvFile
from tfrun.components.datasets.csv_numbers import NumberFormat
from tfrun.components.datasets.pieces import read_pieces
from tfrun.data.pieces import Keep, RowPieces
from tfrun.data.store import Stores
from tfrun.data.table import Table, TrainedColumns


@register.dataset("csv")
def csv(
    path: str | list[str],
    target: str | list[str],
    task: Literal["auto", "regression", "classification"] = "auto",
    separator: str = ",",
    decimal: Literal[".", ","] = ".",
    columns: list[str] | None = None,
    exclude: list[str] | None = None,
    text_columns: list[str] | None = None,
    max_categories: Annotated[int, Gt(0)] = 1000,
    missing: list[str] | None = [],  # noqa: B006 (the catalog reads literal defaults; never changed)
    thousands: Literal[",", ".", " ", "_", "'"] | None = None,
    strip: list[str] = [],  # noqa: B006
    text_encodings: Mapping[str, Mapping[str, Any]] = {},  # noqa: B006
    column_kinds: Mapping[str, str] = {},  # noqa: B006
    rows_only: bool = False,
    trained_columns: TrainedColumns | None = None,
    stores: Stores | None = None,
    in_pieces: Keep | None = None,
) -> Table | RowPieces:
    r"""Reads a CSV file in UTF-8 with a header line.

    A column whose cells are all numbers or missing is a number column; all other columns are text, of which those of
    ISO dates are read as dates. In a number column and in a target, NA, N/A, n/a, #N/A, nan, NaN, null, NULL, None, ?
    and - count as missing, as an empty cell does. In a text column only the empty cell does, so that "None" can be a
    category.

    Args:
        path: the file, relative to the folder that the command runs in; or several files of the same header, as a list
            or a pattern such as 'rows/*.csv'. It may be compressed with gzip, bzip2, xz or zstd.
        target: the column to predict, or several for model=multi_task, the main one first. For rows without a target
            see data.missing_target. Classes are the cells' own texts; if all are whole numbers, 1.0 is the class 1.
        task: "auto" is classification for a text target and for one of only 0 and 1, and regression for other numbers
            (whole numbers may be counts or grades as well as classes).
        separator: the character between cells; \t for tabs.
        decimal: the character before a number's fraction. A number with the other one is an error, since it could
            separate thousands too, unless `thousands` says so.
        columns: the columns to learn from; null takes all except the target.
        exclude: columns to leave out; '' is a column without a name.
        text_columns: columns of numbers that are names of something, for example postal codes.
        max_categories: the largest number of different values of a text column that the config doesn't name elsewhere.
        missing: more cells that count as missing, in text columns too, spelt as in the file, for example ['-999', x];
            null: only the empty cell does.
        thousands: the character between thousands, as in 1,234,567; null: there is none. A space is also one at which
            no line breaks.
        strip: texts to remove from the cells of number columns, for example ['%', $, EUR].
        text_encodings: the encodings of the columns that the config makes texts; set by the engine.
        column_kinds: the kinds of the columns that the config names; set by the engine.
        rows_only: whether to read rows without a target; set by the engine.
        trained_columns: the columns of the run that the rows are for; set by the engine. Then the file may have further
            columns, and columns, exclude, text_columns, max_categories and task don't matter.
        stores: where columns are kept that are too large for the memory; set by the engine.
        in_pieces: the columns to keep if the rows are wanted a piece at a time; set by the engine.

    Raises:
        DataError: the file or a cell in it can't be used; the message names the line and the column.
        ResourceError: the file may not be read.
    """
    options = ColumnOptions(
        target=target,
        task=task,
        columns=columns,
        exclude=exclude,
        text_columns=text_columns,
        max_categories=max_categories,
        missing=missing,
        text_encodings=text_encodings,
        kinds=column_kinds,
        rows_only=rows_only,
        trained=trained_columns,
        stores=stores,
    )
    numbers = NumberFormat(decimal, missing_spellings(missing), thousands=thousands, strip=strip)
    file = CsvFile.open(
        path,
        separator,
        numbers=numbers,
        wanted=options.named,
        as_text=options.as_text,
        integers=options.integers,
        stores=stores,
    )
    return read_table(file, options) if in_pieces is None else read_pieces(file, options, in_pieces)
