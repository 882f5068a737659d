"""What commands that share a study must have in common."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from hydra.types import RunMode

from tfrun.config.compose import Configs
from tfrun.errors import ConfigError, DataError
from tfrun.sweep.comparable import check_rows
from tfrun.sweep.ledger import Ledger
from tfrun.sweep.messages import Progress
from tfrun.sweep.outcome import read_outcome
from tfrun.sweep.search import Search

RATE = "optimizer.learning_rate=tag(log,interval(1e-4,1e-1))"
BASE = ("hparams_search=optuna", "model=mlp", "trainer.max_epochs=4", "hydra.sweeper.study_name=shared")
Begin = Callable[..., Search]


@pytest.fixture
def begin(hydra: Configs, tmp_path: Path) -> Begin:
    """Returns a function from a machine's name and words to a search that has begun there, or is resumed."""

    def begin(machine: str, *words: str) -> Search:
        storage = f"hydra.sweeper.storage=sqlite:///{tmp_path}/shared.db"
        search = Search.from_config(hydra, hydra.compose([*BASE, RATE, storage, *words], RunMode.MULTIRUN).cfg)
        folder, ledger = tmp_path / machine, Ledger(tmp_path / machine)
        if folder.exists():
            search.begin(folder, ledger, trials=ledger.read()[1])
        else:
            folder.mkdir()
            ledger.write_header({"swept": []})
            search.begin(folder, ledger)
        return search

    return begin


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("model.dropout=0.5", "model.dropout: 0.0 -> 0.5"),
        ("trainer.max_epochs=5", "trainer.max_epochs: 4 -> 5"),
        ("early_stopping=default", "early_stopping: None -> 'unset'"),
        ("checkpoint.monitor=val/mae", "checkpoint.monitor: 'val/loss' -> 'val/mae'"),
        ("hydra.sweeper.take=last", "hydra.sweeper.take: 'best' -> 'last'"),
        ("hydra.sweeper.objectives={val/mae: min}", "hydra.sweeper.objectives: ['val/loss'] -> ['val/mae']"),
        ("hydra.sweeper.constraints=['val/mae < 5']", "hydra.sweeper.constraints: [] -> ['val/mae < 5']"),
    ],
)
def test_another_config_is_refused(words: str, expected: str, begin: Begin) -> None:
    begin("a")
    with pytest.raises(ConfigError, match="^hydra.sweeper.study_name: the trials of the study 'shared' have") as error:
        begin("b", words)
    assert expected in str(error.value) and "\n" not in str(error.value)


def test_machines_may_differ_in_what_values_don_t_depend_on(begin: Begin) -> None:
    begin("a")
    begin(
        "b", "trainer.threads=3", "trainer.compile=graph", "strategy=cpu", "checkpoint.keep=5", "logger=null",
        "name=other", "tags=[late]", "data.residency=device", "hydra.sweeper.sampler=random",
        "hydra.sweeper.pruner=median", "hydra.launcher.n_jobs=1",
    )  # fmt: skip


def test_other_rows_are_refused_before_they_count(begin: Begin, tmp_path: Path) -> None:
    """As soon as a job has read them, and again when its sweep is resumed: the study never gets its result."""
    jobs: dict[str, Any] = {}
    searches = {name: begin(name) for name in ("a", "b")}
    for name, search in searches.items():
        jobs[name] = search.next(())
        jobs[name].folder.path.mkdir()
        run = {"status": "completed", "data": {"fingerprint": name}, "best": {"val/loss": 1.0}, "metrics": {}}
        jobs[name].folder.write_run(run)
    searches["a"].ended(jobs["a"], read_outcome(jobs["a"].folder, ()))
    with pytest.raises(DataError, match="trained on other rows.* Fingerprint there: a, here: b") as error:
        searches["b"].should_prune(jobs["b"], Progress(0, 1, 44, 0, {}, False))
    assert "\n" not in str(error.value)
    with pytest.raises(DataError, match="Fingerprint there: a, here: b"):
        begin("b")
    trials = optuna.load_study(study_name="shared", storage=f"sqlite:///{tmp_path}/shared.db").trials
    assert [(trial.state.name, trial.value) for trial in trials] == [("COMPLETE", 1.0), ("RUNNING", None)]


def test_rows_that_are_searched_may_differ(begin: Begin) -> None:
    search = begin("a", "data.limit_rows=choice(50,100)")
    for fingerprint in ("a", "b"):
        job: Any = search.next(())
        job.folder.path.mkdir()
        run = {"status": "completed", "data": {"fingerprint": fingerprint}, "best": {"val/loss": 1.0}, "metrics": {}}
        job.folder.write_run(run)
        search.ended(job, read_outcome(job.folder, ()))
    assert [trial.value for trial in search._study.trials] == [1.0, 1.0]


def test_a_job_that_has_read_no_rows_says_nothing_of_them() -> None:
    study = optuna.create_study()
    check_rows(study, json.loads('{"status": "failed", "data": null}'))
    assert "rows" not in study.user_attrs
