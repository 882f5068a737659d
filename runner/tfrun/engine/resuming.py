"""The checkpoint from which a run is resumed, and whether it still fits the run's data and config."""

from __future__ import annotations

from dataclasses import replace

from rich.console import Console

from tfrun.config import untouched
from tfrun.config.settings import Settings
from tfrun.console import say
from tfrun.engine.building.pieces import Pieces
from tfrun.errors import CheckpointError
from tfrun.files import checkpoints
from tfrun.files.run_json import RunJson
from tfrun.files.runs import RunFolder
from tfrun.folders import shown


def newest_checkpoint(
    folder: RunFolder, pieces: Pieces, *, run: RunJson, settings: Settings, console: Console
) -> checkpoints.Checkpoint | None:
    """Returns the newest whole checkpoint of a run, and prints which one it is; None if there is none yet.

    Args:
        folder: the run's.
        pieces: the run's, over the data as they are now.
        run: the fields of `run.json`.
        settings: the config.
        console: where to print.

    Raises:
        CheckpointError: the data, the config or the preprocessing isn't what the run began with.
    """
    checkpoints.sweep(folder.checkpoints)
    restored = checkpoints.newest(folder.checkpoints)
    if restored is None:
        _check_data(pieces, run["data"].get("fingerprint"))
        say(console, "no checkpoint yet: starting from the first step")
        return None
    _check_data(pieces, restored.extra["fingerprint"])
    fields = pieces.examples.preprocessing.to_fields()
    untouched.check(restored.extra, folder, step=restored.step, settings=settings, preprocessing=fields)
    for line in restored.passed_over:
        say(console, f"passed over {line}")
    say(console, f"resuming from {shown(restored.path)}")
    return restored


def without_source(settings: Settings, folder: RunFolder) -> Settings:
    """Returns the settings of a run that is resumed: its weights are in its checkpoint, so the source may be gone."""
    return replace(settings, init=replace(settings.init, source=str(folder.path), reads_weights=False))


def _check_data(pieces: Pieces, trained_on: str | None) -> None:
    """Raises CheckpointError if the data isn't what the run began with; None if it has never read its data."""
    fingerprint = pieces.examples.fingerprint
    if trained_on not in (None, fingerprint):
        raise CheckpointError(
            f"{pieces.table.source}: its contents have changed since the run was trained on it. "
            f"Fingerprint then: {trained_on}, now: {fingerprint}. Other data need a new run"
        )
