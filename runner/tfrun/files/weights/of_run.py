"""The weights of an earlier run, from its newest checkpoint."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfrun.errors import CheckpointError
from tfrun.files import checkpoints, digests
from tfrun.files.checkpoints import PRUNED
from tfrun.files.runs import RunFolder
from tfrun.files.weights.source import BY_PATH, StoredArray, WeightSource, numbered

BEST_STEP = "best/0001"  # the slot of the step at which the best value was reached; the best weights come last


def read(folder: RunFolder, *, take: str) -> WeightSource:
    """Returns a run's weights.

    Args:
        folder: the run's.
        take: `best` for those of its best epoch, or `last` for those of its newest checkpoint. A run without a whole
            epoch has no others than the last ones.

    Raises:
        CheckpointError: it has no checkpoint that is whole, or what it learnt from its rows has been changed since.
    """
    folder.require_checkpoints()
    saved = checkpoints.newest(folder.checkpoints)
    assert saved is not None
    paths = {slot: str(entry["path"]) for slot, entry in sorted(saved.slots.items()) if slot.startswith("model/")}
    if "model" in saved.left_out:  # the best weights are all that is left
        if take == "last":
            raise CheckpointError(
                f"init.take: the checkpoints of {folder.path} were pruned, and only its best weights are left. "
                "Received: 'last'. init.take=best takes those"
            )
        paths = {f"model/{k:04d}": str(path) for k, path in enumerate(saved.extra[PRUNED]["model_paths"])}
    best = sorted(slot for slot in saved.slots if slot.startswith("best/"))
    if not paths or len(best) < len(paths):
        raise CheckpointError(f"init.from: {saved.path} holds no weights of a model")
    best_step = int(saved.arrays[BEST_STEP])
    takes_best = take == "best" and best_step > 0
    slots = best[-len(paths) :] if takes_best else list(paths)
    arrays = [
        _stored(path, saved.arrays[slot], str(saved.slots[slot]["dtype"]))
        for path, slot in zip(numbered(list(paths.values())), slots, strict=True)
    ]
    run = folder.read_run()
    facts: dict[str, Any] = {
        "run_id": run.get("run_id", folder.run_id),
        "take": "best" if takes_best else "last",
        "step": best_step if takes_best else saved.step,
    }
    preprocessing = folder.read_preprocessing()
    if changed := digests.changed(saved.extra.get("preprocessing", {}), preprocessing):
        raise CheckpointError(
            f"{folder.preprocessing_json}: has been changed since the weights were saved: {', '.join(changed)}"
        )
    return WeightSource(folder.path, "run", arrays, facts, preprocessing)


def _stored(path: str, array: np.ndarray, dtype: str) -> StoredArray:
    return StoredArray({BY_PATH: path}, tuple(array.shape), dtype, lambda: array)
