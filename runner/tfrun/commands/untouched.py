"""Checks that `config.yaml` and `preprocessing.json` of a run are those that its newest checkpoint was saved with."""

from __future__ import annotations

from typing import Any

from tfrun.config.catalog import Catalog
from tfrun.config.changes import changed_since, describe
from tfrun.config.schema import build_settings
from tfrun.errors import CheckpointError
from tfrun.files import checkpoints, digests
from tfrun.files.runs import RunFolder


def check(folder: RunFolder, config: dict[str, Any], *, catalog: Catalog) -> None:
    """Raises CheckpointError if someone has changed a file that the state belongs to.

    Checkpoints of earlier versions don't say what the files were. Keys that `resume` may change are not compared.

    Args:
        folder: the run's.
        config: its `config.yaml`.
        catalog: the components that exist.
    """
    manifest = checkpoints.newest_manifest(folder.checkpoints)
    extra = manifest["extra"] if manifest else {}
    if "config" in extra:
        settings = build_settings(config, catalog, reads_data=False)
        if changes := changed_since(extra["config"], settings):
            raise _touched(folder.config_yaml, describe(changes), manifest)
    if "preprocessing" in extra and folder.preprocessing_json.exists():
        paths = digests.changed(extra["preprocessing"], folder.read_preprocessing())
        if paths:
            raise _touched(folder.preprocessing_json, ", ".join(paths), manifest)


def _touched(file: Any, changes: str, manifest: Any) -> CheckpointError:
    return CheckpointError(
        f"{file}: has been changed since the checkpoint of step {manifest['step']} was saved, and its state belongs to "
        f"what was there: {changes}. Change that back; anything else is a new run"
    )
