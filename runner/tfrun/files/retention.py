"""Frees what the checkpoints of a run that has ended no longer need, and never its best weights.

Every checkpoint holds the best weights, so the newest one is enough to evaluate, predict and export:

    keep=last       the newest checkpoint stays as it is, and the run can be resumed
    keep=best       of the newest checkpoint, the best weights stay: `weights.npz` takes the place of `state.npz`

The newest checkpoint is read and found whole before anything is removed, and the manifest that names `weights.npz`
replaces the other one atomically. So a process that is killed at any moment leaves a run that can be read, and pruning
it again removes the rest.
"""

from __future__ import annotations

import os
import shutil
import stat
import zipfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfrun.errors import CheckpointError
from tfrun.files import checkpoints, disk
from tfrun.files.checkpoints import MANIFEST, PRUNED, STATE, WEIGHTS
from tfrun.files.digests import file_sha256
from tfrun.files.failpoints import reach
from tfrun.files.runs import RunFolder, now
from tfrun.folders import shown

KEEPS = LAST, BEST = ("last", "best")
OF_TRAINING = ("optimizer", "replicas")  # roles of slots that nothing but training reads
BEHIND_THE_BEST = ("model", "average")  # roles that the best weights replace wherever a trained run is used
BEST_STEP = "best/0001"  # the slot of the step at which the best value was reached; 0 before the first epoch has ended


@dataclass(frozen=True)
class Pruning:
    """What pruning a run would do; nothing is removed until `prune` is called.

    Attributes:
        folder: the run's.
        newest: the checkpoint that stays.
        manifest: its manifest.
        older: the checkpoints that go, the oldest first.
        left_out: the roles that go from the newest; empty if it stays as it is.
        leftovers: files of the newest checkpoint that a killed process has left behind.
        best_step: the step that its best weights are from, 0 if no epoch has ended.
        freed_bytes: the sizes of all files that go, less those of the files that replace them.
    """

    folder: RunFolder
    newest: Path
    manifest: Mapping[str, Any]
    older: list[Path]
    left_out: tuple[str, ...]
    leftovers: list[Path]
    best_step: int
    freed_bytes: int

    @property
    def has_work(self) -> bool:
        return bool(self.older or self.left_out or self.leftovers)

    @property
    def kept(self) -> str:
        """What stays, for a person."""
        if not self.left_out and PRUNED not in self.manifest["extra"]:
            return f"state of step {self.manifest['step']}"
        return f"best weights, step {self.best_step}" if self.best_step else f"weights of step {self.manifest['step']}"


def plan(folder: RunFolder, keep: str) -> Pruning | None:
    """Returns what pruning a run would do, or None if it has no checkpoint.

    Args:
        folder: the run's.
        keep: one of `KEEPS`.

    Raises:
        CheckpointError: its newest checkpoint isn't whole.
        ResourceError: a folder of the checkpoints is a link, which is never followed.
    """
    disk.refuse_link(folder.checkpoints)
    paths = checkpoints.newest_first(folder.checkpoints)
    if not paths:
        return None
    for path in paths:
        disk.refuse_link(path)
    newest, *older = paths
    try:
        manifest = checkpoints.read_manifest(newest)
        name = checkpoints.array_file(manifest)
        disk.refuse_link(newest / name)
        if (newest / name).stat().st_size != manifest["files"][name]["bytes"]:
            raise ValueError(f"{name} is damaged")
        with np.load(newest / name, allow_pickle=False) as archive:
            best_step = int(archive[BEST_STEP])
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{newest}: isn't whole, so nothing is removed: {error}") from error
    left_out: tuple[str, ...] = ()
    if keep == BEST and PRUNED not in manifest["extra"]:
        left_out = (*OF_TRAINING, *(BEHIND_THE_BEST if best_step else ()))
    leftovers = [file for file in (newest / STATE, newest / WEIGHTS) if file.name != name and os.path.lexists(file)]
    freed = sum(_size(path) for path in (*older, *leftovers))
    if left_out:
        num_bytes = _slim_size(newest / name, left_out)
        slim = _slim_manifest(manifest, left_out, file={"bytes": num_bytes, "sha256": "0" * 64})
        freed += _size(newest / name) - num_bytes
        freed += _size(newest / MANIFEST) - len(checkpoints.manifest_text(slim).encode())
    return Pruning(folder, newest, manifest, older[::-1], left_out, leftovers, best_step, freed)


