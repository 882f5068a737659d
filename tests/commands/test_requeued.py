"""`resume=auto`: a command that a scheduler starts again goes on in its folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tfrun.commands import requeued
from tfrun.commands.inputs import read_config
from tfrun.commands.requeued import slurm_job
from tfrun.config.compose import open_configs
from tfrun.config.schema import build_settings
from tfrun.files.runs import RunFolder
from tfrun.sweep import multirun

Result = tuple[int, str, str]
EARLY = {"monitor": "val/loss", "mode": None, "patience": 4, "min_delta": 0.0}


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of the Slurm job in which commands run."""
    monkeypatch.delenv("SLURM_ARRAY_JOB_ID", raising=False)
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    return "4711"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"SLURM_JOB_ID": "5"}, "5"),
        ({"SLURM_JOB_ID": "9", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "0"}, "7-0"),
        ({}, None),
    ],
)
def test_the_id_of_a_slurm_job(environment: dict[str, str], expected: str | None) -> None:
    assert slurm_job(environment) == expected


def test_a_second_start_resumes_in_the_folder_of_the_first(
    run: Callable[..., Result], engine: Any, job: str, tmp_path: Path
) -> None:
    for _ in range(2):
        assert run("resume=auto", "seed=3")[0] == 0
    (_, first, folder, begun), (_, second, again, resumed) = engine.calls
    assert folder.path == again.path and folder.path.parent == tmp_path / "outputs" / "default"
    assert folder.path.name.endswith(f"_{job}")
    assert (begun.get("resume", False), resumed["resume"], begun["is_held"]) == (False, True, True)
    assert first == second and resumed["overrides"] == ["resume=auto", "seed=3"]
    assert run("seed=3")[0] == 0  # without resume=auto it is a run like any other
    assert engine.calls[2][2].path != folder.path


def test_a_later_start_may_be_longer_and_is_otherwise_the_same(
    run: Callable[..., Result], engine: Any, job: str
) -> None:
    run("resume=auto")
    assert run("resume=auto", "trainer.max_epochs=50")[0] == 0
    assert engine.calls[1][1].trainer.max_epochs == 50
    code, _, err = run("resume=auto", "trainer.max_epochs=50", "seed=3", "model.dropout=0.5")
    assert code == 6 and err.count("\n") == 1
    assert "seed: 42 -> 3; model.dropout: 0.0 -> 0.5" in err or "model.dropout: 0.0 -> 0.5; seed: 42 -> 3" in err
    assert "give this one another `name`, or another hydra.job.id" in err
    assert run("resume=auto", "seed=3", "name=second")[0] == 0
    assert len(engine.calls) == 3


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"epoch": 20, "step": 240}, "is completed already, at step 240"),
        ({"epoch": 7, "step": 84}, "is completed already, at step 84"),  # by early stopping
    ],
)
def test_a_completed_run_is_not_trained_again(
    fields: dict[str, Any], message: str, run: Callable[..., Result], engine: Any, job: str
) -> None:
    run("resume=auto")
    folder = engine.calls[0][2]
    folder.write_run({"status": "completed", **fields})
    (folder.checkpoints / "step-000000001").mkdir(parents=True)
    code, out, err = run("resume=auto")
    assert (code, err, len(engine.calls)) == (0, "", 1)
    assert message in out


def test_another_process_has_the_folder(run: Callable[..., Result], engine: Any, job: str) -> None:
    run("resume=auto")
    with RunFolder(engine.calls[0][2].path).held():
        code, _, err = run("resume=auto")
    assert (code, len(engine.calls)) == (7, 1)
    assert "is in use by another process" in err


def test_a_start_that_was_killed_before_it_wrote_anything(
    run: Callable[..., Result], engine: Any, job: str, tmp_path: Path
) -> None:
    left = tmp_path / "outputs" / "default" / f"2026-11-29_22-00-00_{job}"
    left.mkdir(parents=True)
    assert run("resume=auto")[0] == 0
    ((_, _, folder, options),) = engine.calls
    assert folder.path == left and "resume" not in options
    assert (left / "config.yaml").is_file()


