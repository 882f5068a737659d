"""Jobs as data, their folders, and which of them can share a program."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tfrun.errors import DataError
from tfrun.sweep.jobs import Job, JobFolder, structure_of


@pytest.fixture(scope="module")
def job(settings: Callable[..., Any]) -> Job:
    checked = settings("trainer.max_epochs=2")
    return Job(3, JobFolder(Path("3")), ["seed=1", "name=x"], {"seed": 1}, checked, {}, "structure")


def test_a_job_is_named_by_what_differs(job: Job) -> None:
    assert job.label == "#3 seed=1"


def test_jobs_of_one_structure_and_length_can_be_trained_together(
    job: Job, settings: Callable[..., Any], tmp_path: Path
) -> None:
    def changed(**changes: Any) -> Job:
        return Job(**{**vars(job), **changes})

    assert job.is_like(changed(number=4, overrides=["seed=2"]))
    assert not job.is_like(changed(structure="another"))
    assert not job.is_like(changed(settings=settings("trainer.max_epochs=3")))
    folds = [changed(settings=settings("trainer.max_epochs=2", "data.folds=2", f"data.fold={k}")) for k in range(2)]
    assert folds[0].is_like(folds[0]) and not folds[0].is_like(folds[1])  # of other rows
    resumed = job.within(tmp_path).resumed()
    assert job.is_like(resumed)
    resumed.folder.path.mkdir()
    resumed.folder.write_run({"status": "stopped"})
    assert not job.is_like(resumed)


def test_the_files_of_a_job_name_its_folder(job: Job, tmp_path: Path) -> None:
    hydra = {"hydra": {"sweep": {"dir": "?"}, "runtime": {"output_dir": "?"}}}
    written = Job(**{**vars(job), "files": {".hydra/hydra.yaml": hydra, "config.yaml": {"a": 1}}}).within(tmp_path)
    written.folder.path.mkdir()
    written.write_files()
    assert (tmp_path / "3" / "config.yaml").read_text() == "a: 1\n"
    text = (tmp_path / "3" / ".hydra" / "hydra.yaml").read_text()
    assert f"dir: {tmp_path}\n" in text and f"output_dir: {tmp_path / '3'}\n" in text


def test_auto_stays_what_it_has_become_when_a_job_goes_on(job: Job, tmp_path: Path) -> None:
    """A population copies a member that goes on at the same moment, and reads its config."""
    hydra: dict[str, Any] = {"hydra": {"sweep": {}, "runtime": {}}}
    composed = {"loss": {"name": "auto"}, "metric": {"auto": {}}, "trainer": {"max_epochs": "auto", "threads": 2}}
    member = Job(**{**vars(job), "files": {".hydra/hydra.yaml": hydra, "config.yaml": composed}}).within(tmp_path)
    member.folder.path.mkdir()
    member.write_files()
    begun = {"loss": {"name": "huber"}, "metric": {"mae": {}}, "trainer": {"max_epochs": 20, "threads": 1}}
    member.with_config(begun, job.settings)
    member.folder.write_run({"status": "stopped"})
    member.resumed().write_files()
    kept = yaml.safe_load(member.folder.config_yaml.read_text())
    assert kept == {**begun, "trainer": {"max_epochs": 20, "threads": 2}}


def test_an_error_is_written_unless_the_run_has_written_it(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path / "0")
    folder.path.mkdir()
    assert folder.write_error(["seed=1"], DataError("no such file")) == 3
    run = json.loads(folder.run_json.read_text())
    assert run["status"] == "failed" and run["overrides"] == ["seed=1"]
    assert run["error"] == {"type": "DataError", "message": "no such file", "exit_code": 3}
    log = folder.log.read_text()
    assert "DataError: no such file" in log
    assert folder.write_error(["seed=1"], ValueError("later")) == 1
    assert json.loads(folder.run_json.read_text()) == run and folder.log.read_text() == log


def test_a_failure_keeps_what_the_run_has_written(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path / "0")
    folder.path.mkdir()
    folder.write_run({"status": "running", "step": 7, "metrics": {"val/loss": 1.0}})
    folder.write_failure(["seed=1"], kind="Killed", message="killed by SIGKILL", exit_code=1)
    run = folder.read_run()
    assert folder.has_ended and run["step"] == 7 and run["metrics"] == {"val/loss": 1.0}
    assert run["error"] == {"type": "Killed", "message": "killed by SIGKILL", "exit_code": 1}


def test_a_structure_has_no_inputs_of_the_program() -> None:
    def structure(**changes: Any) -> str:
        config = {
            "seed": 1,
            "name": "x",
            "data": {"folds": 2, "fold": 0},
            "model": {"dropout": 0.1},
            "loss": {"name": "huber", "delta": 1.0},
            "optimizer": {"groups": {"all": {"learning_rate": 0.01}}},
            "trainer": {"max_epochs": 2, "max_steps": None, "max_seconds": None, "microbatches": 1, "ema_decay": 0.9},
        }
        return structure_of({**config, **changes})

    trainer = {"max_epochs": 9, "max_steps": 7, "max_seconds": 1.0, "microbatches": 1, "ema_decay": 0.99}
    assert structure() == structure(seed=2, name="y", trainer=trainer, loss={"name": "huber", "delta": 2.0})
    assert structure() == structure(data={"folds": 2, "fold": 1}) != structure(data={"folds": 3, "fold": 0})
    assert structure() != structure(model={"dropout": 0.2})
    assert structure() != structure(loss={"name": "mse"})
    assert structure() != structure(trainer={**trainer, "microbatches": 2})
