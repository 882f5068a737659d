"""Searches over folds: each trial has a job for each fold, and the study gets their mean."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from hydra.types import RunMode

from tfrun.config.compose import Configs
from tfrun.config.plain import read_yaml
from tfrun.errors import TfrunError
from tfrun.files.runs import RunFolder
from tfrun.sweep.folds import fold_words
from tfrun.sweep.jobs import Job
from tfrun.sweep.ledger import Ledger
from tfrun.sweep.messages import Progress
from tfrun.sweep.multirun import is_left
from tfrun.sweep.outcome import read_outcome
from tfrun.sweep.search import Search

TFRUN = Path(sys.executable).with_name("tfrun")
RATE = "optimizer.learning_rate=tag(log,interval(1e-4,1e-1))"
BASE = ("hparams_search=optuna", "model=mlp", "hydra.sweeper.n_trials=4", "data.folds=3")
MEDIAN = "hydra.sweeper.pruner={name: median, n_startup_trials: 1}"
Make = Callable[..., Search]


@pytest.fixture
def make(hydra: Configs) -> Make:
    """Returns a function from words of a command line to a checked search."""

    def make(*words: str, space: str = RATE) -> Search:
        return Search.from_config(hydra, hydra.compose([*BASE, space, *words], RunMode.MULTIRUN).cfg)

    return make


@pytest.fixture
def begin(make: Make, tmp_path: Path) -> Make:
    """Returns a function from words to a search that has begun in a folder, or is resumed there."""

    def begin(*words: str, space: str = RATE, retry: bool = False) -> Search:
        folder, ledger = tmp_path / "s", Ledger(tmp_path / "s")
        search = make(*words, space=space)
        if not folder.exists():
            folder.mkdir()
            ledger.write_header({"swept": []})
            search.begin(folder, ledger)
            return search
        _, trials = ledger.read()
        left = [trial for trial in trials if is_left(RunFolder(folder), trial, retry=retry)]
        search.begin(folder, ledger, trials=trials, left=search.also_left(folder, trials, left=left))
        return search

    return begin


def jobs_of(search: Search, count: int = 3) -> list[Job]:
    """Returns the next jobs of a search, whose folders then exist as if they ran."""
    jobs = [search.next(()) for _ in range(count)]
    for job in jobs:
        assert job is not None
        job.folder.path.mkdir(exist_ok=True)
    return [job for job in jobs if job]


def write_end(
    job: Job, value: float | None, *, status: str = "completed", mae: float = 0.0, last: float | None = None
) -> None:
    """Writes the end of a job as if it had been trained."""
    values = {"val/mae": mae, "val/loss": value}
    best = {"monitor": "val/loss", **values} if value is not None else {}
    metrics = {**values, "val/loss": value if last is None else last}
    run = {"status": status, "best": best, "metrics": metrics, "parameters": 7, "overrides": job.overrides}
    job.folder.write_run(run)


def end(search: Search, job: Job, value: float | None, **more: Any) -> None:
    """Ends a job as if it had been trained."""
    write_end(job, value, **more)
    search.ended(job, read_outcome(job.folder, ()))


def statuses(folder: Path) -> list[str]:
    """Returns the states of the jobs in the ledger, after checking them against their folders."""
    states = [trial.state for trial in Ledger(folder).read()[1]]
    for number, state in enumerate(states):
        if state == "pruned":
            assert json.loads((folder / str(number) / "run.json").read_text())["status"] == "pruned"
    return states


def trials_of(folder: Path) -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name=folder.name, storage=f"sqlite:///{folder / 'study.db'}").trials


def is_pruned(search: Search, job: Job) -> bool:
    return search.should_prune(job, Progress(job.number, 1, 4, 0, {"val/loss": 0.1}, True))


@pytest.mark.parametrize(("take", "expected"), [("best", 2.0), ("last", 5.0)])
def test_a_trial_has_a_job_for_each_fold_and_the_mean_of_their_values(
    begin: Make, tmp_path: Path, take: str, expected: float
) -> None:
    search = begin(f"hydra.sweeper.take={take}", "hydra.sweeper.constraints=['val/mae <= 5', 'val/r2 > 0']")
    assert search.total == 12
    jobs = jobs_of(search)
    assert [job.number for job in jobs] == [0, 1, 2]
    assert [job.settings.data.fold for job in jobs] == [0, 1, 2]
    assert len({job.hparams["optimizer.learning_rate"] for job in jobs}) == 1
    assert [job.label.split()[-1] for job in jobs] == ["data.fold=0", "data.fold=1", "data.fold=2"]
    for job, value, last, mae in zip(jobs, (1.0, 1.5, 3.5), (3.0, 4.0, 8.0), (4.0, 5.0, 9.0), strict=True):
        assert trials_of(tmp_path / "s")[0].state.name == "RUNNING"
        assert not is_pruned(search, job)
        end(search, job, value, last=last, mae=mae)
    (trial,) = trials_of(tmp_path / "s")
    assert trial.value == expected and trial.user_attrs["job"] == "s/0"
    assert trial.constraints == {"val/mae <= 5": 1.0, "val/r2 > 0": float("inf")}  # a mean of 6; no r2
    assert jobs_of(search, 1)[0].number == 3


def test_free_workers_get_folds_before_further_trials(begin: Make, tmp_path: Path) -> None:
    jobs = jobs_of(begin("data.folds=2", "data.folds_repeats=2"), 6)
    assert [job.settings.data.fold for job in jobs] == [0, 1, 2, 3, 0, 1]
    assert len(trials_of(tmp_path / "s")) == 2


def test_several_objectives_are_means_too(begin: Make, tmp_path: Path) -> None:
    search = begin("hydra.sweeper.objectives={val/loss: min, val/mae: max}", "data.folds=2")
    for job, value, mae in zip(jobs_of(search, 2), (1.0, 2.0), (4.0, 8.0), strict=True):
        end(search, job, value, mae=mae)
    assert trials_of(tmp_path / "s")[0].values == [1.5, 6.0]


@pytest.mark.parametrize(
    ("status", "value"), [("failed", None), ("diverged", 9.0), ("completed", None), ("completed", float("nan"))]
)
def test_a_fold_that_fails_or_has_no_objective_fails_the_trial(
    begin: Make, tmp_path: Path, status: str, value: float | None
) -> None:
    search = begin()
    first, second = jobs_of(search, 2)
    end(search, first, value, status=status)
    assert is_pruned(search, second)  # it runs for nothing
    assert trials_of(tmp_path / "s")[0].state.name == "RUNNING"
    end(search, second, 1.0, status="pruned")
    assert trials_of(tmp_path / "s")[0].state.name == "FAIL"
    assert statuses(tmp_path / "s")[2] == "pruned" and search.total == 11
    assert "left out" in search.news()[-1]
    assert jobs_of(search, 1)[0].number == 3


def test_the_pruner_gets_the_mean_after_each_fold(begin: Make, tmp_path: Path) -> None:
    search = begin(MEDIAN)
    for job, value in zip(jobs_of(search), (1.0, 2.0, 6.0), strict=True):
        end(search, job, value)
    good = jobs_of(search)
    for job, value in zip(good, (2.0, 0.5, 9.0), strict=True):  # its best mean is 1.25, below 1.5
        end(search, job, value, status="completed")
        if job is good[0]:
            break
    first, second = trials_of(tmp_path / "s")
    assert first.intermediate_values == {1: 1.0, 2: 1.5, 3: 3.0} and first.value == 3.0
    assert second.intermediate_values == {1: 2.0} and second.state.name == "RUNNING"  # two folds still run
    assert all(is_pruned(search, job) for job in good[1:])
    end(search, good[2], 9.0, status="pruned")
    search.ended(good[1], _stopped(good[1]))  # a signal came first
    assert trials_of(tmp_path / "s")[1].state.name == "PRUNED"
    assert statuses(tmp_path / "s")[4] == "pruned"
    assert search._trials == {}


def _stopped(job: Job) -> Any:
    write_end(job, None, status="stopped")
    return read_outcome(job.folder, ())


def test_a_fold_that_ends_early_waits_for_those_before_it(begin: Make, tmp_path: Path) -> None:
    search = begin(MEDIAN)
    first, second, third = jobs_of(search)
    end(search, second, 5.0)
    assert trials_of(tmp_path / "s")[0].intermediate_values == {}
    end(search, first, 1.0)
    assert trials_of(tmp_path / "s")[0].intermediate_values == {1: 1.0, 2: 3.0}
    end(search, third, 3.0)
    other = jobs_of(search)
    end(search, other[1], 0.0)
    end(search, other[2], 0.0)
    end(search, other[0], 30.0)  # all have ended, so there is nothing to prune
    assert [trial.value for trial in trials_of(tmp_path / "s")] == [3.0, 10.0]


def test_a_trial_whose_folds_all_end_while_it_is_pruned_is_complete(begin: Make, tmp_path: Path) -> None:
    search = begin(MEDIAN, "data.folds=2")
    for job in jobs_of(search, 2):
        end(search, job, 1.0)
    first, second = jobs_of(search, 2)
    end(search, first, 9.0)
    assert is_pruned(search, second)
    end(search, second, 1.0)  # it ended first
    assert trials_of(tmp_path / "s")[1].value == 5.0


def test_folds_that_never_started_are_like_those_that_did(begin: Make, tmp_path: Path) -> None:
    search = begin("loss=auto", "trainer.max_epochs=auto")
    (first,) = jobs_of(search, 1)
    config = {**first.config, "loss": {"name": "huber", "delta": 1.0}}
    config["trainer"] = {**first.config["trainer"], "max_epochs": 30}
    first.folder.config_yaml.write_text(json.dumps(config))
    end(search, first, None, status="failed")
    for number in (1, 2):
        skipped = read_yaml(tmp_path / "s" / str(number) / "config.yaml")
        assert skipped["loss"] == config["loss"] and skipped["trainer"]["max_epochs"] == 30
        assert skipped["data"]["fold"] == number


def test_a_killed_search_resumes_the_folds_that_are_left(begin: Make, tmp_path: Path) -> None:
    search = begin()
    jobs = jobs_of(search, 8)
    end(search, jobs[0], 1.0)
    write_end(jobs[1], 2.0)  # killed before the study had it
    write_end(jobs[2], None, status="running")
    for job in jobs[3:6]:
        write_end(job, 4.0)  # all folds of a trial
    write_end(jobs[6], None, status="failed")
    write_end(jobs[7], None, status="stopped")
    search._study.ask().set_user_attr("job", "s/9")  # killed before the ledger had it

    again = begin()
    (resumed,) = jobs_of(again, 1)
    assert resumed.number == 2 and resumed.resume and again.total == 4
    end(again, resumed, 6.0)
    assert statuses(tmp_path / "s")[7:9] == ["pruned", "pruned"]  # of the trial that had failed
    assert [(trial.value, trial.state.name) for trial in trials_of(tmp_path / "s")] == [
        (3.0, "COMPLETE"),
        (4.0, "COMPLETE"),
        (None, "FAIL"),
        (None, "FAIL"),
        (None, "WAITING"),  # the values that the ledger didn't have are tried next
    ]
    for job in jobs_of(again):
        assert job.number in (9, 10, 11)
        end(again, job, 5.0)
    assert again.next(()) is None
    values = [trial.value for trial in trials_of(tmp_path / "s")]
    assert values == [3.0, 4.0, None, None, 5.0]
    assert begin().next(()) is None and [trial.value for trial in trials_of(tmp_path / "s")] == values


def test_the_folds_of_a_trial_that_the_ledger_lacks_are_added(begin: Make, tmp_path: Path) -> None:
    search = begin()
    end(search, jobs_of(search)[0], 1.0)
    ledger = tmp_path / "s" / "trials.jsonl"
    lines = ledger.read_text().splitlines(keepends=True)
    ledger.write_text("".join(lines[:2]))  # the header and the first fold
    again = begin()
    jobs = jobs_of(again, 2)
    assert [(job.number, job.settings.data.fold) for job in jobs] == [(1, 1), (2, 2)]
    for job in jobs:
        end(again, job, 4.0)
    assert trials_of(tmp_path / "s")[0].value == 3.0


def test_a_fold_that_is_retried_brings_the_others_along(begin: Make, tmp_path: Path) -> None:
    search = begin("hydra.sweeper.n_trials=1")
    first, second = jobs_of(search, 2)
    end(search, second, 1.0)
    end(search, first, None, status="failed")
    assert begin("hydra.sweeper.n_trials=1").next(()) is None
    again = begin("hydra.sweeper.n_trials=1", retry=True)
    jobs = jobs_of(again, 2)
    assert [job.number for job in jobs] == [0, 2] and again.total == 2
    for job in jobs:
        end(again, job, 1.0)
    assert [trial.state.name for trial in trials_of(tmp_path / "s")] == ["FAIL"]  # a result is final
    assert again.next(()) is None


def test_values_that_can_t_be_combined_fail_a_whole_trial(begin: Make, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("c,y\n1,2\n")
    table = ("data=csv", f"data.path={file}", "data.target=y", "data.split.column=c")
    words = (*table, f"data.test_path=null,{file}", "hydra.sweeper.sampler=grid", "data.folds=2")
    search = begin(*words, space="data.split.by=group,column")
    jobs = jobs_of(search, 6)  # a column that names all splits leaves nothing for a file with test rows
    assert search.next(()) is None and search.total == 6
    for job in jobs:
        end(search, job, 1.0)
    assert sorted(trial.state.name for trial in trials_of(tmp_path / "s")) == ["COMPLETE"] * 3 + ["FAIL"]
    states = statuses(tmp_path / "s")
    first = states.index("failed")
    assert first % 2 == 0 and states[first + 1] == "pruned"
    for retry in (False, True):
        assert begin(*words, space="data.split.by=group,column", retry=retry).next(()) is None


def test_a_worker_keeps_its_structure_unless_a_pruner_needs_the_first_folds(begin: Make) -> None:
    words, space = ("hydra.sweeper.sampler=grid",), "model.activation=relu,tanh"
    jobs = jobs_of(begin(*words, space=space), 6)
    assert len({job.structure for job in jobs[:3]}) == 1 and jobs[0].structure != jobs[3].structure
    resumed = begin(*words, space=space)
    numbers = [job.number for _ in range(4) if (job := resumed.next({jobs[3].structure})) is not None]
    assert numbers == [3, 4, 5, 0]
    job = begin(*words, MEDIAN, space=space).next({jobs[3].structure})
    assert job is not None and job.number == 0


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("data.folds=choice(2,3)",), "must be the same in all trials of a search"),
        (("data.fold=null,1",), "must be the same in all trials of a search"),
    ],
)
def test_a_mistake_is_reported_before_anything_runs(make: Make, words: tuple[str, ...], expected: str) -> None:
    with pytest.raises(TfrunError) as caught:
        make(*words)
    assert expected in str(caught.value) and caught.value.exit_code == 2 and "\n" not in str(caught.value)


def test_the_resource_of_a_pruner_is_the_number_of_folds(make: Make) -> None:
    assert make("hydra.sweeper.pruner=hyperband")._studies.pruner._max_resource == 3
    search = make("hydra.sweeper.pruner={name: median, n_warmup_steps: 3}")
    (line,) = search.news()
    assert line.startswith("warning: hydra.sweeper.pruner.n_warmup_steps=3 counts folds, of which a trial has 3")
    assert make("hydra.sweeper.pruner={name: median, n_warmup_steps: 2}").news() == []


@pytest.mark.parametrize(("first", "second"), [("data.folds=3", "data.folds=2"), ("data.folds=null", "data.folds=3")])
def test_the_study_of_other_folds_is_refused(make: Make, tmp_path: Path, first: str, second: str) -> None:
    shared = (f"hydra.sweeper.storage=sqlite:///{tmp_path}/shared.db", "hydra.sweeper.study_name=shared")
    for name, folds in (("a", first), ("b", second)):
        (tmp_path / name).mkdir()
        search = make(folds, *shared)
        if name == "b":
            with pytest.raises(TfrunError, match=r"data.folds: each trial of the study 'shared' has \d jobs?, and"):
                search.begin(tmp_path / name, Ledger(tmp_path / name))
        else:
            search.begin(tmp_path / name, Ledger(tmp_path / name))


def test_machines_share_a_study_over_folds(make: Make, tmp_path: Path) -> None:
    shared = (f"hydra.sweeper.storage=sqlite:///{tmp_path}/shared.db", "hydra.sweeper.study_name=shared")
    searches = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Ledger(tmp_path / name).write_header({"swept": []})
        searches.append(make(*shared))
        searches[-1].begin(tmp_path / name, Ledger(tmp_path / name))
    both = [jobs_of(search) for search in searches]
    again = make(*shared)  # resumes the first machine's sweep while the other runs
    _, trials = Ledger(tmp_path / "a").read()
    again.begin(tmp_path / "a", Ledger(tmp_path / "a"), trials=trials, left=trials)
    for search, jobs, value in ((searches[1], both[1], 2.0), (again, jobs_of(again), 1.0)):
        for job in jobs:
            end(search, job, value)
    saved = optuna.load_study(study_name="shared", storage=f"sqlite:///{tmp_path}/shared.db").trials
    assert [(trial.user_attrs["job"], trial.value) for trial in saved] == [("a/0", 1.0), ("b/0", 2.0)]


def test_the_folds_of_a_trial_that_another_machine_has_taken_over(make: Make, tmp_path: Path) -> None:
    """This machine was asleep, and learns of it when its first fold has ended: the others are left out."""
    (tmp_path / "a").mkdir()
    Ledger(tmp_path / "a").write_header({"swept": []})
    search = make(f"hydra.sweeper.storage=sqlite:///{tmp_path}/shared.db", "hydra.sweeper.study_name=shared")
    search.begin(tmp_path / "a", Ledger(tmp_path / "a"))
    first, second = jobs_of(search)[:2]
    study = optuna.load_study(study_name="shared", storage=f"sqlite:///{tmp_path}/shared.db")
    study.tell(0, state=optuna.trial.TrialState.FAIL)
    end(search, first, 1.0)
    assert search.news()[0] == "#0–2  another machine has taken it over"
    assert search.should_prune(second, Progress(second.number, 11, 44, 1, {}, True))
    assert [trial.state.name for trial in study.trials] == ["FAIL"]


def test_the_words_of_folds() -> None:
    assert fold_words(["a=1"], 2) == [["a=1", "data.fold=0"], ["a=1", "data.fold=1"]]
    assert fold_words(["a=1"], 1) == [["a=1"]]


@pytest.mark.slow
def test_a_search_over_folds_that_is_killed_from_the_command_line(
    tmp_path: Path, wait_for: Callable[..., None]
) -> None:
    (tmp_path / "rows.csv").write_text("a,y\n" + "".join(f"{k},{2 * k}\n" for k in range(40)))
    table = ("data=csv", "data.path=rows.csv", "data.target=y", "data.folds=2")
    small = ("model=mlp", "model.hidden_units=[2]", "trainer.compile=eager", "trainer.max_epochs=1")
    words = (*table, *small, RATE, "hydra.sweeper.n_trials=2", "hydra.launcher.n_jobs=2", MEDIAN)
    command = [str(TFRUN), "-m", "hparams_search=optuna", *words]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    ledgers = tmp_path / "multirun" / "default"
    wait_for(lambda: any('"completed"' in file.read_text() for file in ledgers.glob("*/trials.jsonl")))
    process.send_signal(signal.SIGKILL)
    process.wait()
    (sweep,) = ledgers.iterdir()
    completed = [file for file in sweep.glob("?/run.json") if '"completed"' in file.read_text()]
    before = [file.read_text() for file in completed]

    done = subprocess.run([TFRUN, "resume", sweep], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert before and [file.read_text() for file in completed] == before
    runs = [json.loads((sweep / str(number) / "run.json").read_text()) for number in range(4)]
    assert [run["data"]["split"]["fold"] for run in runs if run["status"] == "completed"][:2] == [0, 1]
    # one that was asked for when the process was killed may have no job
    asked = [trial for trial in trials_of(sweep) if trial.state.name != "FAIL" and "job" in trial.user_attrs]
    trials = {trial.user_attrs["job"]: trial for trial in asked}
    assert sorted(trials) == [f"{sweep.name}/0", f"{sweep.name}/2"]
    for first in (0, 2):
        trial, folds = trials[f"{sweep.name}/{first}"], runs[first : first + 2]
        if trial.state.name == "COMPLETE":
            assert trial.value == sum(run["best"]["val/loss"] for run in folds) / 2
        else:  # worse than the first one after its first fold, and the second one still ran
            assert first == 2 and trial.state.name == "PRUNED" and folds[1]["status"] == "pruned"
            assert trial.intermediate_values == {1: folds[0]["best"]["val/loss"]}
    assert statuses(sweep) == [run["status"] for run in runs]
