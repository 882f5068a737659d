"""Finds image files in folders of their classes."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tfrun.errors import DataError

ENDINGS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".webp")
SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}  # folder -> split

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImageFiles:
    """Image files.

    Attributes:
        paths: of the files.
        labels: the class of each; empty if they aren't needed.
        given: "val" and "test" -> the places of the files of these splits, if there are folders of them.
    """

    paths: Sequence[Path]
    labels: Sequence[str] = ()
    given: Mapping[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def joined(cls, splits: Mapping[str, ImageFiles]) -> ImageFiles:
        """Returns the files of several splits, one after the other."""
        paths = [path for files in splits.values() for path in files.paths]
        labels = [label for files in splits.values() for label in files.labels]
        given, end = {}, 0
        for name, files in splits.items():
            given[name] = np.arange(end, end + len(files.paths))
            end += len(files.paths)
        return cls(paths, labels, {name: rows for name, rows in given.items() if name != "train"})


def split_folders(folder: Path) -> dict[str, Path]:
    """Returns the folders of splits: those called train, val and test, or the folder itself as "train".

    Raises:
        DataError: two folders are of the same split.
    """
    inside = [path for path in _visible(folder) if path.is_dir()]
    if not {path.name for path in inside} <= SPLITS.keys() or not any(path.name == "train" for path in inside):
        return {"train": folder}
    splits: dict[str, Path] = {}
    for path in sorted(inside, key=lambda path: list(SPLITS).index(path.name)):
        if SPLITS[path.name] in splits:
            raise DataError(f"data.path: two folders of one split. Received: {splits[SPLITS[path.name]]} and {path}")
        splits[SPLITS[path.name]] = path
    return splits


def class_folders(folder: Path) -> ImageFiles:
    """Returns the images in the folders of a folder, which are their classes, by the names of classes and files.

    Raises:
        DataError: there are no folders, or one has no image.
    """
    paths: list[Path] = []
    labels: list[str] = []
    left_out = [path for path in _visible(folder) if not path.is_dir()]
    folders = [path for path in _visible(folder) if path.is_dir()]
    if not folders:
        raise DataError(
            f"data.path: {folder} has no folders of classes. Received: {len(left_out)} files. Images without classes "
            "can be predicted, by tfrun predict"
        )
    for class_folder in folders:
        images, others = _images(class_folder)
        if not images:
            raise DataError(f"data.path: the folder of a class has no images. Received: {class_folder}")
        paths += images
        labels += [class_folder.name] * len(images)
        left_out += others
    _warn_of_others(folder, left_out)
    return ImageFiles(paths, labels)


def unlabeled(folder: Path) -> ImageFiles:
    """Returns all images in a folder, at any depth, by their paths. Raises DataError if there are none."""
    images, others = _images(folder)
    if not images:
        raise DataError(f"data.path: no file of this folder is an image ({', '.join(ENDINGS)}). Received: {folder}")
    _warn_of_others(folder, others)
    return ImageFiles(images)


def _images(folder: Path) -> tuple[list[Path], list[Path]]:
    """Returns the images in a folder, at any depth, and its other files; hidden ones are neither."""
    images: list[Path] = []
    others: list[Path] = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts):
            (images if path.suffix.lower() in ENDINGS else others).append(path)
    return images, others


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _warn_of_others(folder: Path, others: Sequence[Path]) -> None:
    if others:
        count = "a file is" if len(others) == 1 else f"{len(others)} files are"
        log.warning("data.path: %s left out as no image of a class: %s", count, others[0].relative_to(folder))
