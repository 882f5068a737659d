"""Where a run's model is exported to: nothing is replaced but an earlier export of the same run."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfrun.errors import CheckpointError, ConfigError, ResourceError
from tfrun.files import strict_json
from tfrun.files.digests import file_sha256
from tfrun.files.disk import remove_left_behind, temporary_path, write_atomically
from tfrun.files.runs import EXPORTS

RECORD = "tfrun-export.json"  # says which exports the folder holds, by name: the run, and the SHA-256 of the contents

TEMPORARY = "export"  # the name of the temporary folder beside an export, for `files.disk`


@dataclass(frozen=True)
class Checked:
    """What comparing an export with its run, in a clean process, has given.

    Attributes:
        num_rows: the number of raw rows.
        difference: the largest one between a prediction of the export and one of the run.
        predicts_target: whether the model learns the data's target, so that the export gives it in its own unit.
    """

    num_rows: int
    difference: float
    predicts_target: bool = True


@dataclass(frozen=True)
class Export:
    """A run's model in one format, in a folder.

    Attributes:
        format: one of `EXPORTS`.
        folder: the folder to write it into.
        run_id: the run's.
        is_own_folder: whether the folder is the run's own; exports of earlier versions have no record there.
    """

    format: str
    folder: Path
    run_id: str
    is_own_folder: bool

    @property
    def path(self) -> Path:
        """The file, or the folder of a SavedModel."""
        return self.folder / EXPORTS[self.format]

    def refuse_to_replace(self) -> None:
        """Raises an error if there is something else than an unchanged export of the same run.

        Raises:
            ConfigError: it is a file that tfrun hasn't written, or that was changed since.
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
        recorded = self.recorded().get(self.path.name)
        if recorded is None and self.is_own_folder and not self.path.is_symlink():
            return
        if recorded is None or (recorded["run_id"] != self.run_id and not self.is_own_folder):  # it may be renamed
            raise ConfigError(f"out: {self.path} exists, and is no export of this run. {remedy}")
        if self.path.is_symlink() or recorded["sha256"] != _sha256(self.path):
            raise ConfigError(f"out: {self.path} has been changed since it was exported. {remedy}")

    @contextlib.contextmanager
    def replaced(self, step: int) -> Iterator[Path]:
        """Yields a folder to write the export into; without an error, it then takes the place of an earlier one.

        Args:
            step: of the checkpoint that is exported, for the record.

        Raises:
            ResourceError: the disk refuses.
        """
        temporary = temporary_path(self.folder / TEMPORARY)
        remove_left_behind(self.folder, TEMPORARY)
        written = temporary / self.path.name
        try:
            temporary.mkdir(parents=True)
            yield temporary
            recorded = {"run_id": self.run_id, "step": step, "sha256": _sha256(written)}
            if self.path.is_dir():
                os.replace(self.path, temporary / "replaced")
            os.replace(written, self.path)
        except OSError as error:
            reason = error.strerror or error
            raise ResourceError(f"{self.path}: can't be written: {reason}. out=FOLDER names another folder") from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        self.record(self.path.name, recorded)

    def record(self, name: str, fields: Mapping[str, Any]) -> None:
        """Writes fields of a file into the folder's record, beside those that it has. Raises ResourceError."""
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


def _sha256(path: Path) -> str:
    """Returns the SHA-256 of a file's contents, or of the names and contents of a folder's files."""
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            digest.update(f"{file.relative_to(path)}\0{file.stat().st_size}\0".encode())
            digest.update(bytes.fromhex(file_sha256(file)))
    return digest.hexdigest()
