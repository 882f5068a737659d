"""Checkpoints: files that hold every variable and the position of a run, whole or absent.

A checkpoint is a folder `step-000000123/` of plain files: `state.npz` (NumPy arrays by slot) and `manifest.json`
(each slot's path, shape and dtype, each file's size and SHA-256, the lengths of the run's journals). It is written
beside its place, synced and renamed (`files.disk`), so a saved checkpoint survives the process and the machine.

What the variables are is for `engine.training.state` to say.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfrun.errors import CheckpointError, ResourceError
from tfrun.files import disk, strict_json
from tfrun.files.digests import file_sha256
from tfrun.files.failpoints import reach

FORMAT = 1
STATE, MANIFEST = "state.npz", "manifest.json"
WEIGHTS = "weights.npz"  # in place of STATE once `files.retention` has freed what only training needs
PRUNED = "pruned"  # the key of a manifest's `extra` that says so
PINNED = "pinned"  # an empty file in a checkpoint; `remove_old` leaves the checkpoint alone while it is there


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read and found whole.

    Attributes:
        path: its folder.
        step: the step after which it was saved.
        slots: slot → {"path", "shape", "dtype"}.
        arrays: slot → value.
        extra: values besides the variables: lengths of the journals, the engine's mode, the data's fingerprint, and
            what `config.yaml` and `preprocessing.json` were.
        passed_over: newer checkpoints that are not whole, with the reasons.
    """

    path: Path
    step: int
    slots: dict[str, dict[str, Any]]
    arrays: dict[str, np.ndarray]
    extra: dict[str, Any]
    passed_over: list[str]

    @property
    def left_out(self) -> tuple[str, ...]:
        """The roles of the slots that pruning has freed; none for a state that training can be resumed from."""
        return tuple(self.extra.get(PRUNED, {}).get("left_out", ()))


