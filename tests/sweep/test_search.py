"""Searches: what Optuna is asked and told, and the real command."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from hydra.types import RunMode

from tfrun.config.compose import open_configs
from tfrun.config.sources import Sources, plugin_names
from tfrun.errors import ConfigError, TfrunError
from tfrun.sweep.board import read_outcome
from tfrun.sweep.jobs import Job
from tfrun.sweep.ledger import Ledger
from tfrun.sweep.search import Search
from tfrun.sweep.space import Dimension
from tfrun.sweep.worker import Step

TFRUN = Path(sys.executable).with_name("tfrun")
PG_PATH = "/usr/lib/postgresql/15/bin"  # Debian keeps the server off the PATH
RATE = "optimizer.learning_rate=tag(log,interval(1e-4,1e-1))"
MAE = "checkpoint.monitor=val/mae"
BASE = ("hparams_search=optuna", "model=mlp", "hydra.sweeper.n_trials=6", "trainer.max_epochs=4")


def search(*words: str) -> Search:
    everything = [*BASE, *words]
    with open_configs(everything, plugins=plugin_names(everything, Sources())) as hydra:
        return Search(hydra, hydra.compose(everything, RunMode.MULTIRUN).cfg)


def begun(folder: Path, *words: str) -> Search:
    folder.mkdir(exist_ok=True)
    found = search(*words)
    ledger = Ledger(folder)
    ledger.begin({"swept": []})
    found.begin(folder, ledger)
    return found


def end(found: Search, job: Job, value: float | None, status: str = "completed", mae: float = 0.0) -> None:
    """Has a job end as if it had been trained."""
    job.folder.path.mkdir(exist_ok=True)
    best = {} if value is None else {"monitor": "val/loss", "val/loss": value, "val/mae": mae}
    job.folder.write_run({"status": status, "best": best, "metrics": best, "overrides": job.overrides, "parameters": 7})
    found.ended(job, read_outcome(job.folder, ()))


def study(folder: Path) -> optuna.Study:
    return optuna.load_study(study_name=folder.name, storage=f"sqlite:///{folder / 'study.db'}")


def rate(job: Job) -> float:
    return float(job.hparams["optimizer.learning_rate"])


def test_the_space_is_the_config_s_and_the_command_line_s() -> None:
    given = "hydra.sweeper.params={seed: 'range(1,9)', model.dropout: {value: 'interval(0,0.5)', when: 'loss=mse'}}"
    found = search("loss=mse,huber", given, RATE, "data.batch_size=int(interval(8,64))", "name=given", MAE)
    assert found.space == [
        Dimension("seed", 1, 8),
        Dimension("loss", choices=("mse", "huber")),
        Dimension("optimizer.learning_rate", 1e-4, 1e-1, log=True),
        Dimension("data.batch_size", 8, 64),
        Dimension("model.dropout", 0.0, 0.5, when=("loss", ("mse",))),
    ]
    assert "name=given" in found.common and "model=mlp" in found.common


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), "hydra.sweeper.params: an empty space"),
        (("optimizer.learning_rat=interval(1,2)",), "Did you mean 'optimizer.learning_rate'?"),
        (("optimizer.learning_rate=interval(-1,2)",), "optimizer.learning_rate=-1"),
        (("optimizer.learning_rate=interval(2,1)",), "an interval needs low < high"),
        (("optimizer.learning_rate=tag(log,interval(0,1))",), "an interval needs 0 < low < high"),
        (("loss=huber,hubber", RATE), "Did you mean 'huber'?"),
        ((RATE, "hydra.sweeper.objectives={val/accuracy: max}"), "hydra.sweeper.objectives"),
        ((RATE, "hydra.sweeper.objectives={val/mae: small}"), "must be min, max or null"),
        ((RATE, "hydra.sweeper.objectives={val/mae: min, val/loss: min}", "hydra.sweeper.pruner=median"), "several"),
        ((RATE, "loss=mse,huber"), "val/loss says nothing of which loss is better"),
        ((RATE, "loss=huber", "loss.delta=interval(1,2)", "hydra.sweeper.objectives={train/loss: min}"), "loss.delta"),
        ((RATE, "hydra.sweeper.sampler=tpee"), "Did you mean 'tpe'?"),
        ((RATE, "hydra.sweeper.sampler={name: tpe, startup: 3}"), "hydra.sweeper.sampler"),
        ((RATE, "hydra.sweeper.sampler=grid"), "grid needs choices"),
        ((RATE, "hydra.sweeper.pruner=medium"), "hydra.sweeper.pruner"),
        ((RATE, "hydra.sweeper.n_trials=0"), "hydra.sweeper.n_trials"),
        ((RATE, "hydra.sweeper.take=first"), "must be one of 'best', 'last'"),
        ((RATE, "++hydra.sweeper.n_trial=3"), "Did you mean 'n_trials'?"),
        ((RATE, "hydra.sweeper.constraints=['val/mae is small']"), "must be like 'val/mae < 50000'"),
        (
            (RATE, "hydra.sweeper.params={seed: {value: 'range(1,3)', when: 'loss=mse'}}"),
            "unknown key of the space",
        ),
    ],
)
def test_a_mistake_is_told_before_anything_runs(words: tuple[str, ...], expected: str) -> None:
    with pytest.raises(TfrunError) as caught:
        search(*words)
    assert expected in str(caught.value) and caught.value.exit_code == 2 and "\n" not in str(caught.value)


def test_what_a_sampler_needs_is_looked_for_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ConfigError, match=r"gp needs PyTorch. .*'tfrun\[gp\]'"):
        search(RATE, "hydra.sweeper.sampler=gp")


@pytest.mark.parametrize("sampler", ["tpe", "cmaes", "gp", "random", "nsgaii"])
def test_every_sampler_searches_the_space(tmp_path: Path, sampler: str) -> None:
    if sampler == "gp":
        pytest.importorskip("torch", reason="the extra gp isn't installed")
    words = (
        RATE,
        "data.batch_size=int(interval(8,64))",
        f"hydra.sweeper.sampler={sampler}",
        "hydra.sweeper.n_trials=14",
    )
    found, rates = begun(tmp_path / "s", *words), []
    while (job := found.next(())) is not None:
        rates.append(rate(job))
        assert 8 <= job.settings.data.batch_size <= 64
        end(found, job, (math.log10(rate(job)) + 2) ** 2)
    assert len(set(rates)) == 14 and all(1e-4 <= own <= 1e-1 for own in rates)


def test_each_job_s_value_is_told(tmp_path: Path) -> None:
    found, losses, rates = begun(tmp_path / "s", RATE), [], []
    while (job := found.next(())) is not None:
        rates.append(rate(job))
        losses.append((math.log10(rate(job)) + 2) ** 2)  # least at 0.01
        end(found, job, losses[-1])
    told = study(tmp_path / "s")
    assert [trial.value for trial in told.trials] == losses and len(losses) == 6
    assert [trial.params["optimizer.learning_rate"] for trial in told.trials] == pytest.approx(rates, rel=1e-5)
    assert told.best_value == min(losses)


def test_conditions_and_whole_numbers(tmp_path: Path) -> None:
    dropout = "model.dropout: {value: 'interval(0,0.9)', when: 'model=mlp'}"
    given = f"hydra.sweeper.params={{model: 'choice(mlp,wide_deep)', {dropout}}}"
    found = begun(tmp_path / "s", given, "hydra.sweeper.n_trials=12")
    models = set()
    while (job := found.next(())) is not None:
        models.add(job.settings.model.name)
        has_dropout = any(text.startswith("model.dropout=") for text in job.overrides)
        assert has_dropout == (job.settings.model.name == "mlp")
        end(found, job, 1.0)
    assert models == {"mlp", "wide_deep"}


def test_a_grid_ends_with_its_last_point(tmp_path: Path) -> None:
    words = ("loss=mse,mae", MAE, "seed=1,2", "hydra.sweeper.sampler=grid", "hydra.sweeper.n_trials=null")
    found, seen = begun(tmp_path / "s", *words), set()
    assert found.total == 4
    while (job := found.next(())) is not None:
        seen.add((job.settings.loss.name, job.settings.seed))
        end(found, job, 1.0)
    assert seen == {("mse", 1), ("mse", 2), ("mae", 1), ("mae", 2)}


def test_bad_jobs_are_given_up_early(tmp_path: Path) -> None:
    found = begun(tmp_path / "s", RATE, "hydra.sweeper.pruner={name: median, n_startup_trials: 2}")
    for value in (1.0, 2.0):
        job = found.next(())
        assert job is not None
        assert not any(
            found.told(job, Step(job.number, 11 * n, 44, n, {"val/loss": value}, True)) for n in (1, 2, 3, 4)
        )
        end(found, job, value)
    good, bad = found.next(()), found.next(())
    assert good is not None and bad is not None
    assert not found.told(bad, Step(bad.number, 5, 44, 0, {"val/loss": 9.0}, False))  # no epoch has ended
    assert not found.told(good, Step(good.number, 11, 44, 1, {"val/loss": 0.5}, True))
    assert found.told(bad, Step(bad.number, 11, 44, 1, {"val/loss": 9.0}, True))
    end(found, bad, 9.0, "pruned")
    end(found, good, None, "diverged")
    states = [trial.state.name for trial in study(tmp_path / "s").trials]
    assert states == ["COMPLETE", "COMPLETE", "FAIL", "PRUNED"]


def test_several_objectives_and_constraints(tmp_path: Path) -> None:
    objectives = "hydra.sweeper.objectives={val/loss: min, val/mae: max}"
    found = begun(tmp_path / "s", RATE, objectives, "hydra.sweeper.constraints=['val/mae <= 5', 'parameters > 9']")
    for mae in (4.0, 8.0):
        job = found.next(())
        assert job is not None
        end(found, job, 1.0, mae=mae)
    first, second = study(tmp_path / "s").trials
    assert first.values == [1.0, 4.0] and second.values == [1.0, 8.0]
    assert first.constraints == {"val/mae <= 5": -1.0, "parameters > 9": 2.0}  # 7 parameters are 2 too few
    assert second.constraints == {"val/mae <= 5": 3.0, "parameters > 9": 2.0}


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
    tmp_path: Path, words: list[str], directions: list[str]
) -> None:
    begun(tmp_path / "s", RATE, "metric=[mae,r2]", *words)
    assert [direction.name for direction in study(tmp_path / "s").directions] == directions


def test_a_search_that_was_killed_goes_on(tmp_path: Path) -> None:
    found = begun(tmp_path / "s", RATE)
    ended, running, untold = found.next(()), found.next(()), found.next(())
    assert ended and running and untold
    end(found, ended, 1.0)
    found._study.ask().set_user_attr("job", "s/3")  # killed before the ledger had it
    untold.folder.path.mkdir()  # killed before the study was told
    untold.folder.write_run({"status": "completed", "best": {"monitor": "val/loss", "val/loss": 3.0}})

    again, ledger = search(RATE), Ledger(tmp_path / "s")
    _, trials = ledger.read()
    again.begin(tmp_path / "s", ledger, trials, [trials[1]])
    resumed = again.next(())
    assert resumed is not None and resumed.resume and resumed.overrides == running.overrides
    end(again, resumed, 2.0)
    numbers = []
    while (job := again.next(())) is not None:
        numbers.append(job.number)
        end(again, job, 4.0)
    assert numbers == [3, 4, 5]
    told = study(tmp_path / "s").trials
    assert [trial.value for trial in told] == [1.0, 2.0, 3.0, None, 4.0, 4.0, 4.0]
    assert told[3].state.name == "FAIL"


def test_a_study_of_another_space_is_refused(tmp_path: Path) -> None:
    begun(tmp_path / "s", RATE)
    with pytest.raises(TfrunError, match="is of another space"):
        begun(tmp_path / "s", RATE, "seed=1,2")
    with pytest.raises(TfrunError, match="other objectives"):
        begun(tmp_path / "s", RATE, "hydra.sweeper.objectives={val/mae: max}")


@pytest.mark.parametrize("storage", ["mysql://nowhere/x", "nonsense", "sqlite:////nowhere/at/all.db"])
def test_a_storage_that_can_t_be_used(tmp_path: Path, storage: str) -> None:
    with pytest.raises(TfrunError, match="hydra.sweeper.storage"):
        begun(tmp_path / "s", RATE, f"hydra.sweeper.storage='{storage}'")


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    folder = tmp_path_factory.mktemp("search")
    small = ("model=mlp", "model.hidden_units=[4]", "trainer.compile=graph", "trainer.max_epochs=6")
    storage = f"hydra.sweeper.storage='journal:{folder / 'journal.log'}'"
    words = ("-m", "hparams_search=optuna", *small, RATE, "hydra.sweeper.n_trials=5", "hydra.sweeper.pruner=asha")
    done = subprocess.run(
        [TFRUN, *words, storage, "hydra.launcher.n_jobs=2"], cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    yield folder, done.stdout


def test_a_search_from_the_command_line(swept: tuple[Path, str]) -> None:
    folder, said = swept
    (sweep,) = folder.glob("multirun/default/*")
    runs = [json.loads((sweep / str(number) / "run.json").read_text()) for number in range(5)]
    assert {run["status"] for run in runs} <= {"completed", "pruned"}
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(folder / "journal.log")))
    trials = optuna.load_study(study_name=sweep.name, storage=storage).trials
    for run, trial in zip(runs, trials, strict=True):
        if run["status"] == "completed":
            assert trial.value == run["best"]["val/loss"]
        assert trial.state.name == {"completed": "COMPLETE", "pruned": "PRUNED"}[run["status"]]
        assert trial.params["optimizer.learning_rate"] == pytest.approx(
            float(next(text for text in run["overrides"] if "learning_rate" in text).partition("=")[2]), rel=1e-5
        )
    assert "5 jobs" in said and "best" in said


def test_a_search_is_extended_by_resume(swept: tuple[Path, str]) -> None:
    folder, _ = swept
    (sweep,) = folder.glob("multirun/default/*")
    done = subprocess.run(
        [TFRUN, "resume", sweep, "hydra.sweeper.n_trials=7"], cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "0 of 5 jobs are left" in done.stdout and "default: 7 jobs" in done.stdout


@pytest.fixture
def postgresql(tmp_path: Path) -> Iterator[str]:
    """A server's address; it listens on loopback alone."""
    path = f"{os.environ['PATH']}:{PG_PATH}"
    initdb, postgres = shutil.which("initdb", path=path), shutil.which("postgres", path=path)
    if initdb is None or postgres is None:
        pytest.skip("PostgreSQL's server isn't installed")
    pytest.importorskip("psycopg")
    # it refuses to run as root
    user: dict[str, str] = {"user": "nobody"} if os.geteuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    if user:
        shutil.chown(folder, "nobody")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder, **user}
    subprocess.run([initdb, "-D", folder / "data", "-A", "trust", "-U", "tf"], check=True, **quiet)
    own = ["-p", str(port), "-k", str(folder), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
    server = subprocess.Popen([postgres, "-D", folder / "data", *own], **quiet)
    try:
        import psycopg

        address = f"postgresql://tf@127.0.0.1:{port}/postgres"
        for _ in range(100):
            try:
                psycopg.connect(address).close()
                break
            except psycopg.OperationalError:
                time.sleep(0.1)
        yield address
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(timeout=30)
        shutil.rmtree(folder, ignore_errors=True)


def test_two_machines_work_on_one_study_in_postgresql(tmp_path: Path, postgresql: str) -> None:
    words = (RATE, f"hydra.sweeper.storage='{postgresql}'", "hydra.sweeper.study_name=shared")
    machines = [begun(tmp_path / name, *words) for name in ("a", "b")]
    rates = []
    for value in (1.0, 2.0, 3.0):
        for machine in machines:
            job = machine.next(())
            assert job is not None
            rates.append(rate(job))
            end(machine, job, value)
    assert len(set(rates)) == 6  # neither draws what the other does
    shared = optuna.load_study(study_name="shared", storage=postgresql)
    assert [trial.params["optimizer.learning_rate"] for trial in shared.trials] == pytest.approx(rates, rel=1e-5)
    assert [trial.value for trial in shared.trials] == [1.0, 1.0, 2.0, 2.0, 3.0, 3.0]


def test_a_search_that_goes_on_draws_anew(tmp_path: Path) -> None:
    drawn = []
    for _ in range(2):
        found = begun(tmp_path / "s", RATE)
        for _ in range(2):
            job = found.next(())
            assert job is not None
            drawn.append(rate(job))
            end(found, job, 1.0)
    assert len(set(drawn)) == 4
    again = begun(tmp_path / "t", RATE).next(())
    assert again is not None and rate(again) == drawn[0]  # a new one with the same seed begins in the same way
