"""A run that begins as a copy of another one's state, to go on from there with other hyperparameters."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tfrun.errors import CheckpointError, ResourceError
from tfrun.files import checkpoints
from tfrun.files.runs import RunFolder


def begin(source: RunFolder, epoch: int, step: int, target: RunFolder, rates: Mapping[str, float]) -> None:
    """Copies what a run had at one of its checkpoints: its state and its journals. `resume` trains the copy.

    Args:
        source: the folder of the run, which may be training on.
        epoch, step: of the checkpoint.
        target: the new run's folder; `run.json` is written last, so where that is, everything is.
        rates: the new learning rates by optimizer group; the other hyperparameters are no part of the state.

    Raises:
        CheckpointError: there is no such checkpoint, or it isn't whole.
        ResourceError: the disk refuses.
    """
    try:
        saved = checkpoints.at(source.checkpoints, step)
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{source.path}: the checkpoint of step {step} can't be read: {error}") from error
    slots = {name: f"learning_rate/{name}/0000" for name in rates}
    own = {slot: np.asarray(rates[name], saved.arrays[slot].dtype) for name, slot in slots.items()}
    shutil.rmtree(target.checkpoints, ignore_errors=True)  # begun, and ended by a crash
    checkpoints.save(target.checkpoints, step, saved.slots, {**saved.arrays, **own}, saved.extra, keep=1)
    try:
        for name, length in saved.extra["journals"].items():
            _copy(source.path / name, target.path / name, length)
    except OSError as error:
        raise ResourceError(f"{target.path}: can't be written: {error.strerror or error}") from error
    branch = {"run_id": source.run_id, "epoch": epoch, "step": step}
    target.write_run({"run_id": target.run_id, "status": "stopped", "epoch": epoch, "step": step, "branch": branch})


def _copy(source: Path, target: Path, length: int) -> None:
    """Copies the first bytes of a file that only grows."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(source, "rb") as old, open(target, "wb") as new:
        new.write(old.read(length))
