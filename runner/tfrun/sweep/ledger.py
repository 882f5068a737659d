"""`trials.jsonl`: what a sweep is, and at any moment the state of each of its trials.

A line for each thing that happened, synced before the sweep goes on; the last line about a trial is its state:

    {"sweep": {"overrides": [...], "swept": [...], "sources": {...}}}
    {"trial": 0, "state": "waiting", "overrides": [...]}
    {"trial": 0, "state": "running", "at": "2026-11-21T22:40:05+01:00"}
    {"trial": 0, "state": "completed", "at": ..., "value": 0.2811}
    {"trial": 8, "state": "waiting", "overrides": [...], "branch": {"from": 3, "epoch": 4, "replaces": 0}}

States are `waiting`, `running` and those of `run.json`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfrun.errors import CheckpointError, ResourceError
from tfrun.files import disk
from tfrun.files.runs import LEDGER, now


@dataclass(frozen=True)
class Trial:
    """A trial as its last line has it.

    Attributes:
        number, state, overrides: its own.
        branch: where its state came from, if it took over another one's: `from`, `epoch`, and which one it `replaces`.
    """

    number: int
    state: str
    overrides: list[str]
    branch: dict[str, int] | None = None


class Ledger:
    """The ledger of the sweep in `folder`, which the caller holds."""

    def __init__(self, folder: Path):
        self._path = folder / LEDGER

    def begin(self, sweep: dict[str, Any]) -> None:
        """Writes what the sweep is."""
        self._write([{"sweep": sweep}])

    def add(self, jobs: Sequence[tuple[int, Sequence[str]]], **more: Any) -> None:
        """Takes new trials: their numbers and overrides, and what else there is to say of them."""
        self._write([{"trial": k, "state": "waiting", "overrides": list(overrides), **more} for k, overrides in jobs])

    def note(self, number: int, state: str, **more: Any) -> None:
        """Takes a trial's new state."""
        self._write([{"trial": number, "state": state, "at": now(), **more}])

    def read(self) -> tuple[dict[str, Any], list[Trial]]:
        """Returns what the sweep is, and its trials by number.

        Raises:
            CheckpointError: it isn't a ledger; a last line that was cut off by a crash counts as not written.
        """
        sweep: dict[str, Any] = {}
        trials: dict[int, Trial] = {}
        try:
            lines = self._path.read_bytes().split(b"\n")[:-1]
            for line in lines:
                entry = json.loads(line)
                if "sweep" in entry:
                    sweep |= entry["sweep"]
                    continue
                number = entry["trial"]
                known = trials.get(number)
                overrides = entry.get("overrides") or (known.overrides if known else [])
                branch = entry.get("branch") or (known.branch if known else None)
                trials[number] = Trial(number, str(entry["state"]), [str(text) for text in overrides], branch)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{self._path}: can't be read as a sweep's ledger: {error}") from error
        if not sweep:
            raise CheckpointError(f"{self._path}: says of no sweep what it is")
        return sweep, [trials[number] for number in sorted(trials)]

    def _write(self, entries: Sequence[dict[str, Any]]) -> None:
        try:
            with self._opened() as file:
                disk.write(file, b"".join(json.dumps(entry).encode() + b"\n" for entry in entries), "trials")
                disk.sync(file, "trials")
        except OSError as error:
            raise ResourceError(f"{self._path}: can't be written: {error.strerror or error}") from error

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        with open(self._path, "a+b") as file:
            size = file.seek(0, 2)
            if size:
                file.seek(max(0, size - 2**16))
                tail = file.read()
                file.truncate(size - len(tail) + tail.rfind(b"\n") + 1)  # what a crash cut off
                size = file.seek(0, 2)
            try:
                yield file
            except OSError:
                file.truncate(size)  # no half line
                raise
