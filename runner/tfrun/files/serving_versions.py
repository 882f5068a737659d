"""The numbered versions of a model in a folder that TensorFlow Serving watches: each export is a new one."""

from __future__ import annotations

from pathlib import Path

from tfrun.errors import ConfigError
from tfrun.files.runs import EXPORTS


def new_version(out: Path, name: str, *, version: int | None) -> int:
    """Returns the version to export to: the given one, or the one after the newest.

    Args:
        out: the folder of the exports.
        name: of the model.
        version: as given, or None.

    Raises:
        ConfigError: the version is there already.
    """
    existing = versions(out / EXPORTS["serving"] / name)
    following = max(existing, default=0) + 1
    if version in existing:
        raise ConfigError(
            f"version: a version that is there stays as it is, since a server may have loaded it. "
            f"Received: {version} of {name}. The next one: {following}"
        )
    return following if version is None else version


def versions(folder: Path) -> set[int]:
    """Returns the numbers of the versions in the folder of a model, whatever is in them; `007` is version 7."""
    try:
        return {int(path.name) for path in folder.iterdir() if path.name.isascii() and path.name.isdecimal()}
    except OSError:  # it isn't there, or no folder; who writes into it says so
        return set()
