"""Searches: the jobs that a study gives, the results that it gets, and the real command."""

from __future__ import annotations

import contextlib
import json
import math
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from hydra.types import RunMode
from sqlalchemy.exc import OperationalError

from tfrun.config.compose import Configs
from tfrun.errors import ResourceError, TfrunError
from tfrun.sweep.jobs import Job
from tfrun.sweep.ledger import Ledger
from tfrun.sweep.lost_trials import Watch, ask, taken_jobs
from tfrun.sweep.messages import Progress
from tfrun.sweep.outcome import read_outcome
from tfrun.sweep.search import Search

RATE = "optimizer.learning_rate=tag(log,interval(1e-4,1e-1))"
MAE = "checkpoint.monitor=val/mae"
BASE = ("hparams_search=optuna", "model=mlp", "hydra.sweeper.n_trials=6", "trainer.max_epochs=4")
Make = Callable[..., Search]


@pytest.fixture
def make(hydra: Configs) -> Make:
    """Returns a function from words of a command line to a checked search."""

    def make(*words: str) -> Search:
        return Search.from_config(hydra, hydra.compose([*BASE, *words], RunMode.MULTIRUN).cfg)

    return make


@pytest.fixture
def begin(make: Make) -> Make:
    """Returns a function from a folder and words to a search that has begun in the folder."""

    def begin(folder: Path, *words: str) -> Search:
        folder.mkdir(exist_ok=True)
        search = make(*words)
        ledger = Ledger(folder)
        ledger.write_header({"swept": []})
        search.begin(folder, ledger)
        return search

    return begin


def next_job(search: Search) -> Job:
    job = search.next(())
    assert job is not None
    return job


def end(search: Search, job: Job, value: float | None, status: str = "completed", mae: float = 0.0) -> None:
    """Ends a job as if it had been trained."""
    job.folder.path.mkdir(exist_ok=True)
    best = {} if value is None else {"monitor": "val/loss", "val/loss": value, "val/mae": mae}
    job.folder.write_run({"status": status, "best": best, "metrics": best, "overrides": job.overrides, "parameters": 7})
    search.ended(job, read_outcome(job.folder, ()))


def load_study(folder: Path) -> optuna.Study:
    return optuna.load_study(study_name=folder.name, storage=f"sqlite:///{folder / 'study.db'}")


def rate(job: Job) -> float:
    return float(job.hparams["optimizer.learning_rate"])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("optimizer.learning_rat=interval(1,2)",), "Did you mean 'optimizer.learning_rate'?"),
        (("optimizer.learning_rate=interval(-1,2)",), "optimizer.learning_rate=-1"),
        (("loss=huber,hubber", RATE), "Did you mean 'huber'?"),
        ((RATE, "metric=mae", "hydra.sweeper.objectives={val/accuracy: max}"), "hydra.sweeper.objectives"),
        ((RATE, "hydra.sweeper.objectives={val/mae: small}"), "must be min, max or null"),
        ((RATE, "hydra.sweeper.objectives={val/mae: min, val/loss: min}", "hydra.sweeper.pruner=median"), "several"),
        ((RATE, "loss=mse,huber"), "val/loss doesn't say which loss is better"),
        ((RATE, "loss=huber", "loss.delta=interval(1,2)", "hydra.sweeper.objectives={train/loss: min}"), "loss.delta"),
        ((RATE, "hydra.sweeper.sampler=tpee"), "Did you mean 'tpe'?"),
        ((RATE, "hydra.sweeper.take=first"), "must be one of 'best', 'last'"),
        ((RATE, "hydra.sweeper.constraints=['val/mae is small']"), "must be like 'val/mae < 50000'"),
    ],
)
def test_a_mistake_is_reported_before_anything_runs(make: Make, words: tuple[str, ...], expected: str) -> None:
    with pytest.raises(TfrunError) as caught:
        make(*words)
    assert expected in str(caught.value) and caught.value.exit_code == 2 and "\n" not in str(caught.value)


def test_the_study_gets_the_result_of_each_job(begin: Make, tmp_path: Path) -> None:
    search = begin(tmp_path / "s", RATE)
    losses: list[float] = []
    rates: list[float] = []
    while (job := search.next(())) is not None:
        rates.append(rate(job))
        losses.append((math.log10(rate(job)) + 2) ** 2)  # smallest at 0.01
        end(search, job, losses[-1])
    saved = load_study(tmp_path / "s").trials
    assert [trial.value for trial in saved] == losses and len(losses) == 6
    assert [trial.params["optimizer.learning_rate"] for trial in saved] == pytest.approx(rates, rel=1e-5)