def prune(pruning: Pruning) -> None:
    """Removes what a plan says; the run's folder must be held since before the plan was made.

    Raises:
        CheckpointError: the newest checkpoint turns out to be damaged; nothing is removed.
        ResourceError: the disk refuses; the run can be read, and pruned again.
    """
    name = checkpoints.array_file(pruning.manifest)
    newest = pruning.newest
    with disk.refusals(pruning.folder.checkpoints):
        if file_sha256(newest / name) != pruning.manifest["files"][name]["sha256"]:
            raise CheckpointError(f"{newest}: isn't whole, so nothing is removed: {name} is damaged")
        for path in pruning.older:  # first, since on a full disk they make room for the weights
            checkpoints.remove(path)
        if pruning.left_out:
            _keep_weights(pruning)
        for path in pruning.leftovers:
            if path.name != WEIGHTS or not pruning.left_out:  # else it has just been written anew
                path.unlink()
        disk.remove_left_behind(newest)
        checkpoints.sweep(pruning.folder.checkpoints)


def refuse_pruned(folder: RunFolder) -> None:
    """Raises CheckpointError if the state of a run was freed, so that it can't be resumed."""
    manifest = checkpoints.newest_manifest(folder.checkpoints)
    if manifest is not None and PRUNED in manifest["extra"]:
        raise CheckpointError(
            f"{shown(folder.path)}: its checkpoints were pruned at {manifest['extra'][PRUNED]['at']}, so it can't be "
            "resumed: its best weights are left, and the state that training needs is gone. "
            f"A new run can begin with them: init={shown(folder.path)}"
        )


def _keep_weights(pruning: Pruning) -> None:
    """Replaces the state of a checkpoint by its best weights. Raises OSError or ResourceError."""
    newest, weights = pruning.newest, pruning.newest / WEIGHTS
    try:
        with disk.open_file(weights, "wb") as file:
            reach(f"{WEIGHTS}.write", is_operation=True)
            with zipfile.ZipFile(newest / STATE) as source, zipfile.ZipFile(file, "w") as target:
                for member in source.infolist():
                    if not _is_left_out(_slot(member), pruning.left_out):
                        with source.open(member) as old, target.open(member.filename, "w", force_zip64=True) as new:
                            shutil.copyfileobj(old, new, 2**20)
            disk.sync(file, WEIGHTS)
    except OSError:
        weights.unlink(missing_ok=True)
        raise
    file = {"bytes": weights.stat().st_size, "sha256": file_sha256(weights)}
    slim = _slim_manifest(pruning.manifest, pruning.left_out, file=file)
    disk.sync_folder(newest, "weights")
    disk.write_atomically(newest / MANIFEST, checkpoints.manifest_text(slim))
    disk.sync_folder(newest, "pruned_checkpoint")
    reach("state.removal", is_operation=True)
    (newest / STATE).unlink()


def _slim_manifest(
    manifest: Mapping[str, Any], left_out: Collection[str], *, file: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns the manifest of a checkpoint without the slots of some roles, which says so.

    Args:
        manifest: of the whole checkpoint.
        left_out: the roles.
        file: the size and SHA-256 of its `weights.npz`.
    """
    slots = manifest["slots"]
    paths = [slots[slot]["path"] for slot in sorted(slots) if _role(slot) == "model"]  # for `init.from`
    pruned = {"keep": BEST, "at": now(), "left_out": list(left_out), "model_paths": paths}
    return {
        **manifest,
        "slots": {slot: entry for slot, entry in slots.items() if not _is_left_out(slot, left_out)},
        "extra": {**manifest["extra"], PRUNED: pruned},
        "files": {WEIGHTS: dict(file)},
    }


def _slim_size(path: Path, left_out: Collection[str]) -> int:
    """Returns the size of the archive that `_keep_weights` writes; PKWARE's APPNOTE.TXT gives that of each part."""
    with zipfile.ZipFile(path) as archive:
        kept = [member for member in archive.infolist() if not _is_left_out(_slot(member), left_out)]
    return 22 + sum(member.file_size + (30 + 20) + 46 + 2 * len(member.filename.encode()) for member in kept)


def _slot(member: zipfile.ZipInfo) -> str:
    return member.filename.removesuffix(".npy")


def _role(slot: str) -> str:
    return slot.partition("/")[0]


def _is_left_out(slot: str, left_out: Collection[str]) -> bool:
    return _role(slot) in left_out


def _size(path: Path) -> int:
    """Returns the bytes in a file, or in all files of a folder; links count nothing."""
    status = path.lstat()
    if stat.S_ISDIR(status.st_mode):
        return sum(_size(Path(entry.path)) for entry in os.scandir(path))
    return status.st_size if stat.S_ISREG(status.st_mode) else 0
