"""Defines `images`, a data set of image files in folders of their classes, or in a table of paths."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from annotated_types import Gt

from tfrun import host_memory, register
from tfrun.components.datasets.checks import MIN_ROWS, existing_file
from tfrun.components.datasets.csv import csv
from tfrun.components.datasets.image_files import ImageFiles, class_folders, split_folders, unlabeled
from tfrun.components.datasets.image_pieces import COLUMN, pieces_of_folder, with_pixels
from tfrun.components.datasets.image_pixels import PILLOW_VERSION, PixelFormat, decode_all, decode_in_memory
from tfrun.components.datasets.paths import versions
from tfrun.config.column_kinds import ImageKind
from tfrun.console import Terminal, say
from tfrun.data.arrays import StoredArray
from tfrun.data.pieces import Keep, RowPieces
from tfrun.data.store import Columns, StoredColumn, Stores, StoreWriter
from tfrun.data.table import Table, TrainedColumns
from tfrun.errors import DataError, ResourceError

MANY = 2000  # images take some seconds
FLOAT_BYTES = 4  # of an encoded pixel


@register.dataset("images")
def images(
    path: str,
    size: tuple[Annotated[int, Gt(0)], Annotated[int, Gt(0)]] = (64, 64),
    channels: Literal[3, 1] = 3,
    resize: Literal["stretch", "crop", "pad"] = "stretch",
    image: str | None = None,
    target: str | None = None,
    folder: str | None = None,
    task: Literal["auto", "regression", "classification"] = "auto",
    rows_only: bool = False,
    trained_columns: TrainedColumns | None = None,
    stores: Stores | None = None,
    in_pieces: Keep | None = None,
) -> Table | RowPieces:
    """Reads image files: JPEG, PNG, GIF (the first picture), BMP and WebP. Each is decoded once.

    In a folder, each folder is a class, and all images inside it, at any depth, are of this class. If the folders are
    `train`, and `val` or `test`, the classes are in these, and the images are split so. Hidden files are left out, and
    files that are no images by their endings.

    Args:
        path: the folder, or a CSV file with a column of paths and a target.
        size: height and width that each image gets.
        channels: 3 for colour, 1 for grey.
        resize: stretch, or crop to the middle, or pad with black, if height and width are in another ratio.
        image: the column of paths, of a CSV file.
        target: the column to predict, of a CSV file.
        folder: where the relative paths of a CSV file begin; null is the folder of the file.
        task: of a CSV file's target; "auto" is classification for texts, and for a target of only 0 and 1.
        rows_only: whether to read images without a target; set by the engine.
        trained_columns: the columns of the run that the images are for; set by the engine.
        stores: where images are kept that are too large for the memory; set by the engine.
        in_pieces: what to keep of each image, its `file` in a folder or columns of a CSV file, if the images are wanted
            a piece at a time; set by the engine.

    Raises:
        DataError: there are no images, or one can't be read; the message names the file.
        ResourceError: the memory has no room for the images.
    """
    place = Path(path).expanduser()
    pixel_format = PixelFormat(*size, channels, resize)
    decoded = partial(_decoded, pixel_format=pixel_format, source=path, stores=stores)
    if place.is_dir():
        files = _in_folder(place, rows_only=rows_only, is_new=trained_columns is None)
        if in_pieces is not None:
            return pieces_of_folder(files.paths, pixel_format, folder=place, source=path, keep=in_pieces)
        return _table(files, decoded(files.paths), source=path)
    if image is None:
        raise DataError(f"data.image: must name the column of paths in {path}, or data.path a folder. Received: null")
    if target is None and not rows_only:
        raise DataError(f"data.target: must name the column of {path} to predict. Received: null")
    trained = trained_columns and TrainedColumns((), (image,), trained_columns.targets, option="image")
    labels = csv(
        existing_file(path),
        target or "class",
        task=task,
        columns=[image],
        text_columns=[image],
        text_encodings={image: {}},  # paths are no categories, however many there are
        rows_only=rows_only,
        trained_columns=trained,
        in_pieces=in_pieces,
    )
    find_paths = partial(_paths, image=image, folder=Path(folder or place.parent).expanduser())
    if isinstance(labels, RowPieces):
        return labels.map(partial(with_pixels, pixel_format=pixel_format, find_paths=find_paths))
    paths = find_paths(labels)
    pixels = decoded(paths, find=lambda row: labels.find(row)[0])
    return labels.with_columns({COLUMN: pixels}, kinds={COLUMN: ImageKind()})


def _in_folder(folder: Path, *, rows_only: bool, is_new: bool) -> ImageFiles:
    """Returns the image files of a folder, with their classes unless they aren't needed."""
    if rows_only:
        return unlabeled(folder)
    splits = split_folders(folder)
    files = ImageFiles.joined({name: class_folders(part) for name, part in splits.items()})
    classes = sorted(set(files.labels))
    if is_new and len(classes) < 2:
        raise DataError(f"data.path: {folder}: a folder for each of two or more classes is needed. Received: {classes}")
    if is_new and len(files.paths) < MIN_ROWS:
        raise DataError(f"data.path: {folder} has {len(files.paths)} images; at least {MIN_ROWS} are needed.")
    return files