def test_a_conditional_value_is_only_given_under_its_condition(begin: Make, tmp_path: Path) -> None:
    dropout = "model.dropout: {value: 'interval(0,0.9)', when: 'model=mlp'}"
    words = (f"hydra.sweeper.params={{{dropout}}}", "model=choice(mlp,wide_deep)")
    search = begin(tmp_path / "s", *words, "hydra.sweeper.n_trials=8", "hydra.sweeper.sampler=random")
    models = set()
    while (job := search.next(())) is not None:
        models.add(job.settings.model.name)
        has_dropout = any(text.startswith("model.dropout=") for text in job.overrides)
        assert has_dropout == (job.settings.model.name == "mlp")
        end(search, job, 1.0)
    assert models == {"mlp", "wide_deep"}


def test_a_grid_ends_with_its_last_point(begin: Make, tmp_path: Path) -> None:
    words = ("loss=mse,mae", MAE, "seed=1,2", "hydra.sweeper.sampler=grid", "hydra.sweeper.n_trials=null")
    search = begin(tmp_path / "s", *words)
    points = set()
    assert search.total == 4
    while (job := search.next(())) is not None:
        points.add((job.settings.loss.name, job.settings.seed))
        end(search, job, 1.0)
    assert points == {("mse", 1), ("mse", 2), ("mae", 1), ("mae", 2)}


def test_unpromising_jobs_are_pruned(begin: Make, tmp_path: Path) -> None:
    search = begin(tmp_path / "s", RATE, "hydra.sweeper.pruner={name: median, n_startup_trials: 2}")
    for value in (1.0, 2.0):
        job = next_job(search)
        epochs = [Progress(job.number, 11 * n, 44, n, {"val/loss": value}, True) for n in (1, 2, 3, 4)]
        assert not any(search.should_prune(job, progress) for progress in epochs)
        end(search, job, value)
    good, bad = next_job(search), next_job(search)
    assert not search.should_prune(bad, Progress(bad.number, 5, 44, 0, {"val/loss": 9.0}, False))  # within an epoch
    assert not search.should_prune(bad, Progress(bad.number, 11, 44, 1, {"val/loss": math.nan}, True))  # diverges
    assert not search.should_prune(good, Progress(good.number, 11, 44, 1, {"val/loss": 0.5}, True))
    assert search.should_prune(bad, Progress(bad.number, 11, 44, 1, {"val/loss": 9.0}, True))
    end(search, bad, 9.0, "pruned")
    end(search, good, None, "diverged")
    assert [trial.state.name for trial in load_study(tmp_path / "s").trials] == [
        "COMPLETE",
        "COMPLETE",
        "FAIL",
        "PRUNED",
    ]


def test_several_objectives_and_constraints(begin: Make, tmp_path: Path) -> None:
    objectives = "hydra.sweeper.objectives={val/loss: min, val/mae: max}"
    search = begin(tmp_path / "s", RATE, objectives, "hydra.sweeper.constraints=['val/mae <= 5', 'parameters > 9']")
    for mae in (4.0, 8.0):
        end(search, next_job(search), 1.0, mae=mae)
    first, second = load_study(tmp_path / "s").trials
    assert first.values == [1.0, 4.0] and second.values == [1.0, 8.0]
    assert first.constraints == {"val/mae <= 5": -1.0, "parameters > 9": 2.0}  # 7 parameters are 2 too few
    assert second.constraints == {"val/mae <= 5": 3.0, "parameters > 9": 2.0}


def test_a_job_whose_objective_is_not_defined_has_no_value(begin: Make, tmp_path: Path) -> None:
    search = begin(tmp_path / "s", RATE, "hydra.sweeper.objectives={val/loss: min, val/mae: min}")
    for mae in (2.0, math.nan, math.inf):
        end(search, next_job(search), 1.0, mae=mae)
    assert [trial.state.name for trial in load_study(tmp_path / "s").trials] == ["COMPLETE", "FAIL", "FAIL"]


