"""The files that the config's `data` names: one, several, or a pattern such as rows/*.csv."""

from __future__ import annotations

import difflib
import glob
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfrun.config.catalog import Catalog
from tfrun.config.types import check_value
from tfrun.errors import DataError

PATHS = ("path", "validation_path", "test_path")  # the keys of `data` that name files of rows
PATTERN_CHARACTERS = frozenset("*?[")


def expand(path: str | list[str], *, key: str = "data.path") -> list[str]:
    """Returns the files, or folders, that a path stands for, ordered by name, with ~ replaced by the home folder.

    Args:
        path: a path, or a pattern with * (** for any folders), ? or [...]; or several of them.
        key: the config key that has it, for messages.

    Raises:
        DataError: there is no such file, or a file is named twice.
    """
    expanded: list[str] = []
    for text in [path] if isinstance(path, str) else path:
        file = Path(text).expanduser()
        if file.exists() or not PATTERN_CHARACTERS & set(text):
            _check_exists(file, text, key=key)
            expanded.append(str(file))
            continue
        matching = glob.glob(str(file), recursive=True)
        if not matching:
            raise DataError(f"{key}: no file has such a name. Received: {text!r}, in {Path.cwd()}")
        expanded += matching
    if not expanded:
        raise DataError(f"{key}: must name at least one file. Received: {path}")
    expanded.sort()
    for name, following in itertools.pairwise(expanded):
        if name == following:
            raise DataError(f"{key}: names a file twice. Received: {name!r}")
    return expanded


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
            if path.is_file():
                file = path.stat()
                versions.append([name, str(path), file.st_mtime_ns, file.st_size, file.st_ino])
    return versions


def _check_exists(file: Path, text: str, *, key: str) -> None:
    if file.exists():
        return
    folder = file.parent
    siblings = sorted(item.name for item in folder.iterdir()) if folder.is_dir() else []
    close = difflib.get_close_matches(file.name, siblings, n=1)
    hint = f" Did you mean '{folder / close[0]}'?" if close else ""
    raise DataError(f"{key}: no such file. Received: {text!r}, in {folder.resolve()}.{hint}")
