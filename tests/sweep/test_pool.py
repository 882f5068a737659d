"""The pool: real workers, which run a stand-in for training; signals, time limits, pruning and GPUs."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tfrun.errors import DataError, Interrupted
from tfrun.sweep import pool as pool_module
from tfrun.sweep import worker as worker_module
from tfrun.sweep.grid import Grid
from tfrun.sweep.jobs import Job, JobFolder
from tfrun.sweep.ledger import Ledger
from tfrun.sweep.messages import Progress
from tfrun.sweep.pool import Pool
from tfrun.sweep.sweep_settings import LauncherSettings


def train(job: Job, catalog: Any, *, report: Any, is_pruned: Callable[[], bool], ends_at_once: bool) -> None:
    """Stands in for training: what it does is in the job's first override."""
    how = job.overrides[0]
    job.folder.write_run({"status": "running", "worker": os.getpid(), "metrics": {}, "best": {}})
    stopped: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: stopped.append(number))
    if how == "fail":
        raise ValueError("a bug in a loss")
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "leave":
        os._exit(0)
    if how == "interrupt":
        os.kill(os.getppid(), signal.SIGINT)
    if how == "interrupt twice":
        os.kill(os.getppid(), signal.SIGINT)
        time.sleep(0.3)
        os.kill(os.getppid(), signal.SIGINT)
    if how in ("hang", "wait", "interrupt", "interrupt twice"):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and not is_pruned() and not (stopped and how in ("wait", "interrupt")):
            report(1, None, 1, {"val/loss": 1.0}, True)
            time.sleep(0.01)
    status = "pruned" if is_pruned() else "stopped" if stopped else "completed"
    job.folder.write_run(job.folder.read_run() | {"status": status, "best": {"monitor": "val/loss", "val/loss": 0.5}})


@pytest.fixture(autouse=True)
def _without_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "train", train)
    for name in ("tfrun.engine", "tfrun.engine.experiment"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))


def make_job(number: int, how: str, structure: str = "a") -> Job:
    trainer = SimpleNamespace(max_epochs=1, max_steps=None, max_seconds=None)
    settings: Any = SimpleNamespace(logger=None, trainer=trainer, checkpoint=SimpleNamespace(monitor="val/loss"))
    files: dict[str, Any] = {".hydra/hydra.yaml": {"hydra": {"sweep": {}, "runtime": {}}}}
    return Job(number, JobFolder(Path(str(number))), [how], {}, settings, files, structure)


class Run:
    """A pool and a grid of jobs, each of which does what its word says."""

    def __init__(self, folder: Path, *words: str, structures: str = "", num_workers: int = 1, **settings: Any):
        self.folder = folder
        jobs = [make_job(k, word, (structures or "a" * len(words))[k]) for k, word in enumerate(words)]
        composer: Any = None
        catalog: Any = None
        self.grid = Grid(jobs, composer=composer, mode="min")
        self.ledger = Ledger(folder)
        self.ledger.write_header({"swept": []})
        self.grid.begin(folder, self.ledger)
        self.pool = Pool(
            catalog, self.ledger, num_workers=num_workers, settings=LauncherSettings(**settings), mode="min"
        )

    def __call__(self) -> Run:
        self.pool.run(self.grid)
        return self

    @property
    def states(self) -> list[str]:
        return [trial.state for trial in self.ledger.read()[1]]

    def job(self, number: int) -> dict[str, Any]:
        return json.loads((self.folder / str(number) / "run.json").read_text())


def test_jobs_of_one_structure_share_a_worker(tmp_path: Path) -> None:
    run = Run(tmp_path, "run", "run", "run", structures="aba")()
    assert run.states == ["completed"] * 3
    workers = [run.job(number)["worker"] for number in range(3)]
    assert workers[0] == workers[2] != workers[1]
    lines = [json.loads(line) for line in (tmp_path / "trials.jsonl").read_text().splitlines()]
    order = [(line["trial"], line["state"]) for line in lines if "at" in line]
    assert order == [(number, state) for number in (0, 2, 1) for state in ("running", "completed")]
    assert [line["value"] for line in lines if line.get("state") == "completed"] == [0.5] * 3


