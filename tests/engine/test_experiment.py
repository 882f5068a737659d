"""The functions that commands and sweeps call."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from tfrun.engine import experiment
from tfrun.engine.experiment import Job, Reuse, RunOptions
from tfrun.errors import ConfigError
from tfrun.files import runs


def test_everything_that_commands_call_is_there() -> None:
    assert all(callable(getattr(experiment, name)) for name in experiment.__all__)


def test_a_run_is_trained_in_its_folder(small: Any) -> None:
    settings = small.settings("model=linear", "trainer.compile=eager", "trainer.max_steps=3")
    folder = runs.claim(str(small.root), "a")
    assert experiment.train(settings, folder, catalog=small.catalog, table=small.table()) == 0
    run = folder.read_run()
    assert (run["status"], run["step"]) == ("completed", 3)


def jobs(small: Any, *words: str) -> list[Job]:
    """Returns a job for each word."""
    options = RunOptions(reuse=Reuse())
    base = ["model=linear", "trainer.compile=graph", "trainer.max_epochs=1", "data.batch_size=64"]
    return [Job(small.settings(*base, word), runs.claim(str(small.root), "a"), options) for word in words]


def train_together(small: Any, jobs: list[Job], context: Any = None) -> list[tuple[int, BaseException | None]]:
    ended: list[tuple[int, BaseException | None]] = []
    experiment.train_together(
        jobs,
        small.catalog,
        table=small.table(),
        reuse=jobs[0].options.reuse,
        on_end=lambda k, error: ended.append((k, error)),
        context=context or (lambda k: contextlib.nullcontext()),
    )
    return ended


def test_runs_are_trained_together(small: Any) -> None:
    entered: list[int] = []
    inside: list[int] = []

    @contextlib.contextmanager
    def context(k: int) -> Iterator[None]:
        assert not inside  # one run at a time works on its own
        entered.append(k)
        inside.append(k)
        try:
            yield
        finally:
            inside.remove(k)

    both = jobs(small, "seed=1", "seed=2")
    assert sorted(train_together(small, both, context)) == [(0, None), (1, None)]
    assert set(entered) == {0, 1}
    results = [job.folder.read_run() for job in both]
    assert [(run["status"], run["engine"]["mode"]) for run in results] == [("completed", "vectorized")] * 2
    assert results[0]["metrics"]["train/loss"] != results[1]["metrics"]["train/loss"]


def test_one_run_alone_is_not_vectorized(small: Any) -> None:
    (job,) = one = jobs(small, "seed=1")
    assert train_together(small, one) == [(0, None)]
    engine = job.folder.read_run()["engine"]
    assert engine["mode"] == "graph_loop" and engine["why"].endswith("there is one run of its structure")


def test_a_run_that_can_not_begin_does_not_end_the_others(small: Any) -> None:
    both = jobs(small, "seed=1", "trainer.microbatches=5")  # 64 is no multiple of 5
    ended = dict(train_together(small, both))
    assert ended[0] is None and isinstance(ended[1], ConfigError)
    assert both[0].folder.read_run()["status"] == "completed"
    assert not both[1].folder.path.exists()


def test_an_error_of_a_run_is_raised(small: Any) -> None:
    settings = small.settings("model=linear", "trainer.microbatches=5", "data.batch_size=64")
    with pytest.raises(ConfigError, match="must be a multiple of 5 microbatches"):
        experiment.train(settings, runs.claim(str(small.root), "a"), catalog=small.catalog, table=small.table())
