"""The files that the config's `data` names: one, several, or a pattern such as rows/*.csv."""

from __future__ import annotations

import difflib
import glob
import itertools
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfrun.config.catalog import Catalog
from tfrun.config.types import check_value
from tfrun.errors import DataError

PATHS = ("path", "validation_path", "test_path")  # the keys of `data` that name files of rows
PATTERN_CHARACTERS = frozenset("*?[")


def expand(path: str | list[str], *, key: str = "data.path") -> list[str]:
    """Returns the files, or folders, that a path stands for, those of a pattern by name, with ~ for the home folder.

    Args:
        path: a path, or a pattern with * (** for any folders), ? or [...]; or several of them.
        key: the config key that has it, for messages.

    Raises:
        DataError: there is no such file, or a file is named twice.
    """
    expanded: list[str] = []
    for text in [path] if isinstance(path, str) else path:
        files = matching(text)
        if not files and is_pattern(text):
            raise DataError(f"{key}: no file has a name of this pattern. Received: {text!r}, in {Path.cwd()}")
        if not files:
            raise _no_such_file(text, key=key)
        expanded += files
    if not expanded:
        raise DataError(f"{key}: must name at least one file. Received: {path}")
    if twice := [name for name, count in Counter(expanded).items() if count > 1]:
        raise DataError(f"{key}: names a file twice. Received: {twice[0]!r}")
    return expanded


def is_pattern(path: str) -> bool:
    """Returns whether a path stands for the files whose names it describes, unless there is a file of just its name."""
    return bool(PATTERN_CHARACTERS & set(path))


def matching(path: str) -> list[str]:
    """Returns the file or folder of a path, with ~ replaced by the home folder, or those of a pattern by name."""
    file = Path(path).expanduser()
    if file.exists():
        return [str(file)]
    return sorted(glob.glob(str(file), recursive=True)) if is_pattern(path) else []


def fixed_part(path: str) -> str:
    """Returns the path up to the last folder before the first one that is a pattern."""
    parts = Path(path).parts
    fixed = list(itertools.takewhile(lambda part: not is_pattern(part), parts))
    return path if len(fixed) == len(parts) else str(Path(*fixed))


def check_paths(data: Any, catalog: Catalog) -> None:
    """Raises DataError if a file of the data doesn't exist; the data set itself checks everything else.

    Args:
        data: the config's `data`, not checked yet: a typo in a path is reported before anything else.
        catalog: the components that exist.
    """
    dataset = catalog.find("dataset", data.get("name")) if isinstance(data, dict) else None
    for param in dataset.params if dataset else ():
        if param.name == "path" and "str" in (param.type or ""):
            for name in PATHS:
                if (value := data.get(name)) not in (None, "???"):
                    check_value(param.type, value, where=f"data.{name}")
                    expand(value, key=f"data.{name}")


def version_of(data: Mapping[str, Any]) -> list[Any]:
    """Returns what changes when a file of the data is written, replaced or added.

    Args:
        data: the config's `data` in plain containers.
    """
    versions: list[Any] = []
    for name in PATHS:
        try:
            files = expand(data[name], key=name) if data.get(name) else []
        except (DataError, TypeError):  # of a data set of a plugin, which may mean anything by its path
            files = []
        for path in map(Path, files):
            for inside in path.rglob("*") if path.is_dir() else [path]:
                if inside.is_file():
                    file = inside.stat()
                    versions.append([name, str(inside), file.st_mtime_ns, file.st_size, file.st_ino])
    return versions


def _no_such_file(text: str, *, key: str) -> DataError:
    file = Path(text).expanduser()
    folder = file.parent
    if not folder.is_dir():
        return DataError(f"{key}: no such file or folder. Received: {text!r}. There is no folder {str(folder)!r}")
    siblings = sorted(item.name for item in folder.iterdir())
    close = difflib.get_close_matches(file.name, siblings, n=1)
    hint = f" Did you mean '{folder / close[0]}'?" if close else ""
    return DataError(f"{key}: no such file. Received: {text!r}, in {folder.resolve()}.{hint}")
