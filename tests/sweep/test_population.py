"""Population-based training: who goes on, who takes over whose state, and the real command."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra.types import RunMode

from tfrun.config.compose import open_configs
from tfrun.config.sources import Sources, plugin_names
from tfrun.errors import TfrunError
from tfrun.files import checkpoints, copy_run
from tfrun.sweep.board import read_outcome
from tfrun.sweep.jobs import Job
from tfrun.sweep.ledger import Ledger
from tfrun.sweep.population import Population
from tfrun.sweep.space import Dimension

TFRUN = Path(sys.executable).with_name("tfrun")
RATE = "optimizer.learning_rate=tag(log,interval(1e-4,1e-1))"
BASE = ("hparams_search=pbt", "model=mlp", "trainer.max_epochs=6", "logger=null", "checkpoint.keep=1")
STEPS = 10  # an epoch


def population(*words: str) -> Population:
    everything = [*BASE, *words]
    with open_configs(everything, plugins=plugin_names(everything, Sources())) as hydra:
        return Population(hydra, hydra.compose(everything, RunMode.MULTIRUN).cfg)


def begun(folder: Path, *words: str) -> Population:
    """Returns a population that was begun, or the one that goes on with what is in the folder."""
    folder.mkdir(exist_ok=True)
    found, ledger = population(RATE, *words), Ledger(folder)
    trials = ledger.read()[1] if (folder / "trials.jsonl").exists() else []
    if not trials:
        ledger.begin({"swept": []})
    found.begin(folder, ledger, trials, [trial for trial in trials if trial.state in ("waiting", "running", "stopped")])
    return found


def train(job: Job, value: float, status: str = "") -> None:
    """Has a job come to where it pauses as if it had been trained: each epoch gives the same value."""
    assert job.pause_epoch is not None
    job.folder.path.mkdir(exist_ok=True)
    before = job.folder.read_metrics() if job.folder.metrics_jsonl.exists() else []
    lines = before + [
        {"epoch": n, "step": STEPS * n, "val/loss": value} for n in range(len(before) + 1, job.pause_epoch + 1)
    ]
    job.folder.metrics_jsonl.write_text("".join(json.dumps(line) + "\n" for line in lines))
    step, length = STEPS * job.pause_epoch, job.folder.metrics_jsonl.stat().st_size
    arrays = {"model/0000": np.array([job.number, value], "f4"), "learning_rate/all/0000": np.array(rate(job), "f4")}
    slots = {slot: {"path": slot, "shape": list(own.shape), "dtype": "float32"} for slot, own in arrays.items()}
    if not status:
        status = "completed" if job.pause_epoch >= 6 else "stopped"
        extra = {"journals": {"metrics.jsonl": length}, "engine": {}}
        checkpoints.save(job.folder.checkpoints, step, slots=slots, arrays=arrays, extra=extra, keep=1)
    epoch = job.pause_epoch if status in ("completed", "stopped") else job.pause_epoch - 1
    job.folder.write_run(job.folder.read_run() | {"status": status, "step": step, "epoch": epoch, "best": {}})


def end(found: Population, job: Job, value: float, status: str = "") -> None:
    train(job, value, status)
    found.ended(job, read_outcome(job.folder, ()))


def rate(job: Job) -> float:
    return float(job.hparams["optimizer.learning_rate"])


def take(found: Population) -> Job:
    job = found.next(())
    assert job is not None
    return job


def test_the_worst_goes_on_from_the_best(tmp_path: Path) -> None:
    found = begun(tmp_path / "s", "hydra.sweeper.population=4", "hydra.sweeper.drawn_anew=0")
    first = [take(found) for _ in range(4)]
    assert found.next(()) is None and [job.pause_epoch for job in first] == [2] * 4
    assert len({rate(job) for job in first}) == 4 and all(1e-4 <= rate(job) <= 1e-1 for job in first)
    for job, value in zip(first, (3.0, 1.0, 9.0, 2.0), strict=True):
        end(found, job, value)
    second = [take(found) for _ in range(4)]
    assert [job.number for job in second] == [0, 1, 4, 3] and {job.pause_epoch for job in second} == {4}
    new, best = second[2], first[1]
    assert rate(new) in [pytest.approx(factor * rate(best), rel=1e-5) for factor in (0.8, 1.2)]
    copy, state = (checkpoints.newest(job.folder.checkpoints) for job in (new, best))
    assert copy and state and copy.step == 20
    assert copy.arrays["model/0000"].tolist() == state.arrays["model/0000"].tolist() == [1.0, 1.0]
    assert copy.arrays["learning_rate/all/0000"] == np.float32(rate(new))
    assert new.folder.metrics_jsonl.read_bytes() == best.folder.metrics_jsonl.read_bytes()
    run = new.folder.read_run()
    assert run["branch"] == {"run_id": "s/1", "epoch": 2, "step": 20} and run["status"] == "stopped"
    assert first[2].folder.read_run()["status"] == "pruned"
    states = {trial.number: trial.state for trial in Ledger(tmp_path / "s").read()[1]}
    assert states[2] == "pruned" and states[4] == "waiting"
    assert found.lines()[-2:] == ["epoch 2: val/loss 1 (#1) to 9 (#2)", "#4 goes on from #1 in the place of #2"]


def test_nobody_waits_who_is_better_than_enough_others(tmp_path: Path) -> None:
    found = begun(tmp_path / "s", "hydra.sweeper.population=4", "checkpoint.mode=max", "hydra.sweeper.replaced=0.5")
    a, b, c, d = (take(found) for _ in range(4))
    end(found, a, 5.0)
    end(found, b, 1.0)
    assert found.next(()) is None  # two are replaced, and only one is known to be worse than a
    end(found, c, 2.0)
    again = take(found)
    assert again.number == a.number and again.pause_epoch == 4
    end(found, again, 6.0)  # its second generation ends before the first one of d
    assert found.next(()) is None
    end(found, d, 3.0)
    rest = [take(found) for _ in range(3)]
    assert [job.number for job in rest] == [4, 5, 3]  # d goes on; new ones for b and c
    sources = {job.folder.read_run()["branch"]["run_id"] for job in rest[:2]}
    assert sources <= {"s/0", "s/3"} and {checkpoints.newest(job.folder.checkpoints).step for job in rest[:2]} == {20}  # type: ignore[union-attr]


def test_the_order_in_which_jobs_end_changes_nothing(tmp_path: Path) -> None:
    def trials(folder: Path, at_once: int, backwards: bool) -> list[Any]:
        found = begun(folder, "hydra.sweeper.population=5")
        running: list[Job] = []
        while True:
            while len(running) < at_once and (job := found.next(())) is not None:
                running.append(job)
            if not running:
                return [(trial.number, trial.overrides, trial.branch) for trial in Ledger(folder).read()[1]]
            job = running.pop(0 if backwards else -1)
            end(found, job, math.sin(1000 * rate(job)) + (job.pause_epoch or 0))

    alone = trials(tmp_path / "a", 1, False)
    assert len(alone) == 7
    assert trials(tmp_path / "b", 5, True) == alone == trials(tmp_path / "c", 3, False)


@pytest.mark.parametrize("status", ["diverged", "failed"])
def test_a_job_that_fails_is_replaced_unless_it_was_in_the_last_generation(tmp_path: Path, status: str) -> None:
    found = begun(tmp_path / "s", "hydra.sweeper.population=3")
    jobs = [take(found) for _ in range(3)]
    end(found, jobs[0], 1.0, status)
    end(found, jobs[1], 1.0)
    end(found, jobs[2], 2.0)
    again = [take(found) for _ in range(3)]
    assert [job.number for job in again] == [3, 1, 2]
    assert jobs[0].folder.read_run()["status"] == status
    for _ in range(2):
        for job in again:
            end(found, job, 1.0, status if job.pause_epoch == 6 else "")
        again = [job for job in iter(lambda: found.next(()), None) if job is not None]
    assert again == []


def test_where_all_fail_it_is_over(tmp_path: Path) -> None:
    found = begun(tmp_path / "s", "hydra.sweeper.population=2")
    for job in [take(found), take(found)]:
        end(found, job, 1.0, "diverged")
    assert found.next(()) is None and found.lines()[-1] == "epoch 2: every member has failed"


def interrupted(*_: Any) -> None:
    raise KeyboardInterrupt


def test_one_that_was_killed_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("hydra.sweeper.population=4", "hydra.sweeper.replaced=0.5")
    folder = tmp_path / "s"
    found = begun(folder, *words)
    jobs = [take(found) for _ in range(4)]
    for k in (0, 2, 3):
        end(found, jobs[k], 1.0 + k)
    ahead = take(found)
    assert (ahead.number, ahead.pause_epoch) == (0, 4)
    end(found, ahead, 0.5)
    end(found, jobs[1], 2.0)
    _, new = take(found), take(found)
    assert new.number == 4
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(copy_run, "begin", interrupted)
        found.next(())  # would have #5 in the place of #3

    again = begun(folder, *words)
    assert jobs[3].folder.read_run()["status"] == "pruned"
    rest = [take(again) for _ in range(3)]
    assert [(job.number, job.pause_epoch) for job in rest] == [(1, 4), (4, 4), (5, 4)]
    assert again.next(()) is None  # whether #0 goes on is not known
    assert rest[1].overrides == new.overrides
    for job, value in zip(rest, (0.6, 0.7, 0.8), strict=True):
        end(again, job, value)
    assert [take(again).number for _ in range(4)] == [0, 1, 6, 7]


def test_states_that_others_may_want_are_kept_so_long(tmp_path: Path) -> None:
    found = begun(tmp_path / "s", "hydra.sweeper.population=3")
    best, middle, worst = (take(found) for _ in range(3))
    end(found, best, 1.0)
    end(found, middle, 2.0)
    again = take(found)
    assert again.number == best.number
    end(found, again, 1.0)  # keeps one checkpoint, that of step 40
    assert sorted(path.name for path in best.folder.checkpoints.iterdir()) == ["step-000000020", "step-000000040"]
    end(found, worst, 3.0)
    while (job := found.next(())) is not None:
        end(found, job, 1.0)
    assert [path.name for path in best.folder.checkpoints.iterdir()] == ["step-000000060"]


def test_values_near_another_one() -> None:
    rates = Dimension("rate", 1e-3, 1e-1, log=True)
    assert [rates.near("0.01", 0.8), rates.near("0.09", 1.2), rates.near("0.001", 0.8)] == ["0.008", "0.1", "0.001"]
    whole = Dimension("seed", 1, 9)
    assert [whole.near("5", 1.2), whole.near("2", 1.2), whole.near("1", 0.8), whole.near("9", 1.2)] == list("6319")
    words = Dimension("loss.how", choices=("a", "b", "c"))
    assert [words.near("b", 1.2), words.near("b", 0.8), words.near("c", 1.2), words.near("a", 0.8)] == list("caca")
    assert Dimension("delta", 0.5, 1.0).near("0.9", 1.2) == "1.0"  # a float stays one


def test_values_are_drawn_from_the_whole_space() -> None:
    rng = np.random.default_rng(0)
    rates = np.log10([float(Dimension("rate", 1e-4, 1e-1, log=True).draw(rng)) for _ in range(300)])
    assert -4 <= rates.min() < -3.9 and -1.1 < rates.max() <= -1
    assert np.mean(rates) == pytest.approx(-2.5, abs=0.2)
    assert {Dimension("seed", 1, 3).draw(rng) for _ in range(50)} == {"1", "2", "3"}
    assert {Dimension("loss", choices=("a", "b")).draw(rng) for _ in range(50)} == {"a", "b"}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), "hydra.sweeper.params: an empty space"),
        ((RATE, "hydra.sweeper.population=1"), "hydra.sweeper.population: must be a whole number >= 2"),
        ((RATE, "hydra.sweeper.replaced=0.6"), "hydra.sweeper.replaced"),
        ((RATE, "hydra.sweeper.every_epochs=6"), "hydra.sweeper.every_epochs: must be fewer than trainer.max_epochs"),
        ((RATE, "trainer.max_epochs=null", "trainer.max_steps=9"), "trainer.max_steps: a population's members"),
        (
            (RATE, "trainer.max_seconds=9"),
            "trainer.max_seconds: a population's members all train for trainer.max_epochs",
        ),
        ((RATE, "early_stopping=default"), "early_stopping: a population's members"),
        ((RATE, "++hydra.sweeper.populatio=3"), "Did you mean 'population'?"),
        ((RATE, "model.dropout=interval(0.1,0.5)"), "members take over each other's state"),
        ((RATE, "data.batch_size=16,32"), "members take over each other's state"),
        ((RATE, "loss=huber,mse"), "members take over each other's state"),
        ((RATE, "loss=huber", "loss.delta=interval(0.5,2.0)"), "val/loss says nothing of which loss.delta is better"),
    ],
)
def test_a_mistake_is_told_before_anything_runs(words: tuple[str, ...], expected: str) -> None:
    with pytest.raises(TfrunError) as caught:
        population(*words)
    assert expected in str(caught.value) and caught.value.exit_code == 2 and "\n" not in str(caught.value)


def start(folder: Path, name: str, *words: str) -> subprocess.Popen[str]:
    everything = [*BASE[:2], "model.hidden_units=[4]", "trainer.compile=graph", f"name={name}", RATE, *words]
    settings = ("hydra.sweeper.population=4", "hydra.sweeper.factors=[1.0,1.2]", "hydra.sweeper.drawn_anew=0")
    command = [str(TFRUN), "-m", *everything, *settings, "trainer.max_epochs=16"]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def results(folder: Path) -> dict[str, Any]:
    """Returns what the jobs of the one sweep in a folder left: what each was, each epoch's values, the last state."""
    return {
        path.name: (
            [text for text in json.loads((path / "run.json").read_text())["overrides"] if not text.startswith("name=")],
            (path / "metrics.jsonl").read_bytes(),
            (max(path.glob("checkpoints/step-*")) / "state.npz").read_bytes(),
        )
        for path in folder.glob("[0-9]*")
    }


