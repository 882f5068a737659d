"""`trials.jsonl`: the command of a sweep and, at any moment, the state of each of its trials.

Each event is one line, synced to disk before the sweep continues. The last line about a trial is its state:

    {"sweep": {"overrides": [...], "swept": [...], "sources": {...}}}
    {"trial": 0, "state": "waiting", "overrides": [...]}
    {"trial": 0, "state": "running", "at": "2026-11-21T22:40:05+01:00"}
    {"trial": 0, "state": "completed", "at": ..., "value": 0.2811}
    {"trial": 8, "state": "waiting", "overrides": [...], "branch": {"from": 3, "epoch": 4, "replaces": 0}}

A state is `waiting`, `running` or a status of `run.json`.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from tfrun.errors import CheckpointError
from tfrun.files import disk, strict_json
from tfrun.files.runs import LEDGER, RunFolder, now
from tfrun.folders import shown


@dataclass(frozen=True)
class Trial:
    """A trial as its last line describes it.

    Attributes:
        number: the number of its job.
        state: `waiting`, `running` or a status of `run.json`.
        overrides: of its job.
        branch: for a job that copied another one's state: `from`, `epoch`, `generation`, and the member that it
            `replaces`.
    """

    number: int
    state: str
    overrides: list[str]
    branch: dict[str, int] | None = None


HEADER_KINDS = {"overrides": list, "swept": list, "sources": dict, "threads": int | None, "earlier_words": list}


class Ledger:
    """The ledger of the sweep in `folder`, which the caller holds."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._path = folder / LEDGER

    def has_trials(self) -> bool:
        """Returns whether the sweep has begun, so that its ledger has jobs. Raises CheckpointError if it is damaged."""
        with contextlib.suppress(FileNotFoundError):
            return self._path.read_bytes().count(b"\n") > 1 and bool(self.read()[1])
        return False

    def write_header(self, sweep: dict[str, Any]) -> None:
        """Writes the command of the sweep and the keys that it sweeps."""
        self._write([{"sweep": sweep}])

    def add(self, jobs: Sequence[tuple[int, Sequence[str]]], branch: dict[str, int] | None = None) -> None:
        """Writes new trials: their numbers and overrides, and the branch that they start from, if any."""
        extra = {} if branch is None else {"branch": branch}
        self._write(
            [{"trial": number, "state": "waiting", "overrides": list(overrides), **extra} for number, overrides in jobs]
        )

    def record_state(self, number: int, state: str) -> None:
        """Writes a trial's new state."""
        self._write([{"trial": number, "state": state, "at": now()}])

    def record_end(self, number: int, state: str, *, value: float | None) -> None:
        """Writes a trial's last state and its best value."""
        self._write([{"trial": number, "state": state, "at": now(), "value": value}])

    def record_missing_ends(self, trials: Sequence[Trial]) -> None:
        """Writes the ends that only `run.json` knows: another launcher ran the job, or the sweep was killed."""
        for trial in trials:
            status = RunFolder(self._folder / str(trial.number)).read_run().get("status")
            if status and trial.state != status:
                self.record_state(trial.number, status)

    def read(self) -> tuple[dict[str, Any], list[Trial]]:
        """Returns the header, and the trials sorted by number. A last line that a crash cut off is ignored.

        Raises:
            CheckpointError: the file is not a ledger.
        """
        header: dict[str, Any] = {}
        trials: dict[int, Trial] = {}
        try:
            lines = self._path.read_bytes().split(b"\n")[:-1]
        except OSError as error:
            raise CheckpointError(f"{self._path}: can't be read: {error.strerror}") from error
        for count, line in enumerate(lines, start=1):
            try:
                _read_line(line, header, trials=trials)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                text = line[:60].decode(errors="replace")
                raise CheckpointError(
                    f"{self._path}:{count}: not a line of a sweep's ledger. Received: {text!r}. Without it the sweep "
                    f"can't be resumed, but its jobs can: tfrun resume {shown(self._folder)}/<number>"
                ) from None
        if not header:
            raise CheckpointError(f'{self._path}: has no {{"sweep": …}} line')
        return header, [trials[number] for number in sorted(trials)]

    def _write(self, entries: Sequence[dict[str, Any]]) -> None:
        lines = [strict_json.dumps(entry).encode() + b"\n" for entry in entries]
        with disk.refusals(self._path), self._opened() as file:
            disk.write(file, b"".join(lines), name="trials")
            disk.sync(file, "trials")

    @contextlib.contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        """Opens the file for appending, without the half line that a crash may have left at its end."""
        with disk.open_file(self._path, "a+b") as file:
            size = file.seek(0, 2)
            if size:
                file.seek(max(0, size - 2**16))
                tail = file.read()
                file.truncate(size - len(tail) + tail.rfind(b"\n") + 1)
                size = file.seek(0, 2)
            try:
                yield file
            except OSError:
                file.truncate(size)  # don't leave a half line
                raise


def _read_line(line: bytes, header: dict[str, Any], *, trials: dict[int, Trial]) -> None:
    """Adds what a line says to the header or to the trials. Raises ValueError or another error if it says nothing."""
    entry = json.loads(line)
    if "sweep" in entry:
        for key, kind in HEADER_KINDS.items():
            if key in entry["sweep"] and not isinstance(entry["sweep"][key], kind):
                raise ValueError(key)
        header |= entry["sweep"]
        return
    number = entry["trial"]
    known = trials.get(number)
    overrides = entry.get("overrides") or (known.overrides if known else [])
    branch = entry.get("branch") or (known.branch if known else None)
    if not isinstance(number, int) or not isinstance(overrides, list) or not isinstance(branch, dict | None):
        raise ValueError(number)
    trials[number] = Trial(number, str(entry["state"]), [str(text) for text in overrides], branch)