def _table(files: ImageFiles, pixels: np.ndarray | StoredArray, *, source: str) -> Table:
    def locate(row: int, name: str | None) -> tuple[str, str | None]:
        return str(files.paths[row]), None

    return Table(
        {COLUMN: pixels},
        np.array(files.labels, dtype=object) if files.labels else np.zeros(len(files.paths)),
        "class",
        "classification" if files.labels else "regression",
        source,
        given=files.given or None,
        kinds={COLUMN: ImageKind()},
        locate=locate,
    )


def _paths(labels: Table, *, image: str, folder: Path) -> list[Path]:
    """Returns the paths in a column, relative ones from a folder on. Raises DataError if one is missing."""
    texts = labels.columns[image][:].tolist()
    if "" in texts:
        raise DataError(f"{labels.find(texts.index(''))[0]}, column {image!r}: a path is missing")
    return [folder / Path(text).expanduser() for text in texts]


def _decoded(
    paths: Sequence[Path],
    *,
    pixel_format: PixelFormat,
    source: str,
    stores: Stores | None,
    find: Callable[[int], str] | None = None,
) -> np.ndarray | StoredArray:
    """Returns the pixels of images, (N, height, width, channels) uint8, in memory or in a store.

    Args:
        paths: the files.
        pixel_format: the size and channels.
        source: where the images come from, for messages.
        stores: where they are kept if they are too large for the memory.
        find: the place of a path -> where it is named, for messages.
    """
    title = f"{source}: decoding {len(paths):,} images"
    num_bytes = len(paths) * math.prod(pixel_format.shape)
    with_floats = num_bytes * (1 + FLOAT_BYTES)
    if stores is not None and stores.are_for(with_floats / 2):  # it counts the encoded ones to be as large as the raw
        return _stored(paths, stores, pixel_format=pixel_format, title=title, find=find)
    if with_floats > host_memory.free_bytes():
        raise ResourceError(
            f"data.size: {len(paths):,} images of {pixel_format.shape} need {with_floats / 2**30:,.1f} GiB of memory. "
            f"Received: {host_memory.free_bytes() / 2**30:,.1f} GiB are free. data.cache=auto keeps them on disk"
        )
    if len(paths) >= MANY:
        say(Terminal(stderr=True), title)
    return decode_in_memory(paths, pixel_format, find=find)


def _stored(
    paths: Sequence[Path],
    stores: Stores,
    *,
    pixel_format: PixelFormat,
    title: str,
    find: Callable[[int], str] | None,
) -> StoredArray:
    """Returns the same from a store, into which the images are decoded first if they aren't there."""

    def write(writer: StoreWriter) -> Columns:
        sink = writer.sink(np.uint8, row_shape=pixel_format.shape)
        for block in decode_all(paths, pixel_format, find=find):
            sink.append(block)
        return {COLUMN: StoredColumn(sink.finish())}

    files = hashlib.sha256(repr(versions([str(path) for path in paths if path.exists()])).encode()).hexdigest()
    key = {"reader": "images", "files": files, "count": len(paths), "format": asdict(pixel_format)}
    columns = stores.open(
        key | {"pillow": PILLOW_VERSION},  # decoders of different versions may differ in a bit
        title=title,
        num_bytes=len(paths) * math.prod(pixel_format.shape),
        num_columns=1,
        write=write,
    )
    return columns[COLUMN].array
