"""Writing what must not be lost: write aside, sync, rename, sync the folder (the protocol of SQLite and Orbax).

Each operation is a place where a test may end the process as `kill -9` does, or have the disk be full:
`TFRUN_FAILPOINT=manifest.json.sync:3` ends it before the third sync of a manifest; `=full` behind it has that operation
fail, `=full+` that one and all later ones; the place `io` is every operation. Free when the variable is not set.
"""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path
from typing import Any

from tfrun.errors import ResourceError


class Failpoint:
    """A place, and what happens at the n-th time that it is reached."""

    def __init__(self, text: str):
        where, _, self._how = text.partition("=")
        self._place, _, count = where.partition(":")
        self._left = int(count or 1)

    def reach(self, place: str, is_operation: bool) -> None:
        """Counts the place, and kills or fails where it is due."""
        if place != self._place and not (is_operation and self._place == "io"):
            return
        self._left -= 1
        if self._left > 0 or (self._left < 0 and not self._how.endswith("+")):
            return
        if self._how.startswith("full"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.kill(os.getpid(), signal.SIGKILL)


_failpoint = Failpoint(os.environ["TFRUN_FAILPOINT"]) if os.environ.get("TFRUN_FAILPOINT") else None


def reach(place: str, is_operation: bool = False) -> None:
    """Tells that the process is at a place where it may be ended."""
    if _failpoint is not None:
        _failpoint.reach(place, is_operation)


def write(file: Any, data: bytes, name: str) -> None:
    """Writes all of the data to an open file."""
    reach(f"{name}.write", is_operation=True)
    file.write(data)
    file.flush()


def sync(file: Any, name: str) -> None:
    """Returns once a file's contents are on the disk."""
    file.flush()
    reach(f"{name}.sync", is_operation=True)
    os.fsync(file.fileno())


def rename(source: Path, target: Path, name: str) -> None:
    """Gives a file or folder its name; whoever looks there sees the old one whole, or the new one."""
    reach(f"{name}.rename", is_operation=True)
    os.replace(source, target)


def sync_folder(path: Path, name: str) -> None:
    """Returns once the names in a folder are on the disk."""
    reach(f"{name}.sync_folder", is_operation=True)
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomically(path: Path, text: str) -> None:
    """Replaces a file so that a reader, or a crash, sees the old one whole or the new one whole.

    Raises:
        ResourceError: the disk refuses; the old one is untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            write(file, text.encode(), path.name)
            sync(file, path.name)
        rename(temporary, path, path.name)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise ResourceError(f"{path}: can't be written: {error.strerror or error}") from error
    reach(f"{path.name}.done")


def remove_left_behind(folder: Path) -> None:
    """Removes what `write_atomically` had begun where it was killed; no other process may be writing there."""
    for path in folder.glob(".*.*[0-9]"):
        if path.is_file():
            path.unlink()
