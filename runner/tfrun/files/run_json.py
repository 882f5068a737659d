"""`run.json` of a run that is training: its fields, owned by one object that several threads may use."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from tfrun.files.runs import RunFolder

# the keys that say what a run means by its config (`config.earlier_runs`); a copy of its state means the same
MEANINGS = SCHEDULE_END, OFFSETS, DATES, EPOCH_ROWS, TABLE_UPDATES, IDLE_LAYERS = (
    "schedule_end",
    "offsets",
    "dates",
    "epoch_rows",
    "table_updates",
    "idle_layers",
)


def is_of_earlier_version(run: Mapping[str, Any]) -> bool:
    """Returns whether an earlier version has begun a run: its `run.json` lacks an entry that says what it means."""
    return "step" in run and any(key not in run for key in MEANINGS)


class RunJson(Mapping[str, Any]):
    """The fields of a run's `run.json`, read like a mapping; `docs/run-folder.md` explains the keys.

    The training thread and the background thread both change the fields, so every change and every read holds a lock.
    What is read is a copy: the fields change through `update`, `merge` and `append` only, and the file through `write`.
    """

    def __init__(self, folder: RunFolder, fields: Mapping[str, Any]):
        self._folder = folder
        self._fields = copy.deepcopy(dict(fields))
        self._lock = threading.Lock()
        # A second lock, so that nobody who only reads a field waits for the disk.
        self._write_lock = threading.Lock()

    @classmethod
    def begin(cls, folder: RunFolder, fields: Mapping[str, Any]) -> RunJson:
        """Writes the fields as the folder's `run.json` and returns them.

        Raises:
            ResourceError: the disk refuses.
        """
        run = cls(folder, fields)
        run.write()
        return run

    def __getitem__(self, key: str) -> Any:
        with self._lock:
            return copy.deepcopy(self._fields[key])

    def __iter__(self) -> Iterator[str]:
        return iter(self.to_dict())

    def __len__(self) -> int:
        with self._lock:
            return len(self._fields)

    def to_dict(self) -> dict[str, Any]:
        """Returns a copy of all fields, as they are at one moment."""
        with self._lock:
            return copy.deepcopy(self._fields)

    def update(self, **changes: Any) -> None:
        """Sets fields, all of them at one moment."""
        with self._lock:
            self._fields.update(copy.deepcopy(changes))

    def merge(self, key: str, changes: Mapping[str, Any]) -> None:
        """Sets entries of a field that is a mapping, for example `timing`; its other entries stay."""
        with self._lock:
            self._fields[key] = {**self._fields.get(key, {}), **copy.deepcopy(dict(changes))}

    def append(self, key: str, item: Any) -> None:
        """Adds an item to a field that is a list, for example `rollbacks`; the list begins where there is none."""
        with self._lock:
            self._fields[key] = [*self._fields.get(key, []), copy.deepcopy(item)]

    def write(self) -> None:
        """Replaces the file atomically by the fields as they are now; a later call never loses to an earlier one.

        Raises:
            ResourceError: the disk refuses; the old file is untouched.
        """
        with self._write_lock:
            self._folder.write_run(self.to_dict())
