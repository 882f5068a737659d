"""The fields of `run.json` at a run's start and after an error."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tfrun.config.catalog import load_catalog
from tfrun.config.settings import Settings
from tfrun.engine.building import devices
from tfrun.engine.recording.run_fields import changes, first_fields, new_fields, record_error
from tfrun.errors import ConfigError, DivergedError, Interrupted, ResourceError
from tfrun.files.run_json import RunJson
from tfrun.files.runs import RunFolder


def fields(settings: Settings, folder: RunFolder, before: dict[str, Any] | None = None) -> dict[str, Any]:
    options: dict[str, Any] = {"overrides": ["seed=3"], "import_seconds": 1.23456}
    return first_fields(settings, folder, catalog=load_catalog(), before=before, **options)


def test_a_new_run_begins_with_these_fields(settings: Callable[..., Settings], tmp_path: Path) -> None:
    first = fields(settings("name=trial", "seed=3", "metric=[mae,r2]"), RunFolder(tmp_path / "2026-01-01"))
    assert (first["run_id"], first["name"], first["status"], first["seed"]) == ("2026-01-01", "trial", "running", 3)
    assert (first["epoch"], first["step"], first["ended"], first["error"]) == (0, 0, None, None)
    assert (first["overrides"], first["timing"]) == (["seed=3"], {"import_seconds": 1.235})
    assert {"python", "tensorflow", "keras"} <= first["versions"].keys()
    assert first["higher_is_better"] == {"loss": False, "mae": False, "r2": True}
    assert "resumed" not in first


def test_a_resumed_run_keeps_its_fields(settings: Callable[..., Settings], tmp_path: Path) -> None:
    folder, chosen = RunFolder(tmp_path), settings()
    before = new_fields(chosen, folder, catalog=load_catalog(), overrides=["a=1"])
    before |= {"step": 30, "epoch": 3, "status": "failed", "error": {"type": "ValueError"}, "ended": "yesterday"}
    before |= {"resumed": [{"step": 10}], "timing": {"train_seconds": 5.0}}
    resumed = fields(chosen, folder, before)
    assert (resumed["step"], resumed["status"], resumed["error"], resumed["ended"]) == (30, "running", None, None)
    assert resumed["overrides"] == ["a=1"]
    assert [entry["step"] for entry in resumed["resumed"]] == [10, 30]
    assert resumed["resumed"][1]["overrides"] == ["seed=3"]
    assert resumed["timing"] == {"train_seconds": 5.0, "import_seconds": 1.235}


def test_changed_versions_and_devices_are_named() -> None:
    before = {"versions": {"keras": "3.1", "numpy": "2.0"}, "engine": {"devices": "GPU:0"}}
    assert changes(before, {"keras": "3.2", "numpy": "2.0", "scipy": "1"}) == [
        "keras 3.1, now 3.2",
        f"devices GPU:0, now {devices.device_names()}",
    ]
    assert changes({}, {"keras": "3.2"}) == []


@pytest.mark.parametrize(
    ("error", "status", "exit_code"),
    [
        (DivergedError("not finite", rows=[3]), "diverged", 4),
        (Interrupted(15, "stopped by SIGTERM"), "stopped", 143),
        (ResourceError("no space"), "failed", 5),
        (ZeroDivisionError("a bug"), "failed", 1),
    ],
)
def test_an_error_is_recorded(
    error: Exception, status: str, exit_code: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = RunFolder(tmp_path)
    (folder.checkpoints / "step-000000001").mkdir(parents=True)
    run = RunJson.begin(folder, {"status": "running", "engine": {"mode": "eager"}, "error": None})
    with caplog.at_level(logging.INFO, "tfrun"):
        record_error(error, folder, run=run, resume=False)
    (line,) = caplog.records
    is_signal = isinstance(error, Interrupted)
    assert (line.levelname, line.exc_info is None) == (("INFO", True) if is_signal else ("ERROR", False))
    assert line.getMessage() == f"the run ended: {status}" + (": stopped by SIGTERM" if is_signal else "")
    recorded = folder.read_run()
    assert recorded["status"] == status and recorded["ended"] is not None
    assert recorded["error"]["exit_code"] == exit_code
    assert recorded["error"]["type"] == type(error).__name__
    assert recorded["error"].get("rows") == ([3] if status == "diverged" else None)


def begin(path: Path, engine: dict[str, Any]) -> tuple[RunFolder, RunJson]:
    folder = RunFolder(path / "runs" / "name" / "1")
    folder.path.mkdir(parents=True)
    return folder, RunJson.begin(folder, {"status": "running", "engine": engine, "error": None})


def test_a_mistake_before_training_leaves_no_folder(tmp_path: Path) -> None:
    folder, run = begin(tmp_path, engine={})
    record_error(ConfigError("loss: unknown"), folder, run=run, resume=False)
    assert not folder.path.exists()


@pytest.mark.parametrize(
    ("error", "engine", "resume"),
    [
        (ConfigError("loss: unknown"), {}, True),  # the run has trained before
        (ZeroDivisionError("a bug"), {}, False),
        (ResourceError("no space"), {"mode": "eager"}, False),  # it has begun to train
    ],
)
def test_other_errors_leave_the_folder(error: Exception, engine: Any, resume: bool, tmp_path: Path) -> None:
    folder, run = begin(tmp_path, engine)
    record_error(error, folder, run=run, resume=resume)
    assert folder.read_run()["status"] == "failed"
