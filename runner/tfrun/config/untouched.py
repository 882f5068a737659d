"""Checks that the config and the preprocessing of a run are those that a checkpoint of it was saved with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfrun.config.catalog import Catalog
from tfrun.config.changes import changed_since, describe
from tfrun.config.schema import build_settings
from tfrun.config.settings import Settings
from tfrun.errors import CheckpointError
from tfrun.files import checkpoints, digests
from tfrun.files.runs import RunFolder


def check_files(folder: RunFolder, config: dict[str, Any], *, catalog: Catalog) -> None:
    """Raises CheckpointError if someone has changed a file that the newest state belongs to.

    Args:
        folder: the run's.
        config: its `config.yaml`.
        catalog: the components that exist.
    """
    manifest = checkpoints.newest_manifest(folder.checkpoints)
    if manifest is None or not manifest["extra"].keys() & {"config", "preprocessing"}:
        return
    settings = build_settings(config, catalog, reads_data=False)
    fields = folder.read_preprocessing() if folder.preprocessing_json.exists() else None
    check(manifest["extra"], folder, step=manifest["step"], settings=settings, preprocessing=fields)


def check(
    saved: Mapping[str, Any],
    folder: RunFolder,
    *,
    step: int,
    settings: Settings,
    preprocessing: Mapping[str, Any] | None,
) -> None:
    """Raises CheckpointError if a state belongs to another config or preprocessing.

    Checkpoints of earlier versions don't say what they were. Keys that `resume` may change are not compared.

    Args:
        saved: `extra` of the checkpoint's manifest.
        folder: the run's.
        step: the checkpoint's.
        settings: the config now.
        preprocessing: the content of `preprocessing.json` now; None if there is none.
    """
    changes = changed_since(saved["config"], settings) if "config" in saved else {}
    if changes:
        raise _changed(folder.config_yaml, describe(changes), step)
    for path in digests.changed_files(saved.get(digests.MODEL_FILES, {})):
        raise CheckpointError(
            f"{path}: has been changed since the checkpoint of step {step} was saved. The run's model is read from it"
        )
    if preprocessing is not None and (paths := digests.changed(saved.get("preprocessing", {}), preprocessing)):
        raise _changed(folder.preprocessing_json, ", ".join(paths), step)


def _changed(file: Path, changes: str, step: int) -> CheckpointError:
    return CheckpointError(
        f"{file}: has been changed since the checkpoint of step {step} was saved, and its state belongs to what was "
        f"there: {changes}. Change that back; anything else is a new run"
    )
