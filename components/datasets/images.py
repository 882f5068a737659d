"""Defines `images`, a data set of image files in folders of their classes, or in a table of paths."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Gt

from tfrun import host_memory, register
from tfrun.components.datasets.checks import MIN_ROWS, existing_file
from tfrun.components.datasets.csv import csv
from tfrun.components.datasets.image_files import ImageFiles, class_folders, split_folders, unlabeled
from tfrun.components.datasets.image_pixels import PixelFormat, decode_all
from tfrun.config.column_kinds import ImageKind
from tfrun.data.table import Table, TrainedColumns
from tfrun.errors import DataError, ResourceError

COLUMN = "image"  # the name that a model knows the images by


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
) -> Table:
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

    Raises:
        DataError: there are no images, or one can't be read; the message names the file.
        ResourceError: the memory has no room for the images.
    """
    place = Path(path).expanduser()
    pixel_format = PixelFormat(*size, channels=channels, resize=resize)
    if place.is_dir():
        files = _in_folder(place, rows_only=rows_only, is_new=trained_columns is None)
        return _table(files, pixel_format, source=path)
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
    )
    return _of_table(labels, image, pixel_format=pixel_format, folder=Path(folder or place.parent).expanduser())


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


def _table(files: ImageFiles, pixel_format: PixelFormat, *, source: str) -> Table:
    def locate(row: int, name: str | None) -> tuple[str, str | None]:
        return str(files.paths[row]), None

    return Table(
        {COLUMN: _decoded(files.paths, [str(path) for path in files.paths], pixel_format)},
        np.array(files.labels, dtype=object) if files.labels else np.zeros(len(files.paths)),
        "class",
        "classification" if files.labels else "regression",
        source,
        given=files.given or None,
        kinds={COLUMN: ImageKind()},
        locate=locate,
    )


def _of_table(labels: Table, image: str, *, pixel_format: PixelFormat, folder: Path) -> Table:
    """Returns a table whose column of paths has become one of images."""
    texts = labels.columns[image]
    empty = next((row for row in range(len(texts)) if not texts[row]), None)
    if empty is not None:
        raise DataError(f"{labels.find(empty)[0]}, column {image!r}: a path is missing")
    paths = [folder / Path(text).expanduser() for text in texts[:]]
    names = [f"{labels.find(row)[0]}, {path}" for row, path in enumerate(paths)]
    columns: Mapping[str, Any] = {COLUMN: _decoded(paths, names, pixel_format)}
    return labels.with_columns(columns, kinds={COLUMN: ImageKind()})


def _decoded(paths: Sequence[Path], names: Sequence[str], pixel_format: PixelFormat) -> np.ndarray:
    """Returns the pixels of images, (N, height, width, channels) uint8; `names` are those of messages."""
    num_bytes = len(paths) * math.prod(pixel_format.shape)
    if num_bytes > host_memory.free_bytes():
        raise ResourceError(
            f"data.size: {len(paths):,} images of {pixel_format.shape} need {num_bytes / 2**30:,.1f} GiB of memory. "
            f"Received: {host_memory.free_bytes() / 2**30:,.1f} GiB are free"
        )
    pixels = np.empty((len(paths), *pixel_format.shape), np.uint8)
    end = 0
    for block in decode_all(paths, names, pixel_format):
        pixels[end : end + len(block)] = block
        end += len(block)
    return pixels