@pytest.mark.slow
def test_a_killed_one_equals_one_that_nobody_killed_and_a_copy_what_it_was_copied_from(tmp_path: Path) -> None:
    whole, killed = start(tmp_path, "whole"), start(tmp_path, "killed", "hydra.launcher.n_jobs=2")
    until = time.monotonic() + 60
    while not list(tmp_path.glob("multirun/killed/*/5/checkpoints/step-*")) and time.monotonic() < until:
        time.sleep(0.02)
    killed.kill()
    killed.communicate()
    (folder,) = tmp_path.glob("multirun/killed/*")
    done = subprocess.run([TFRUN, "resume", folder], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    out, errors = whole.communicate(timeout=120)
    assert whole.returncode == 0, errors
    assert "#4 goes on from" in out and "pruned" in out and "completed, from #" in out
    found = results(*tmp_path.glob("multirun/whole/*"))
    assert results(folder) == found

    runs = {
        int(path.parent.name): json.loads(path.read_text())
        for path in tmp_path.glob("multirun/whole/*/[0-9]*/run.json")
    }
    sources = {k: int(run["branch"]["run_id"].rpartition("/")[2]) for k, run in runs.items() if "branch" in run}
    alike = [(k, source) for k, source in sources.items() if found[str(k)][0] == found[str(source)][0]]
    assert [runs[k]["status"] for pair in alike for k in pair].count("completed") >= 2
    for copy, source in alike:
        own, theirs = (found[str(k)][1].splitlines() for k in (copy, source))
        common = min(len(own), len(theirs))
        assert own[:common] == theirs[:common] and common > runs[copy]["branch"]["epoch"]
