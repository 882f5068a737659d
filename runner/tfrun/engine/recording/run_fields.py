"""The fields of `run.json`: at the start of a run, and after an error."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from tfrun.config.catalog import Catalog
from tfrun.config.directions import higher_is_better
from tfrun.config.earlier_runs import meanings
from tfrun.config.settings import Settings
from tfrun.engine.building import devices
from tfrun.errors import DivergedError, Interrupted, ResourceError, TfrunError
from tfrun.files import first_folder
from tfrun.files.masking import masked_in
from tfrun.files.provenance.git import git
from tfrun.files.provenance.versions import versions
from tfrun.files.run_json import RunJson
from tfrun.files.runs import RunFolder, now

log = logging.getLogger("tfrun")


def first_fields(
    settings: Settings,
    folder: RunFolder,
    *,
    catalog: Catalog,
    before: Mapping[str, Any] | None,
    overrides: Sequence[str],
    import_seconds: float,
) -> dict[str, Any]:
    """Returns the fields of `run.json` at the start of a run.

    Args:
        settings: the config.
        folder: the run's.
        catalog: the components that exist.
        before: the fields of a run that is resumed; None for a new run.
        overrides: the command line's.
        import_seconds: how long TensorFlow's import took.
    """
    fields = new_fields(settings, folder, catalog=catalog, overrides=overrides) | dict(before or {})
    fields |= {"status": "running", "ended": None, "error": None}
    fields |= meanings(before)
    fields |= {"versions": versions(), "git": git()}
    if before is not None:
        resumed = {"at": now(), "step": fields["step"], "overrides": list(overrides)}
        fields["resumed"] = [*before.get("resumed", []), resumed]
    fields["timing"] = fields["timing"] | {"import_seconds": round(import_seconds, 3)}
    return fields


def new_fields(settings: Settings, folder: RunFolder, *, catalog: Catalog, overrides: Sequence[str]) -> dict[str, Any]:
    """Returns the fields of `run.json` of a new run; `docs/run-folder.md` explains the keys."""
    return {
        "run_id": folder.run_id,
        "name": settings.name,
        "status": "running",
        "started": now(),
        "ended": None,
        "argv": masked_in(sys.argv),
        "overrides": list(overrides),
        "seed": settings.seed,
        "epoch": 0,
        "step": 0,
        "metrics": {},
        "best": {},
        "higher_is_better": higher_is_better(settings.metric, catalog),
        **meanings(None),
        "timing": {},
        "engine": {},
        "groups": [],
        "parameters": None,
        "data": {},
        "versions": {},
        "git": None,
        "error": None,
        "folder": first_folder.describe(folder.path),
    }


def changes(before: Mapping[str, Any], versions: Mapping[str, str]) -> list[str]:
    """Returns the versions and devices that have changed since a run began, on which its last bits depend."""
    earlier = before.get("versions") or {}
    changed = [f"{name} {earlier[name]}, now {new}" for name, new in versions.items() if earlier.get(name, new) != new]
    had, has = (before.get("engine") or {}).get("devices"), devices.device_names()
    return changed + ([f"devices {had}, now {has}"] if had and had != has else [])


def record_error(error: Exception, folder: RunFolder, *, run: RunJson, resume: bool) -> None:
    """Writes an error to `run.json`, or removes the folder of a run that has trained nothing because of a mistake."""
    may_discard = isinstance(error, TfrunError) and not resume and not folder.has_checkpoints
    if may_discard and not (run["engine"] and isinstance(error, ResourceError)):
        folder.discard()
        return
    status = {DivergedError: "diverged", Interrupted: "stopped"}.get(type(error), "failed")
    exit_code = error.exit_code if isinstance(error, TfrunError) else 1
    fields = {"type": type(error).__name__, "message": str(error), "exit_code": exit_code}
    details = error.details if isinstance(error, TfrunError) else {}
    run.update(status=status, ended=now(), error=fields | details)
    with contextlib.suppress(ResourceError):  # the disk itself may be the cause
        run.write()
    log_end(error, status)


def log_end(error: Exception, status: str) -> None:
    """Writes to the log how a run ended: with the traceback of an error, but not of a signal, which is none."""
    if isinstance(error, Interrupted):
        log.info("the run ended: %s: %s", status, error)
    else:
        log.error("the run ended: %s", status, exc_info=error)
