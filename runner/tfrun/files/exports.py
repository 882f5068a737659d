"""Where a run's model is exported to: nothing is replaced but an earlier export of the same run."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tfrun.errors import CheckpointError, ConfigError, ResourceError
from tfrun.files import strict_json
from tfrun.files.digests import file_sha256
from tfrun.files.disk import remove_left_behind, temporary_path, write_atomically
from tfrun.files.runs import EXPORTS

RECORD = "tfrun-export.json"  # says which exports the folder holds, by name: the run, and the SHA-256 of the contents

QUANTIZATIONS = ("dynamic", "float16", "int8")
MAX_DROP = 0.01

TEMPORARY = "export"  # the name of the temporary folder beside an export, for `files.disk`


@dataclass(frozen=True)
class Quantization:
    """How an export is to be quantized.

    Attributes:
        kind: one of `QUANTIZATIONS`.
        max_drop: how much worse the run's metric may become, see `Quantized.drop`.
    """

    kind: str
    max_drop: float = MAX_DROP


@dataclass(frozen=True)
class Quantized:
    """An export that was quantized, beside the same model in float32: each pair is (in float32, quantized).

    Attributes:
        kind: one of `QUANTIZATIONS`.
        metric: the key of the run's metric that was measured, on its test rows.
        higher_is_better: whether a greater value is better; None if the metric doesn't say it.
        values: its values, computed from the predictions of the format's runtime.
        num_rows: the number of test rows.
        sizes: of the files, in bytes.
        milliseconds: what one row takes, the median of many calls on one thread.
    """

    kind: str
    metric: str
    higher_is_better: bool | None
    values: tuple[float, float]
    num_rows: int
    sizes: tuple[int, int]
    milliseconds: tuple[float, float]

    @classmethod
    def of_json(cls, entry: Mapping[str, Any]) -> Self:
        """Returns what a record says."""
        pairs: dict[str, Any] = {name: tuple(entry[name]) for name in ("values", "sizes", "milliseconds")}
        names = ("kind", "metric", "higher_is_better", "num_rows")
        return cls(**{name: entry[name] for name in names}, **pairs)

    @property
    def is_relative(self) -> bool:
        """Whether a drop is a share of the value in float32: that of a loss or an error, whose size says nothing."""
        return self.higher_is_better is not True

    @property
    def drop(self) -> float:
        """How much worse the metric became: a difference if greater is better, else a share of the float32 value."""
        before, after = self.values
        if self.higher_is_better:
            return before - after
        change = after - before
        worse = change if self.higher_is_better is False else abs(change)
        return worse / abs(before) if before else (0.0 if worse == 0 else math.inf)


@dataclass(frozen=True)
class Checked:
    """The results of comparing an export with its run in a clean process.

    Attributes:
        num_rows: the number of raw rows.
        difference: the largest one between a prediction of the export and one of the run.
        predicts_target: whether the model learns the data's target, so that the export gives it in its own unit.
        quantized: what quantizing has changed, see `Quantized`; None for an export with the run's own weights.
    """

    num_rows: int
    difference: float
    predicts_target: bool = True
    quantized: Quantized | None = None


@dataclass(frozen=True)
class Export:
    """A run's model in one format, in a folder.

    Attributes:
        format: one of `EXPORTS`.
        folder: the folder to write it into.
        run_id: the run's.
        is_own_folder: whether the folder is the run's own; exports of earlier versions have no record there.
        place: the path of the file or folder below `folder`; empty for that of the format in `EXPORTS`.
    """

    format: str
    folder: Path
    run_id: str
    is_own_folder: bool
    place: str = ""

    @property
    def key(self) -> str:
        """The path below the folder, by which the record names it."""
        return self.place or EXPORTS[self.format]

    @property
    def path(self) -> Path:
        """The file, or the folder of a SavedModel."""
        return self.folder / self.key

    def refuse_to_replace(self) -> None:
        """Raises an error if there is something else than an unchanged export of the same run.

        Raises:
            ConfigError: it is a file that tfrun hasn't written, or that was changed since, or the version of a model.
            CheckpointError: it is the record in the run's own folder, damaged.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise ConfigError(f"out: must be a folder. Received: {str(self.folder)!r}")
        remedy = "Remove it, or name another folder with out="
        record = self.folder / RECORD
        if os.path.lexists(record) and not self.recorded():
            if self.is_own_folder:
                raise CheckpointError(f"{record}: is damaged. {remedy}")
            raise ConfigError(f"out: {record} exists, and isn't what tfrun writes. {remedy}")
        if not os.path.lexists(self.path):
            return
        if self.format == "serving":  # whose place was a new one, see `new_version`
            raise ConfigError(f"version: {self.path} is of another export that ended meanwhile. Export again")
        recorded = self.recorded().get(self.key)
        if recorded is None and self.is_own_folder and not self.path.is_symlink():
            return
        if recorded is None or (recorded["run_id"] != self.run_id and not self.is_own_folder):  # it may be renamed
            raise ConfigError(f"out: {self.path} exists, and is no export of this run. {remedy}")
        if self.path.is_symlink() or recorded["sha256"] != _sha256(self.path):
            raise ConfigError(f"out: {self.path} has been changed since it was exported. {remedy}")

    @contextlib.contextmanager
    def replaced(self, step: int) -> Iterator[Path]:
        """Yields a folder to write the export into, as `EXPORTS` names it; without an error, it then takes its place.

        Args:
            step: of the checkpoint that is exported, for the record.

        Raises:
            ConfigError: what may not be replaced has come there meanwhile, see `refuse_to_replace`.
            ResourceError: the disk refuses.
        """
        temporary = temporary_path(self.folder / TEMPORARY)
        remove_left_behind(self.folder, TEMPORARY)
        written = temporary / EXPORTS[self.format]
        try:
            temporary.mkdir(parents=True)
            yield temporary
            recorded = {"run_id": self.run_id, "step": step, "sha256": _sha256(written)}
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.refuse_to_replace()
            if self.path.is_dir():
                os.replace(self.path, temporary / "replaced")
            os.replace(written, self.path)
        except OSError as error:
            reason = error.strerror or error
            raise ResourceError(f"{self.path}: can't be written: {reason}. out=FOLDER names another folder") from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        self.record(self.key, recorded)

    def record(self, name: str, fields: Mapping[str, Any]) -> None:
        """Writes fields of a file into the folder's record, beside those that it has. Raises ResourceError."""
        with _only_one_at_a_time(self.folder):
            recorded = self.recorded()
            entry = {**recorded.get(name, {}), **fields}
            write_atomically(self.folder / RECORD, strict_json.dumps(recorded | {name: entry}, indent=1) + "\n")

    def recorded(self) -> dict[str, Any]:
        """Returns what the folder's record says; an empty mapping if there is none that can be read."""
        try:
            recorded = json.loads((self.folder / RECORD).read_text())
        except (OSError, ValueError):
            return {}
        if not isinstance(recorded, dict):
            return {}
        is_record = all(isinstance(entry, dict) and {"run_id", "sha256"} <= entry.keys() for entry in recorded.values())
        return recorded if is_record else {}


@contextlib.contextmanager
def _only_one_at_a_time(folder: Path) -> Iterator[None]:
    """Waits while another process is in this context with the same folder, where the file system has locks."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)


def _sha256(path: Path) -> str:
    """Returns the SHA-256 of a file's contents, or of the names and contents of a folder's files."""
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            digest.update(f"{file.relative_to(path)}\0{file.stat().st_size}\0".encode())
            digest.update(bytes.fromhex(file_sha256(file)))
    return digest.hexdigest()
