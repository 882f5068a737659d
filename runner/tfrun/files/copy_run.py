"""Begins a run as a copy of another run's checkpoint; it is then resumed with other hyperparameters."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfrun.errors import CheckpointError
from tfrun.files import checkpoints, disk
from tfrun.files.journals import under_words
from tfrun.files.run_json import MEANINGS
from tfrun.files.runs import RunFolder


def begin(
    source: RunFolder,
    epoch: int,
    *,
    step: int,
    target: RunFolder,
    rates: Mapping[str, float],
    config: Mapping[str, Any],
    words: str = "",
) -> None:
    """Copies the state and the journals that a run had at one of its checkpoints. Resuming the copy trains it.

    Args:
        source: the folder of the run, which may still be training.
        epoch: the checkpoint's epoch.
        step: the checkpoint's step.
        target: the new run's folder; `run.json` is written last, so if that is there, everything is.
        rates: the new learning rates by optimizer group; other hyperparameters are not part of the state.
        config: the new run's config, for the manifest.
        words: what the new run trains, for its name in TensorBoard.

    Raises:
        CheckpointError: there is no such checkpoint, or it isn't whole.
        ResourceError: the disk refuses.
    """
    try:
        saved = checkpoints.at(source.checkpoints, step)
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{source.path}: the checkpoint of step {step} can't be read: {error}") from error
    arrays = dict(saved.arrays)
    for name, rate in rates.items():
        slot = f"learning_rate/{name}/0000"
        arrays[slot] = np.asarray(rate, saved.arrays[slot].dtype)
    shutil.rmtree(target.checkpoints, ignore_errors=True)  # an earlier call may have been killed here
    lengths = saved.extra["journals"]
    copied = {under_words(name, words): length for name, length in lengths.items()}
    extra = {**saved.extra, "config": config, "journals": copied}
    checkpoints.save(target.checkpoints, step, slots=saved.slots, arrays=arrays, extra=extra, keep=1)
    with disk.refusals(target.path):
        for name, length in lengths.items():
            _copy(source.path / name, target.path / under_words(name, words), length=length)
    branch = {"run_id": source.run_id, "epoch": epoch, "step": step}
    fields = {"run_id": target.run_id, "status": "stopped", "epoch": epoch, "step": step, "branch": branch}
    run = source.read_run()
    target.write_run(fields | {key: run[key] for key in MEANINGS if key in run})


def _copy(source: Path, target: Path, *, length: int) -> None:
    """Copies the first `length` bytes of a file that only grows."""
    disk.refuse_link(target.parent)
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(source, "rb") as old, disk.open_file(target, "wb") as new:
        new.write(old.read(length))
