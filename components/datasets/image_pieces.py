"""Reads images to predict a piece at a time: no more are in memory, and none has to go to the disk first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from tfrun.components.datasets.image_pixels import PixelFormat, decode_in_memory
from tfrun.config.column_kinds import ImageKind
from tfrun.data.pieces import Keep, Piece, RowPieces
from tfrun.data.table import Table

COLUMN = "image"  # the name that a model knows the images by
FILE = "file"  # what is known of an image in a folder


def pieces_of_folder(
    paths: Sequence[Path], pixel_format: PixelFormat, *, folder: Path, source: str, keep: Keep
) -> RowPieces:
    """Returns the images of a folder, of each of which its file can be kept, as a path inside the folder.

    Args:
        paths: the images.
        pixel_format: the size and channels.
        folder: that they are in.
        source: the folder, for messages.
        keep: the columns to be kept.

    Raises:
        ConfigError: another column is to be kept.
    """
    kept = keep.of([FILE], source)

    def read(num_rows: int) -> Iterator[Piece]:
        for start in range(0, len(paths), num_rows):
            some = paths[start : start + num_rows]
            names = [path.relative_to(folder).as_posix() for path in some]
            table = Table(
                {COLUMN: decode_in_memory(some, pixel_format)},
                np.zeros(len(some)),
                "class",
                "regression",
                source,
                kinds={COLUMN: ImageKind()},
                locate=partial(_find, some),
                first_row=start,
            )
            yield Piece(table, dict.fromkeys(kept, names))

    return RowPieces(source, read)


def _find(paths: Sequence[Path], row: int, name: str | None) -> tuple[str, str | None]:
    return str(paths[row]), None


def with_pixels(table: Table, *, pixel_format: PixelFormat, find_paths: Callable[[Table], Sequence[Path]]) -> Table:
    """Returns rows with their images.

    Args:
        table: rows of a table of paths.
        pixel_format: the size and channels of the images.
        find_paths: returns the paths of a table.
    """
    pixels = decode_in_memory(find_paths(table), pixel_format, find=lambda row: table.find(row)[0])
    return table.with_columns({COLUMN: pixels}, kinds={COLUMN: ImageKind()})
