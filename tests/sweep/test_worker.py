"""Workers: real forked processes, which run a stand-in for training."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tfrun.sweep import worker as worker_module
from tfrun.sweep.jobs import Job, JobFolder
from tfrun.sweep.messages import Done, Progress
from tfrun.sweep.worker import Worker

Train = Callable[..., None]


def train(job: Job, catalog: Any, *, report: Any, is_pruned: Callable[[], bool], ends_at_once: bool) -> None:
    """Stands in for training: what it does is in the job's first override."""
    print(f"training #{job.number} with {os.environ.get('A_VARIABLE')}", flush=True)
    how = job.overrides[0]
    if how == "fail":
        raise ValueError("a bug in a loss")
    if how == "die":
        os._exit(9)
    if how == "report":
        for step in range(1, 6):
            report(step, 5, step // 5, {"val/loss": 1.0 / step}, step == 5)
    if how == "wait":
        report(1, 5, 1, {}, True)
        deadline = time.monotonic() + 30
        while not is_pruned() and time.monotonic() < deadline:
            time.sleep(0.01)
    job.folder.write_run({"status": "pruned" if is_pruned() else "completed"})


def make_job(folder: Path, number: int, how: str) -> Job:
    job_folder = JobFolder(folder / str(number))
    job_folder.path.mkdir()
    hydra: dict[str, Any] = {"hydra": {"sweep": {}, "runtime": {}}}
    settings: Any = SimpleNamespace()
    return Job(number, job_folder, [how], {}, settings, {".hydra/hydra.yaml": hydra}, "structure")


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Worker]]:
    """Returns a function from jobs to a worker that has got them."""
    monkeypatch.setattr(worker_module, "train", train)
    workers: list[Worker] = []

    def start(*jobs: Job) -> Worker:
        catalog: Any = None
        workers.append(Worker.fork(jobs[0], catalog, environment={"A_VARIABLE": "a value"}))
        workers[-1].start(jobs)
        return workers[-1]

    yield start
    for worker in workers:
        worker.dismiss()


def receive(worker: Worker, num_done: int = 1) -> list[Progress | Done]:
    """Returns the messages up to the end of a number of jobs."""
    messages: list[Progress | Done] = []
    deadline = time.monotonic() + 30
    while sum(isinstance(message, Done) for message in messages) < num_done:
        assert time.monotonic() < deadline
        messages += worker.messages()
        time.sleep(0.01)
    return messages


def test_a_worker_runs_one_job_after_another(start: Callable[..., Worker], tmp_path: Path) -> None:
    first, second = (make_job(tmp_path, number, "run") for number in range(2))
    worker = start(first)
    assert worker.structure == "structure" and worker.jobs == {0: first}
    assert receive(worker) == [Done(0, 0)]
    worker.start([second])
    assert receive(worker) == [Done(1, 0)]
    assert first.folder.log.read_text() == "training #0 with a value\n"
    assert second.folder.log.read_text() == "training #1 with a value\n"
    assert (second.folder.path / ".hydra" / "hydra.yaml").is_file()


def test_progress_is_sent_at_the_end_of_an_epoch_and_not_too_often_before(
    start: Callable[..., Worker], tmp_path: Path
) -> None:
    messages = receive(start(make_job(tmp_path, 0, "report")))
    assert messages[-1] == Done(0, 0)
    assert messages[-2] == Progress(0, 5, 5, 1, {"val/loss": 0.2}, True)
    assert len(messages) < 5  # there were five blocks at once


def test_an_error_is_in_the_folder_and_the_worker_lives_on(start: Callable[..., Worker], tmp_path: Path) -> None:
    job = make_job(tmp_path, 0, "fail")
    worker = start(job)
    assert receive(worker) == [Done(0, 1)]
    assert not worker.child.has_ended()
    assert job.folder.read_run()["error"]["message"] == "a bug in a loss"
    assert "ValueError: a bug in a loss" in job.folder.log.read_text()


def test_a_worker_that_dies_ends_its_job(start: Callable[..., Worker], tmp_path: Path) -> None:
    worker = start(make_job(tmp_path, 0, "die"))
    assert receive(worker) == [Done(0, 9)]
    assert worker.child.has_ended()
    worker.start([make_job(tmp_path, 1, "run")])  # is noticed with the next messages
    assert receive(worker) == [Done(1, 9)]


def test_a_job_is_pruned(start: Callable[..., Worker], tmp_path: Path) -> None:
    job = make_job(tmp_path, 0, "wait")
    worker = start(job)
    deadline = time.monotonic() + 30
    while not worker.messages():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    worker.prune()
    assert receive(worker) == [Done(0, 0)]
    assert job.folder.read_run()["status"] == "pruned"


def test_a_dismissed_worker_is_killed_with_its_job(start: Callable[..., Worker], tmp_path: Path) -> None:
    worker = start(make_job(tmp_path, 0, "wait"))
    worker.dismiss()
    assert worker.child.exit_code == -signal.SIGKILL


def test_jobs_that_are_trained_together_end_one_by_one(
    start: Callable[..., Worker], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train_together(jobs: list[Job], catalog: Any, *, reports: Any, on_end: Any, context: Any) -> None:
        reports[1](5, 5, 1, {}, True)
        with context(2):
            print("job 2 speaks", flush=True)
        on_end(1, None)
        on_end(0, ValueError("diverged"))
        raise RuntimeError("a bug in the group")

    monkeypatch.setattr(worker_module, "train_together", train_together)
    jobs = [make_job(tmp_path, number, "run") for number in range(3)]
    messages = receive(start(*jobs), num_done=3)
    assert messages == [Progress(1, 5, 5, 1, {}, True), Done(1, 0), Done(0, 1), Done(2, 1)]
    assert [job.folder.read_run().get("error", {}).get("type") for job in jobs] == ["ValueError", None, "RuntimeError"]
    assert "job 2 speaks" in jobs[2].folder.log.read_text()
