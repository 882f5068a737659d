"""Columns that are kept on disk from run to run, in `~/.cache/tfrun/data/`, one folder for each source or encoding.

A folder is written aside, as `<key>.partial`, and renamed when it is whole. One process writes it while it holds
`<key>.lock`; others wait for it. A killed process leaves its partial folder, which the next one that writes removes.
Everything here may be deleted at any time: what is read from a deleted file stays readable until the process ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import resource
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfrun import host_memory
from tfrun.data.arrays import StoredArray
from tfrun.data.sinks import FileSink
from tfrun.errors import ResourceError
from tfrun.files import disk, strict_json
from tfrun.files.failpoints import reach
from tfrun.files.xla_cache import cache_folder
from tfrun.folders import shown

FORMAT = 1
MANIFEST = "manifest.json"
KEY_CHARACTERS = 32  # of the name of a store, in hexadecimal
KEY_PATTERN = "[0-9a-f]" * KEY_CHARACTERS
UNUSED_SECONDS = 30 * 24 * 3600  # after that, a store that nobody has opened is removed
RECENT_SECONDS = 3600  # until then it isn't removed even if the disk needs room: a run may be about to use it
ROOM_BYTES = 2**28  # that the disk must have left beside a store
BUFFERS_BYTES = 2**26  # for all columns that are written at once


@dataclass(frozen=True)
class StoredColumn:
    """A column of a store.

    Attributes:
        array: (N, ...) its values, (N,) int32 places in `texts`, or (N, 2) int64 places in `flat`.
        texts: of a column of texts, the different ones.
        flat: of a column of lists, what is in all of them.
    """

    array: StoredArray
    texts: list[str] | None = None
    flat: StoredColumn | None = None


Columns = dict[str, StoredColumn]


class StoreWriter:
    """A store that is being written.

    Args:
        folder: the partial folder.
        num_columns: about how many columns it will have.
    """

    def __init__(self, folder: Path, num_columns: int):
        self._folder = folder
        self._buffer_bytes = max(2**12, min(2**20, BUFFERS_BYTES // max(1, num_columns)))
        self._count = 0

    def sink(self, dtype: Any, *, row_shape: tuple[int, ...] = ()) -> FileSink:
        """Returns where the blocks of a further column go; `dtype` and `row_shape` count if it has no rows."""
        path = self._folder / f"{self._count}.npy"
        self._count += 1
        return FileSink(path, dtype, row_shape=row_shape, buffer_bytes=self._buffer_bytes)


class Stores:
    """The stores of a cache folder.

    Args:
        folder: where they are.
        is_on: whether large data sets are converted, data.cache.
    """

    def __init__(self, folder: Path, *, is_on: bool = True):
        self.folder = folder
        self.is_on = is_on

    @classmethod
    def of(cls, cache: str) -> Stores:
        """Returns the stores of this user; `cache` is data.cache."""
        return cls(cache_folder() / "data", is_on=cache == "auto")

    def are_for(self, num_bytes: float) -> bool:
        """Returns whether columns of this size in memory are converted: those of more than half of what data may use.

        The raw and the encoded columns are in memory together.
        """
        return self.is_on and num_bytes > host_memory.data_bytes() / 2

    def open(
        self,
        key: Mapping[str, Any],
        *,
        title: str,
        num_bytes: float,
        num_columns: int,
        write: Callable[[StoreWriter], Columns],
    ) -> Columns:
        """Returns the columns of a store, which is written first if it isn't there, or not whole.

        Args:
            key: everything that the columns follow from, plain values.
            title: what is written, for the person.
            num_bytes: about how large it will be.
            num_columns: about how many columns it will have.
            write: writes the columns.

        Raises:
            ResourceError: the disk refuses, or has no room.
            DataError: the columns can't be read.
        """
        described = strict_json.dumps({"format": FORMAT, **key}, sort_keys=True)
        place = self.folder / hashlib.sha256(described.encode()).hexdigest()[:KEY_CHARACTERS]
        with disk.refusals(self.folder):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _allow_files(2 * num_columns)
        with self._locked(place, title):
            columns = _read(place)
            if columns is not None:
                return columns
            self._make_room(num_bytes, title)
            _tell(f"{title}: about {_size(num_bytes)} into {shown(self.folder)}, once")
            started = time.monotonic()
            self._write(place, described, write=lambda partial: write(StoreWriter(partial, num_columns)))
            _tell(f"{title}: done in {time.monotonic() - started:,.0f} s")
            columns = _read(place)
        if columns is None:
            raise ResourceError(f"{place}: what was written isn't there any more")
        return columns

    def _write(self, place: Path, described: str, *, write: Callable[[Path], Columns]) -> None:
        """Writes a store aside and renames it; nothing of it is left if that fails."""
        partial = place.with_suffix(".partial")
        _remove(place)
        _remove(partial)
        try:
            with disk.refusals(place):
                partial.mkdir(mode=0o700)
                _write_manifest(partial, described, write(partial))
                reach("store.written")
                disk.sync_folder(partial, "store")
                disk.rename(partial, place, name="store")
                disk.sync_folder(self.folder, "store")
        except BaseException:
            _remove(partial)
            raise

    @contextlib.contextmanager
    def _locked(self, place: Path, title: str) -> Iterator[None]:
        """Waits until no other process writes a store, and lets none write it."""
        with disk.refusals(place), open(place.with_suffix(".lock"), "a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                other = lock.read() or "another process"
                _tell(f"{title}: waits for {other}, which does the same")
                fcntl.flock(lock, fcntl.LOCK_EX)
            lock.truncate(0)
            lock.write(f"process {os.getpid()}")
            lock.flush()
            yield

    def _make_room(self, num_bytes: float, title: str) -> None:
        """Removes what killed processes have left, what is no longer used, and older stores if the disk needs room.

        Raises:
            ResourceError: the disk has no room.
        """
        for partial in self.folder.glob("*.partial"):
            with _if_free(partial) as is_free:
                if is_free:
                    _remove(partial)
        by_age = sorted((_last_use(place), place) for place in self.folder.glob(KEY_PATTERN))
        needed = num_bytes + ROOM_BYTES
        for used, place in by_age:
            age_seconds = time.time() - used
            has_room = shutil.disk_usage(self.folder).free >= needed
            if age_seconds > UNUSED_SECONDS or (not has_room and age_seconds > RECENT_SECONDS):
                with _if_free(place) as is_free:
                    if is_free:
                        _remove(place)
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            raise ResourceError(
                f"{self.folder}: the disk has no room. {title} needs about {_size(needed)}. Received: "
                f"{_size(free)}. XDG_CACHE_HOME names another folder; data.cache=off needs memory instead"
            )


def _write_manifest(partial: Path, described: str, columns: Columns) -> None:
    content: dict[str, Any] = {"key": json.loads(described), "columns": {}}
    for name, column in columns.items():
        content["columns"][name] = _entry(column)
    text = strict_json.dumps(content)
    digest = hashlib.sha256(text.encode()).hexdigest()
    disk.write_atomically(partial / MANIFEST, f'{{"sha256": "{digest}", "content": {text}}}\n')


def _entry(column: StoredColumn) -> dict[str, Any]:
    """Returns what the manifest says of a column. Writes its texts."""
    path = Path(column.array.path)
    entry: dict[str, Any] = {
        "file": path.name,
        "bytes": path.stat().st_size,
        "offset": column.array.offset,
        "shape": list(column.array.shape),
        "dtype": column.array.dtype.str,
        "texts": None,
    }
    if column.texts is not None:
        text = strict_json.dumps(column.texts)
        file = path.with_suffix(".json")
        disk.write_atomically(file, text)
        entry["texts"] = {"file": file.name, "sha256": hashlib.sha256(text.encode()).hexdigest()}
    if column.flat is not None:
        entry["flat"] = _entry(column.flat)
    return entry


def _read(place: Path) -> Columns | None:
    """Returns the columns of a store, or None if there is none, or one that is damaged. Marks it as used."""
    try:
        text = (place / MANIFEST).read_text()
        fields = json.loads(text)
        if hashlib.sha256(strict_json.dumps(fields["content"]).encode()).hexdigest() != fields["sha256"]:
            return None
        columns = {name: _column(place, entry) for name, entry in fields["content"]["columns"].items()}
        os.utime(place / MANIFEST)
        return columns
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _column(place: Path, entry: Mapping[str, Any]) -> StoredColumn:
    """Opens a column. Raises ValueError or OSError if a file isn't what was written."""
    path = place / entry["file"]
    if path.stat().st_size != entry["bytes"]:
        raise ValueError(f"{path}: has another size")
    array = StoredArray(str(path), entry["offset"], shape=tuple(entry["shape"]), dtype=entry["dtype"])
    array.is_kept = True
    if entry["texts"] is None:
        return StoredColumn(array, flat=_column(place, entry["flat"]) if "flat" in entry else None)
    text = (place / entry["texts"]["file"]).read_text(encoding="utf-8")
    if hashlib.sha256(text.encode()).hexdigest() != entry["texts"]["sha256"]:
        raise ValueError(f"{path}: has other texts")
    return StoredColumn(array, json.loads(text))


def _allow_files(count: int) -> None:
    """Lets the process open this many files more than programs usually do, as far as the system permits."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 1024
    if soft != resource.RLIM_INFINITY and soft < wanted:
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, limit), hard))


@contextlib.contextmanager
def _if_free(place: Path) -> Iterator[bool]:
    """Yields whether no other process writes or opens a store; none can until the context is left."""
    with open(place.with_suffix(".lock"), "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_free = True
        except BlockingIOError:
            is_free = False
        yield is_free


def _size(num_bytes: float) -> str:
    return f"{num_bytes / 2**30:,.1f} GiB" if num_bytes >= 2**30 else f"{num_bytes / 2**20:,.0f} MiB"


def _last_use(place: Path) -> float:
    with contextlib.suppress(OSError):
        return (place / MANIFEST).stat().st_mtime
    return 0.0


def _remove(place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)


def _tell(text: str) -> None:
    """Prints a line about the work; imported here, as commands that convert nothing need no Rich."""
    from tfrun.console import Terminal, say

    say(Terminal(stderr=True), text)