def test_a_job_that_fails_ends_no_other_and_its_worker_is_not_used_again(tmp_path: Path) -> None:
    run = Run(tmp_path, "run", "fail", "run", "kill", "run", "leave", "run")()
    assert run.states == ["completed", "failed", "completed", "failed", "completed", "failed", "completed"]
    errors = [run.job(number).get("error") for number in range(7)]
    assert [error and error["message"] for error in errors] == [
        None,
        "a bug in a loss",
        None,
        "killed by SIGKILL",
        None,
        "the process ended with exit code 0 before the run did",
        None,
    ]
    workers = [run.job(number)["worker"] for number in range(7)]
    assert workers[0] == workers[1] and workers[2] == workers[3] and workers[4] == workers[5]
    assert len(set(workers)) == 4


def test_a_job_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    run = Run(tmp_path, "hang", "run", timeout_seconds=1.0)()
    assert run.states == ["failed", "completed"]
    assert run.job(0)["error"] == {
        "type": "TimeoutError",
        "message": "took longer than hydra.launcher.timeout_seconds=1",
        "exit_code": 1,
    }


def test_the_first_signal_stops_jobs_and_starts_no_more(tmp_path: Path) -> None:
    run = Run(tmp_path, "interrupt", "run")
    with pytest.raises(Interrupted, match="stopped by SIGINT: the jobs that were training have saved") as caught:
        run()
    assert caught.value.exit_code == 130
    assert run.states == ["stopped", "waiting"]


def test_a_signal_reaches_jobs_while_the_source_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a search does for a database that no longer answers. A scheduler may not wait for as long."""
    run = Run(tmp_path, "interrupt")

    def tick() -> None:
        deadline = time.monotonic() + 20
        while "stopped" not in (tmp_path / "0" / "run.json").read_text():
            assert time.monotonic() < deadline

    monkeypatch.setattr(run.grid, "tick", lambda: tick() if (tmp_path / "0" / "run.json").exists() else None)
    with pytest.raises(Interrupted):
        run()
    assert run.states == ["stopped"]


def test_an_error_of_the_source_lets_jobs_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tmp_path, "wait")

    def should_prune(*_: object) -> bool:
        raise DataError("other rows")

    monkeypatch.setattr(run.grid, "should_prune", should_prune)
    with pytest.raises(DataError):
        run()
    assert run.states == ["stopped"]


def test_the_second_signal_kills_jobs(tmp_path: Path) -> None:
    run = Run(tmp_path, "interrupt twice")
    with pytest.raises(Interrupted, match="its jobs were killed"):
        run()
    assert run.states == ["failed"] and run.job(0)["error"]["type"] == "Killed"


def test_a_job_is_pruned_if_the_source_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tmp_path, "hang", "run")
    received: list[Progress] = []

    def should_prune(job: Job, progress: Progress) -> bool:
        received.append(progress)
        return len(received) > 2

    monkeypatch.setattr(run.grid, "should_prune", should_prune)
    assert run().states == ["pruned", "completed"]
    assert received[0] == Progress(0, 1, None, 1, {"val/loss": 1.0}, True)


def test_a_worker_that_was_killed_while_it_waited_gets_no_job(tmp_path: Path) -> None:
    run = Run(tmp_path, "run", "run")
    ended = run.grid.ended

    def kill_worker(job: Job, outcome: Any) -> None:
        ended(job, outcome)
        if job.number == 0:
            worker = run.job(0)["worker"]
            os.kill(worker, signal.SIGKILL)
            os.waitid(os.P_PID, worker, os.WEXITED | os.WNOWAIT)  # until it is dead

    run.grid.ended = kill_worker  # type: ignore[method-assign]
    run()
    assert run.states == ["completed"] * 2 and run.job(0)["worker"] != run.job(1)["worker"]


def test_jobs_that_run_at_once_share_the_cores(tmp_path: Path) -> None:
    assert "TF_NUM_INTRAOP_THREADS" not in Run(tmp_path).pool._next_environment()
    share = max(1, len(os.sched_getaffinity(0)) // 2)
    assert Run(tmp_path, num_workers=2).pool._next_environment()["TF_NUM_INTRAOP_THREADS"] == str(share)


def test_gpus_are_divided_among_the_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gpus(num_workers: int) -> list[str | None]:
        """Returns the GPU of each new worker."""
        pool = Run(tmp_path).pool
        for _ in range(num_workers):
            worker: Any = SimpleNamespace(environment=pool._next_environment())
            pool._workers.append(worker)
        return [worker.environment.get("CUDA_VISIBLE_DEVICES") for worker in pool._workers]

    monkeypatch.setattr(pool_module, "visible_gpus", lambda: ["0", "1"])
    assert gpus(2) == ["0", "1"]
    assert gpus(5) == ["0", "1", "0", "1", "0"]
    monkeypatch.setattr(pool_module, "visible_gpus", list)
    assert gpus(2) == [None, None]
