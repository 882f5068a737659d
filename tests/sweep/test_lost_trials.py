"""Real commands that share a study in PostgreSQL, each in a folder of its own as if it were a machine of its own."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

WORDS = [
    "-m", "hparams_search=optuna", "optimizer.learning_rate=tag(log,interval(1e-4,1e-1))", "model=mlp",
    "model.hidden_units=[4]", "trainer.compile=graph", "checkpoint.every_seconds=0.2", "checkpoint.every_epochs=null",
    "hydra.sweeper.storage=${oc.env:DATABASE}", "hydra.launcher.n_jobs=1",
]  # fmt: skip
SHARED = ["hydra.sweeper.study_name=shared", "hydra.sweeper.lost_after_seconds=2", "hydra.sweeper.n_trials=3"]


@pytest.fixture
def start(warm_server: Callable[[str], Any], tmp_path: Path) -> Callable[..., Any]:
    """Starts a command on a machine, which is a folder, with the address of the database in its environment."""

    def start(machine: str, *words: str, database: str) -> Any:
        folder = tmp_path / machine
        folder.mkdir(exist_ok=True)
        return warm_server("tfrun").process(words, cwd=folder, env={**os.environ, "DATABASE": database})

    return start


def statuses(folder: Path) -> list[str]:
    return [json.loads(path.read_text())["status"] for path in sorted(folder.glob("multirun/*/*/[0-9]/run.json"))]


@pytest.mark.slow
def test_a_machine_that_is_killed_loses_only_its_trial(
    start: Callable[..., Any], postgresql: str, tmp_path: Path, wait_for: Callable[..., None]
) -> None:
    """Another one takes it up; no trial is tried twice, and the killed sweep knows of it when it is resumed."""
    machines = {
        name: start(name, *WORDS, *SHARED, "trainer.max_epochs=400", database=postgresql) for name in ("a", "b")
    }
    wait_for(lambda: list(tmp_path.glob("a/multirun/*/*/*/checkpoints/step-*")))
    machines["a"].kill()
    output, errors = machines["b"].communicate(120)
    assert machines["b"].returncode == 0, errors
    trials = optuna.load_study(study_name="shared", storage=postgresql).trials
    (lost,) = [trial for trial in trials if trial.state.name == "FAIL"]
    completed = [trial.params for trial in trials if trial.state.name == "COMPLETE"]
    assert len(completed) == 3 and completed.count(lost.params) == 1
    assert len({str(params) for params in completed}) == 3
    assert "its machine sends no heartbeats, so its values are tried again" in output
    resumed = start("a", "resume", "latest", database=postgresql).completed(120)
    assert resumed.returncode == 0, resumed.stderr
    assert "another machine has taken it over" in resumed.stdout
    assert statuses(tmp_path / "a")[-1] == "pruned" and set(statuses(tmp_path / "b")) == {"completed"}


@pytest.mark.slow
def test_a_server_that_goes_away_costs_no_result(
    start: Callable[..., Any], postgresql_server: Any, tmp_path: Path, wait_for: Callable[..., None]
) -> None:
    address = postgresql_server.address
    alone = ["hydra.sweeper.n_trials=2", "hydra.sweeper.pruner=median", "trainer.max_epochs=500"]
    sweep = start("a", *WORDS, *alone, database=address)
    wait_for(lambda: list(tmp_path.glob("a/multirun/*/*/0/checkpoints/step-*")))
    postgresql_server.stop()
    _, errors = sweep.communicate(120)
    assert sweep.returncode == 5 and errors.count("\n") == 1, errors
    assert "failed: " in errors and "The jobs that were training have saved, and no result is lost" in errors
    assert "pass" not in errors and "SQL" not in errors
    assert statuses(tmp_path / "a") == ["stopped"]
    refused = start("a", "resume", "latest", database=address).completed(120)
    assert refused.returncode == 2 and "Connection refused" in refused.stderr and refused.stderr.count("\n") == 1
    postgresql_server.start()
    resumed = start("a", "resume", "latest", database=address).completed(120)
    assert resumed.returncode == 0, resumed.stderr
    assert statuses(tmp_path / "a") == ["completed", "completed"]
    (run,) = tmp_path.glob("a/multirun/*/*/0/run.json")
    assert json.loads(run.read_text())["resumed"][0]["step"] > 0