def save(
    folder: Path,
    step: int,
    *,
    slots: Mapping[str, Mapping[str, Any]],
    arrays: Mapping[str, np.ndarray],
    extra: Mapping[str, Any],
    keep: int,
) -> Path:
    """Writes the checkpoint of a step and removes all but the newest `keep` and those that are pinned.

    Args:
        folder: the folder of the run's checkpoints.
        step: the step after which the state is saved.
        slots: slot → {"path", "shape", "dtype"}, as `State.describe` returns them.
        arrays: slot → value, as `State.read` returns them.
        extra: further values for the manifest.
        keep: the number of newest checkpoints to keep.

    Raises:
        ResourceError: the disk refuses; the earlier checkpoints are untouched.
    """
    disk.refuse_link(folder)
    temporary = folder / f".tmp-{step:09d}-{os.getpid()}"
    final = _path(folder, step)
    if final.exists():  # the same step has the same state
        return final
    try:
        temporary.mkdir(parents=True)
        reach(f"{STATE}.write", is_operation=True)
        with disk.open_file(temporary / STATE, "wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
            disk.sync(file, STATE)
        manifest = strict_json.with_nulls(
            {
                "format": FORMAT,
                "step": step,
                "slots": slots,
                "extra": dict(extra),
                "files": {
                    STATE: {"bytes": (temporary / STATE).stat().st_size, "sha256": file_sha256(temporary / STATE)}
                },
            }
        )
        with disk.open_file(temporary / MANIFEST, "wb") as file:
            disk.write(file, manifest_text(manifest).encode(), name=MANIFEST)
            disk.sync(file, MANIFEST)
        disk.sync_folder(temporary, "checkpoint")
        disk.rename(temporary, final, name="checkpoint")
        disk.sync_folder(folder, "checkpoints")
        remove_old(folder, keep)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise ResourceError(
            f"{folder}: the checkpoint of step {step} can't be written: {error.strerror or error}"
        ) from error
    return final


def at(folder: Path, step: int) -> Checkpoint:
    """Returns the checkpoint of a step. Raises OSError or ValueError if it isn't there or not whole."""
    return _read(_path(folder, step), [])


def remove_old(folder: Path, keep: int) -> None:
    """Removes all but the newest `keep` checkpoints and the pinned ones; no run may be saving there meanwhile."""
    for old in newest_first(folder)[keep:]:
        if not (old / PINNED).exists():
            remove(old)


def pin(folder: Path, step: int) -> None:
    """Protects the checkpoint of a step from `remove_old`."""
    with disk.refusals(folder), disk.open_file(_path(folder, step) / PINNED, "ab"):
        pass


def unpin(folder: Path, step: int) -> None:
    """Ends the protection: the next call of `remove_old` may remove the checkpoint."""
    (_path(folder, step) / PINNED).unlink(missing_ok=True)


def newest(folder: Path) -> Checkpoint | None:
    """Returns the newest checkpoint that is whole, or None if there is none at all.

    Raises:
        CheckpointError: there are checkpoints, and none is whole.
    """
    passed_over: list[str] = []
    for path in newest_first(folder):
        try:
            return _read(path, passed_over)
        except Exception as error:  # a damaged file may raise anything
            reason = f"{MANIFEST} lacks {error}" if isinstance(error, KeyError) else str(error) or type(error).__name__
            passed_over.append(f"{path.name}: {reason}")
    if passed_over:
        raise CheckpointError(f"{folder}: no checkpoint is whole. {'; '.join(passed_over)}")
    return None


def newest_manifest(folder: Path) -> dict[str, Any] | None:
    """Returns the manifest of the newest checkpoint whose manifest is whole, or None; `newest` reads the state too."""
    for path in newest_first(folder):
        with contextlib.suppress(Exception):  # `newest` says what is wrong with it
            return read_manifest(path)
    return None


def remove_newer(checkpoint: Checkpoint) -> None:
    """Removes the damaged checkpoints that were passed over: they would count as newer than a whole one."""
    for path in itertools.takewhile(lambda path: path != checkpoint.path, newest_first(checkpoint.path.parent)):
        remove(path)


def sweep(folder: Path) -> None:
    """Removes what killed processes left half written; call it while the run's folder is locked."""
    for pattern in (".tmp-[0-9]*-[0-9]*", ".del-step-[0-9]*"):
        for path in folder.glob(pattern):
            shutil.rmtree(path, ignore_errors=True)


def read_manifest(path: Path) -> dict[str, Any]:
    """Returns the manifest of the checkpoint in a folder. Raises an error of any kind if it isn't whole."""
    manifest: dict[str, Any] = json.loads((path / MANIFEST).read_text())
    if manifest.pop("sha256") != _manifest_sha256(manifest):
        raise ValueError(f"{MANIFEST} is damaged")
    if manifest["format"] != FORMAT:
        raise ValueError(f"its format is {manifest['format']}, not {FORMAT}")
    return manifest


def _read(path: Path, passed_over: list[str]) -> Checkpoint:
    manifest = read_manifest(path)
    name = array_file(manifest)
    file = manifest["files"][name]
    if (path / name).stat().st_size != file["bytes"] or file_sha256(path / name) != file["sha256"]:
        raise ValueError(f"{name} is damaged")
    with np.load(path / name, allow_pickle=False) as archive:
        arrays = {slot: _typed(archive[slot], entry["dtype"]) for slot, entry in manifest["slots"].items()}
    for slot, entry in manifest["slots"].items():
        if (list(arrays[slot].shape), arrays[slot].dtype.name) != (entry["shape"], entry["dtype"]):
            raise ValueError(f"{slot} isn't what {MANIFEST} says of it")
    return Checkpoint(path, manifest["step"], manifest["slots"], arrays, manifest["extra"], passed_over)


def _typed(array: np.ndarray, dtype: str) -> np.ndarray:
    """Returns an array as its type; NumPy's files don't know bfloat16, and return raw bytes for it."""
    return array.view(dtype) if array.dtype.kind == "V" else array


def _path(folder: Path, step: int) -> Path:
    return folder / f"step-{step:09d}"


def newest_first(folder: Path) -> list[Path]:
    """Returns the folders of the checkpoints, whole or not."""
    # By length first, since a name of ten digits is newer than all of nine.
    return sorted(folder.glob("step-*"), key=lambda path: (len(path.name), path.name), reverse=True)


def remove(path: Path) -> None:
    """Removes a checkpoint. Raises OSError if the disk refuses; it is there whole then."""
    # Renamed first, so that a half-removed checkpoint is never mistaken for a damaged one.
    doomed = path.with_name(f".del-{path.name}")
    disk.rename(path, doomed, name="old_checkpoint")
    reach("old_checkpoint.removal")
    shutil.rmtree(doomed, ignore_errors=True)


def array_file(manifest: Mapping[str, Any]) -> str:
    """Returns the name of the file with a checkpoint's arrays. Raises ValueError if the manifest names others."""
    if len(manifest["files"]) != 1 or not manifest["files"].keys() <= {STATE, WEIGHTS}:
        raise ValueError(f"{MANIFEST} names other files than {STATE}")
    return str(*manifest["files"])


def manifest_text(manifest: Mapping[str, Any]) -> str:
    """Returns the content of `manifest.json`, with the SHA-256 of the rest; it has no number that isn't finite."""
    return strict_json.dumps({**manifest, "sha256": _manifest_sha256(manifest)}, indent=1)


def _manifest_sha256(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