@pytest.mark.parametrize(
    ("words", "directions"),
    [
        (["checkpoint.monitor=val/r2"], ["MAXIMIZE"]),
        (["checkpoint.monitor=val/mae"], ["MINIMIZE"]),
        (
            ["hydra.sweeper.objectives={val/r2: null, val/mae: null, val/loss: max}"],
            ["MAXIMIZE", "MINIMIZE", "MAXIMIZE"],
        ),
    ],
)
def test_an_objective_without_a_direction_has_that_of_its_metric(
    begin: Make, tmp_path: Path, words: list[str], directions: list[str]
) -> None:
    search = begin(tmp_path / "s", RATE, "metric=[mae,r2]", *words)
    against = ["warning: hydra.sweeper.objectives.val/loss=max, but a smaller val/loss is better"]
    assert search.news() == (against if len(directions) == 3 else [])
    assert [direction.name for direction in load_study(tmp_path / "s").directions] == directions


def test_a_killed_search_is_resumed(begin: Make, make: Make, tmp_path: Path) -> None:
    search = begin(tmp_path / "s", RATE)
    ended, running, unreported = (next_job(search) for _ in range(3))
    end(search, ended, 1.0)
    search._study.ask().set_user_attr("job", "s/3")  # killed before the ledger had it
    unreported.folder.path.mkdir()  # killed before the study had its result
    unreported.folder.write_run({"status": "completed", "best": {"monitor": "val/loss", "val/loss": 3.0}})

    again = make(RATE)
    ledger = Ledger(tmp_path / "s")
    _, known = ledger.read()
    again.begin(tmp_path / "s", ledger, trials=known, left=[known[1]])
    resumed = next_job(again)
    assert resumed.resume and resumed.overrides == running.overrides
    end(again, resumed, 2.0)
    numbers = []
    while (job := again.next(())) is not None:
        numbers.append(job.number)
        end(again, job, 4.0)
    assert numbers == [3, 4, 5]
    saved = load_study(tmp_path / "s").trials
    assert [trial.value for trial in saved] == [1.0, 2.0, 3.0, None, 4.0, 4.0, 4.0]
    assert saved[3].state.name == "FAIL"


def test_a_job_whose_values_can_t_be_combined_is_written_as_failed(begin: Make, tmp_path: Path) -> None:
    words = ("data.validation_split=0.1,0.6", "data.test_split=0.2,0.7", "hydra.sweeper.sampler=grid")
    search = begin(tmp_path / "s", *words, "hydra.sweeper.n_trials=null")
    jobs = list(iter(lambda: search.next(()), None))
    assert len(jobs) == 3  # 0.6 and 0.7 leave no rows to train on
    states = {trial.number: trial.state for trial in Ledger(tmp_path / "s").read()[1]}
    (refused,) = [number for number, state in states.items() if state == "failed"]
    run = json.loads((tmp_path / "s" / str(refused) / "run.json").read_text())
    assert run["error"]["type"] == "ConfigError" and run["error"]["exit_code"] == 2


def test_the_study_of_another_search_is_refused(begin: Make, tmp_path: Path) -> None:
    begin(tmp_path / "s", RATE)
    with pytest.raises(TfrunError, match="has another search space"):
        begin(tmp_path / "s", RATE, "seed=1,2")
    with pytest.raises(TfrunError, match="has other objectives"):
        begin(tmp_path / "s", RATE, "hydra.sweeper.objectives={val/mae: max}")


def test_a_storage_that_fails_ends_the_sweep_in_one_line(
    begin: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = begin(tmp_path / "s", RATE)
    job = next_job(search)

    def fail(*_: object, **__: object) -> None:
        raise OperationalError("UPDATE …", {}, Exception("database or disk is full"))

    monkeypatch.setattr(optuna.Study, "ask", fail)
    monkeypatch.setattr(optuna.Study, "tell", fail)
    monkeypatch.setattr(optuna.Trial, "report", fail)
    progress = Progress(job.number, 11, 44, 1, {"val/loss": 0.5}, True)
    for use in (lambda: next_job(search), lambda: search.should_prune(job, progress), lambda: end(search, job, 0.5)):
        with pytest.raises(ResourceError, match=r"hydra.sweeper.storage: 'study.db' failed: .*disk is full") as error:
            use()
        assert "\n" not in str(error.value)


@pytest.fixture
def shared(tmp_path: Path) -> tuple[str, ...]:
    """The words with which machines share a study of six trials in a database."""
    return (RATE, f"hydra.sweeper.storage=sqlite:///{tmp_path}/shared.db", "hydra.sweeper.study_name=shared")


def shared_trials(folder: Path) -> list[Any]:
    return optuna.load_study(study_name="shared", storage=f"sqlite:///{folder}/shared.db").trials


def let_time_pass(folder: Path) -> None:
    """Makes every heartbeat a day old."""
    with contextlib.closing(sqlite3.connect(folder / "shared.db")) as database, database:
        database.execute("UPDATE trial_heartbeats SET heartbeat = datetime('now', '-1 day')")


def look(search: Search) -> None:
    """Lets a machine look for lost ones now."""
    assert search._watch is not None
    search._watch._next = 0.0
    search.tick()


def test_machines_share_the_trials_of_a_study(begin: Make, shared: tuple[str, ...], tmp_path: Path) -> None:
    machines = [begin(tmp_path / name, *shared) for name in ("a", "b")]
    jobs: list[Job] = []
    while job := machines[len(jobs) % 2].next(()):
        jobs.append(job)
        end(machines[(len(jobs) - 1) % 2], job, float(len(jobs)))
    assert len({rate(job) for job in jobs}) == 6
    assert [machine.next(()) for machine in machines] == [None, None]
    assert [trial.value for trial in shared_trials(tmp_path)] == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]