def test_other_schedulers(run: Callable[..., Result], engine: Any, job: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PBS_JOBID", "12[3].server")
    for word in ("hydra.job.id=${oc.env:PBS_JOBID}", "hydra.job.id=77"):
        assert run("resume=auto", word)[0] == 0
    assert [call[2].path.name.rpartition("_")[2] for call in engine.calls] == ["12-3-.server", "77"]


def test_a_long_id_of_slurm(run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_ARRAY_JOB_ID", raising=False)
    monkeypatch.setenv("SLURM_JOB_ID", "7" * 129)
    code, _, err = run("resume=auto")
    assert code == 2 and "SLURM_JOB_ID: must have at most 128 letters. Received: '777" in err


def test_a_run_whose_config_is_gone_is_not_overwritten(run: Callable[..., Result], engine: Any, job: str) -> None:
    run("resume=auto")
    folder = engine.calls[0][2]
    (folder.checkpoints / "step-000000001").mkdir(parents=True)
    folder.config_yaml.unlink()
    code, _, err = run("resume=auto")
    assert (code, err.count("\n"), len(engine.calls)) == (6, 1, 1)
    assert f"{folder.config_yaml}: is gone, though the folder has a run" in err
    assert folder.has_checkpoints and not folder.config_yaml.exists()


def test_all_workers_know_alike_whether_a_run_is_over(
    run: Callable[..., Result], engine: Any, job: str, tmp_path: Path
) -> None:
    """One that early stopping has ended goes on if a key that may change does."""
    run("resume=auto", "trainer.max_epochs=5")
    folder = engine.calls[0][2]
    folder.write_run({"status": "completed", "epoch": 3, "step": 36})
    config = read_config(folder)
    with open_configs([]) as configs:
        for changed, expected in ({}, True), ({"early_stopping": EARLY}, False), ({"tags": ["a"]}, False):
            new = config | changed
            inputs: Any = SimpleNamespace(config=new, settings=build_settings(new, configs.catalog))
            assert requeued.is_over(folder, inputs) is expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["resume=auto"], "resume: auto needs the id of the scheduler's job"),
        (["resume=auto", "hydra.job.id=''"], "resume: auto needs the id of the scheduler's job"),
        (["resume=auto", "hydra.job.id='  '"], "resume RUN. Received: hydra.job.id='  '"),
        (["resume=auto", "hydra.job.id=${oc.env:TFRUN_NONE}"], "hydra.job.id: "),
        (["resume=auto", f"hydra.job.id={'x' * 200}"], "hydra.job.id: must have at most 128 letters"),
        (["resume=latest"], "resume: must be 'auto', or null. Received: 'latest'"),
        (["-m", "seed=1,2", "resume=auto"], "resume: auto needs the id of the scheduler's job"),
    ],
)
def test_mistakes(
    words: list[str],
    message: str,
    run: Callable[..., Result],
    engine: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    code, _, err = run(*words)
    assert code == 2 and message in err and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def begun(job: str, tmp_path: Path) -> Path:
    """The folder of a sweep that an earlier start of the job has begun."""
    folder = tmp_path / "multirun" / "default" / f"2026-11-29_22-00-00_{job}"
    folder.mkdir(parents=True)
    words = ["hydra.launcher.n_jobs=1", "seed=1,2", "resume=auto"]
    header = {"overrides": words, "swept": ["seed"], "sources": {}, "threads": 1}
    trials = [{"trial": number, "state": "waiting", "overrides": [f"seed={number + 1}"]} for number in range(2)]
    (folder / "trials.jsonl").write_text("".join(json.dumps(line) + "\n" for line in [{"sweep": header}, *trials]))
    (folder / "multirun.yaml").write_text("data: {name: diabetes}\n")
    return folder


def test_a_sweep_is_resumed(begun: Path, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    resumed = []

    def resume(configs: Any, composed: Any, *, folder: RunFolder, retry: bool) -> int:
        resumed.append((folder.path, composed.cfg.hydra.launcher.n_jobs, retry))
        return 0

    monkeypatch.setattr(multirun, "resume", resume)
    for number in (1, 2):
        assert run("-m", "seed=1,2", "resume=auto", f"hydra.launcher.n_jobs={number}")[0] == 0
    assert resumed == [(begun, 1, False), (begun, 2, False)]
    code, _, err = run("-m", "seed=1,2,3", "loss=mae", "resume=auto")
    assert code == 6 and err.count("\n") == 1
    assert "seed: '1,2' -> '1,2,3'" in err and "loss: 'unset' -> 'mae'" in err and "n_jobs" not in err
    code, _, err = run("-m", "seed=1,2", "resume=auto", f"sweep.extend={begun}")
    assert code == 2 and "resume: auto can't extend a sweep" in err


def test_a_sweep_that_was_killed_before_it_had_jobs_begins_in_its_folder(
    begun: Path, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = begun / "trials.jsonl"
    first = ledger.read_text().partition("\n")[0]
    trained = []

    def run_all(runner: Any, source: Any, *, folder: RunFolder) -> int:
        trained.append(folder.path)
        return 0

    monkeypatch.setattr(multirun, "_run_all", run_all)
    for text in (first + "\n", first[:20]):
        ledger.write_text(text)
        assert run("-m", "seed=1,2", "resume=auto", "hydra/launcher=basic")[0] == 0
        lines = [json.loads(line) for line in ledger.read_text().splitlines()]
        assert [line.get("trial") for line in lines][-2:] == [0, 1]
    assert trained == [begun, begun]
