"""Writes that survive a crash: write aside, sync, rename, sync the folder (the protocol of SQLite and Orbax).

Each operation is a failpoint (`files.failpoints`), named after the `name` that it is given.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tfrun.errors import ResourceError
from tfrun.files.failpoints import reach


@contextlib.contextmanager
def refusals(path: object) -> Iterator[None]:
    """Raises ResourceError for an OSError: the disk refuses to write a file."""
    try:
        yield
    except OSError as error:
        raise ResourceError(f"{path}: can't be written: {error.strerror or error}") from error


def open_file(path: Path, mode: str, *, buffering: int = -1) -> Any:
    """Opens a file of a run folder for writing.

    Raises:
        OSError: the disk refuses, or the file is a link: a folder that someone else has made could lead to any file.
    """
    return open(path, mode, buffering=buffering, opener=_open_no_link)


def _open_no_link(path: str, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(error.errno, "it is a link, and tfrun writes through none", path) from None
        raise


def refuse_link(path: Path) -> None:
    """Raises ResourceError if a folder of a run, or a file of it that a library will write, is a link."""
    if path.is_symlink():
        raise ResourceError(f"{path}: can't be written: it is a link, and tfrun writes through none")


def refuse_links_inside(folder: Path, path: Path) -> None:
    """Raises ResourceError if a path inside a run folder is a link, or leads through one; others may be anything."""
    inside: list[Path] = []
    for above in (path, *path.parents):
        if above.resolve() == folder.resolve():
            for link in inside:
                refuse_link(link)
            return
        inside.append(above)


def write(file: Any, data: bytes, *, name: str) -> None:
    """Writes all of the data to an open file."""
    reach(f"{name}.write", is_operation=True)
    file.write(data)
    file.flush()


def sync(file: Any, name: str) -> None:
    """Returns once a file's contents are on the disk."""
    file.flush()
    reach(f"{name}.sync", is_operation=True)
    os.fsync(file.fileno())


def rename(source: Path, target: Path, *, name: str) -> None:
    """Renames a file or folder; a reader of the target sees the old one whole or the new one whole."""
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
    """Replaces a file so that a reader, also after a crash, sees the old one whole or the new one whole.

    Raises:
        ResourceError: the disk refuses; the old file is untouched.
    """
    temporary = temporary_path(path)
    try:
        with open_file(temporary, "wb") as file:
            write(file, text.encode(), name=path.name)
            sync(file, path.name)
        rename(temporary, path, name=path.name)
    except OSError as error:
        with contextlib.suppress(OSError):  # a file system that is read-only refuses this too
            temporary.unlink()
        raise ResourceError(f"{path}: can't be written: {error.strerror or error}") from error
    reach(f"{path.name}.done")


def first_above(path: Path) -> Path:
    """Returns the first that exists of an absolute path and the folders above it."""
    while not os.path.lexists(path):
        path = path.parent
    return path


def try_folder(folder: Path) -> None:
    """Makes a folder inside an absolute path, or inside the first above it that exists, and removes it again.

    Raises:
        OSError: the disk refuses, or it is no folder.
    """
    os.rmdir(tempfile.mkdtemp(prefix=".tfrun_", dir=first_above(folder)))


def temporary_path(path: Path) -> Path:
    """Returns the path beside a file or a folder where this process writes what will take its place."""
    return path.with_name(f".{path.name}.{os.getpid()}")


def remove_left_behind(folder: Path, name: str | None = None) -> None:
    """Removes what killed processes have written at the paths that `temporary_path` gave them.

    Args:
        folder: the folder in which they wrote.
        name: what they would have replaced; a process that is running may be at it, and its path stays. None for all
            files in a folder that this process holds, so that no other is writing there.
    """
    for path in folder.glob(".*.*[0-9]"):
        stem, _, pid = path.name[1:].rpartition(".")
        if not pid.isdecimal() or (name is not None and (stem != name or _is_another(int(pid)))):
            continue
        with contextlib.suppress(OSError):  # a file system that is read-only
            if path.is_symlink() or path.is_file():
                path.unlink()
            elif name is not None:
                shutil.rmtree(path)


def _is_another(pid: int) -> bool:
    """Returns whether another process than this one has the id."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # of another user
        return True
    return pid != os.getpid()