def test_others_take_over_the_trials_of_a_lost_machine(
    begin: Make, make: Make, shared: tuple[str, ...], tmp_path: Path
) -> None:
    lost, other = (begin(tmp_path / name, *shared) for name in ("a", "b"))
    done, running = next_job(lost), next_job(lost)
    end(lost, done, 1.0)
    let_time_pass(tmp_path)
    look(other)
    (line,) = other.news()
    assert line == "trial 1 (a/1): its machine sends no heartbeats, so its values are tried again"
    jobs = []
    while job := other.next(()):
        jobs.append(job)
        end(other, job, 2.0)
    assert rate(jobs[0]) == rate(running)
    assert [trial.state.name for trial in shared_trials(tmp_path)] == ["COMPLETE", "FAIL", *["COMPLETE"] * 5]

    # it was only asleep: what it reports now comes too late
    progress = Progress(running.number, 11, 44, 1, {"val/loss": 0.5}, True)
    assert lost.should_prune(running, progress)
    end(lost, running, 9.0)
    assert lost.news() == ["#1  another machine has taken it over"]
    # it is resumed
    running.folder.write_run({"status": "running"})
    again, ledger = make(*shared), Ledger(tmp_path / "a")
    known = ledger.read()[1]
    again.begin(tmp_path / "a", ledger, trials=known, left=[known[1]])
    assert again.next(()) is None
    assert again.news() == ["#1  pruned: another machine has taken it over"]
    assert running.folder.read_run()["status"] == "pruned"
    assert [trial.value for trial in shared_trials(tmp_path)] == [1.0, None, *[2.0] * 5]


def test_a_later_command_takes_over_what_lost_machines_have_left(
    begin: Make, shared: tuple[str, ...], tmp_path: Path
) -> None:
    lost = begin(tmp_path / "a", *shared)
    jobs = [next_job(lost) for _ in range(6)]
    let_time_pass(tmp_path)
    later = begin(tmp_path / "b", *shared)
    again = list(iter(lambda: later.next(()), None))
    assert sorted(map(rate, again)) == sorted(map(rate, jobs))


def test_values_that_lose_every_machine_are_given_up(begin: Make, shared: tuple[str, ...], tmp_path: Path) -> None:
    machine = begin(tmp_path / "a", *shared)
    rates = []
    for _ in range(5):
        rates.append(rate(next_job(machine)))
        machine._trials.clear()  # as if another machine had it
        let_time_pass(tmp_path)
        look(machine)
    assert len(set(rates[:4])) == 1 and rates[4] != rates[0]
    lines = machine.news()
    assert lines[2].endswith("its values are tried again") and lines[3].endswith("for the 4th time, so it is given up")


def test_a_machine_that_is_resumed_keeps_its_trials(
    begin: Make, make: Make, shared: tuple[str, ...], tmp_path: Path
) -> None:
    """However long it was away, if no other machine has taken them: their jobs have checkpoints, or even results."""
    machine = begin(tmp_path / "a", *shared)
    ended, running = next_job(machine), next_job(machine)
    ended.folder.path.mkdir()
    ended.folder.write_run({"status": "completed", "best": {"val/loss": 0.5}, "metrics": {"val/loss": 0.5}})
    let_time_pass(tmp_path)
    again, ledger = make(*shared), Ledger(tmp_path / "a")
    known = ledger.read()[1]
    again.begin(tmp_path / "a", ledger, trials=known, left=[known[1]])
    assert again.news() == []
    (resumed,) = [job for job in iter(lambda: again.next(()), None) if job.resume]
    assert (resumed.number, rate(resumed)) == (running.number, rate(running))
    end(again, resumed, 0.25)
    assert [trial.value for trial in shared_trials(tmp_path)][:2] == [0.5, 0.25]


def test_a_machine_that_was_asleep_while_it_asked_asks_again(
    begin: Make, shared: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine, other = (begin(tmp_path / name, *shared) for name in ("a", "b"))
    suggested = machine._suggested

    def asleep(trial: Any) -> list[str]:
        monkeypatch.undo()
        let_time_pass(tmp_path)
        look(other)
        return suggested(trial)

    monkeypatch.setattr(machine, "_suggested", asleep)
    job = next_job(machine)
    assert job.number == 0
    end(machine, job, 1.0)
    assert [trial.state.name for trial in shared_trials(tmp_path)] == ["FAIL", "COMPLETE"]
    assert taken_jobs(machine._study, "a") == set()


def test_a_machine_that_was_lost_before_it_named_its_trial(
    begin: Make, make: Make, shared: tuple[str, ...], tmp_path: Path
) -> None:
    """Others wait for as long as they would for a heartbeat, by their own clock: its clock may be hours off."""
    ask(begin(tmp_path / "a", *shared)._study)
    other = begin(tmp_path / "b", *shared)
    with contextlib.closing(sqlite3.connect(tmp_path / "shared.db")) as database, database:
        database.execute("UPDATE trials SET datetime_start = '2020-01-01 00:00:00.000000'")
    assert other._watch is not None
    times = iter([0.0, 0.0, 0.0, 119.0, 119.0, 119.0, 121.0, 121.0, 121.0])
    watch = Watch(other._study, lost_after_seconds=120, clock=lambda: next(times))
    for expected in (["RUNNING"], ["RUNNING"], ["FAIL", "WAITING"]):
        watch._next = 0.0
        watch.tick([])
        assert [trial.state.name for trial in shared_trials(tmp_path)] == expected

    alone = begin(tmp_path / "s", RATE)  # nobody else may use its study, so nothing runs when it is resumed
    end(alone, next_job(alone), 1.0)
    alone._study.ask()
    again, ledger = make(RATE), Ledger(tmp_path / "s")
    again.begin(tmp_path / "s", ledger, trials=ledger.read()[1])
    assert [trial.state.name for trial in load_study(tmp_path / "s").trials] == ["COMPLETE", "FAIL", "WAITING"]
    assert len(list(iter(lambda: again.next(()), None))) == 5


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, warm_server: Callable[[str], Any]) -> tuple[Path, str]:
    """The folder of a search from the command line, and its output."""
    folder = tmp_path_factory.mktemp("search")
    small = ("model=mlp", "model.hidden_units=[4]", "trainer.compile=graph", "trainer.max_epochs=6")
    storage = f"hydra.sweeper.storage='journal:{folder / 'journal.log'}'"
    words = ("-m", "hparams_search=optuna", *small, RATE, "hydra.sweeper.n_trials=5", "hydra.sweeper.pruner=asha")
    process = warm_server("tfrun").process([*words, storage, "hydra.launcher.n_jobs=2"], cwd=folder)
    done = process.completed(120)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_a_search_from_the_command_line(finished: tuple[Path, str]) -> None:
    folder, output = finished
    (sweep,) = folder.glob("multirun/default/*")
    runs = [json.loads((sweep / str(number) / "run.json").read_text()) for number in range(5)]
    assert {run["status"] for run in runs} <= {"completed", "pruned"}
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(folder / "journal.log")))
    for run, trial in zip(runs, optuna.load_study(study_name=sweep.name, storage=storage).trials, strict=True):
        if run["status"] == "completed":
            assert trial.value == run["best"]["val/loss"]
        assert trial.state.name == {"completed": "COMPLETE", "pruned": "PRUNED"}[run["status"]]
        assert trial.params["optimizer.learning_rate"] == pytest.approx(
            float(next(text for text in run["overrides"] if "learning_rate" in text).partition("=")[2]), rel=1e-5
        )
    assert "5 jobs" in output and "best" in output


def test_a_search_is_extended_by_resume(finished: tuple[Path, str], warm_server: Callable[[str], Any]) -> None:
    folder, _ = finished
    (sweep,) = folder.glob("multirun/default/*")
    words = ("resume", sweep, "hydra.sweeper.n_trials=7")
    done = warm_server("tfrun").process(words, cwd=folder).completed(120)
    assert done.returncode == 0, done.stderr
    assert "0 of 5 jobs are left" in done.stdout and "default: 7 jobs" in done.stdout
