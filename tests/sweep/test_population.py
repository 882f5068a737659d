"""Population-based training: which members are replaced, which state they copy, and the real command."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra.types import RunMode

from tfrun.config.compose import Configs
from tfrun.errors import TfrunError
from tfrun.files import checkpoints, copy_run
from tfrun.sweep.jobs import Job
from tfrun.sweep.ledger import Ledger
from tfrun.sweep.outcome import read_outcome
from tfrun.sweep.population import Population, _score

RATE = "optimizer.learning_rate=tag(log,interval(1e-4,1e-1))"
BASE = ("hparams_search=pbt", "model=mlp", "trainer.max_epochs=6", "logger=null", "checkpoint.keep=1")
STEPS = 10  # an epoch


Make = Callable[..., Population]


@pytest.fixture
def make(hydra: Configs) -> Make:
    """Returns a function from words of a command line to a checked population."""

    def make(*words: str) -> Population:
        return Population.from_config(hydra, hydra.compose([*BASE, *words], RunMode.MULTIRUN).cfg)

    return make


@pytest.fixture
def begin(make: Make) -> Make:
    """Returns a function from a folder and words to a population that begins in the folder, or is resumed there."""

    def begin(folder: Path, *words: str) -> Population:
        folder.mkdir(exist_ok=True)
        population = make(RATE, *words)
        ledger = Ledger(folder)
        trials = ledger.read()[1] if (folder / "trials.jsonl").exists() else []
        if not trials:
            ledger.write_header({"swept": []})
        left = [trial for trial in trials if trial.state in ("waiting", "running", "stopped")]
        population.begin(folder, ledger, trials=trials, left=left)
        return population

    return begin


def train(job: Job, value: float, status: str = "") -> None:
    """Brings a job to the epoch where it pauses, as if it had been trained: each epoch gives the same value."""
    assert job.pause_epoch is not None
    job.folder.path.mkdir(exist_ok=True)
    chosen = {"loss": {"name": "huber", "delta": 1.0}, "metric": {"mae": {"name": "mae"}}}  # what `auto` becomes
    job.with_config({**job.config, **chosen}, job.settings)
    before = job.folder.read_metrics() if job.folder.metrics_jsonl.exists() else []
    lines = before + [
        {"epoch": n, "step": STEPS * n, "val/loss": value} for n in range(len(before) + 1, job.pause_epoch + 1)
    ]
    job.folder.metrics_jsonl.write_text("".join(json.dumps(line) + "\n" for line in lines))
    step, length = STEPS * job.pause_epoch, job.folder.metrics_jsonl.stat().st_size
    arrays = {"model/0000": np.array([job.number, value], "f4"), "learning_rate/all/0000": np.array(rate(job), "f4")}
    slots = {slot: {"path": slot, "shape": list(array.shape), "dtype": "float32"} for slot, array in arrays.items()}
    if not status:
        status = "completed" if job.pause_epoch >= 6 else "stopped"
        extra = {"journals": {"metrics.jsonl": length}, "engine": {}}
        checkpoints.save(job.folder.checkpoints, step, slots=slots, arrays=arrays, extra=extra, keep=1)
    epoch = job.pause_epoch if status in ("completed", "stopped") else job.pause_epoch - 1
    job.folder.write_run(job.folder.read_run() | {"status": status, "step": step, "epoch": epoch, "best": {}})


def end(population: Population, job: Job, value: float, status: str = "") -> None:
    train(job, value, status)
    population.ended(job, read_outcome(job.folder, ()))


def rate(job: Job) -> float:
    return float(job.hparams["optimizer.learning_rate"])


def next_job(population: Population) -> Job:
    job = population.next(())
    assert job is not None
    return job


def test_the_worst_is_replaced_by_a_copy_of_the_best(begin: Make, tmp_path: Path) -> None:
    population = begin(tmp_path / "s", "hydra.sweeper.population=4", "hydra.sweeper.drawn_anew=0")
    first = [next_job(population) for _ in range(4)]
    assert population.next(()) is None and [job.pause_epoch for job in first] == [2] * 4
    assert len({rate(job) for job in first}) == 4 and all(1e-4 <= rate(job) <= 1e-1 for job in first)
    for job, value in zip(first, (3.0, 1.0, 9.0, 2.0), strict=True):
        end(population, job, value)
    second = [next_job(population) for _ in range(4)]
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
    assert population.news()[-2:] == [
        "epoch 2: val/loss 1 (#1) to 9 (#2)",
        "#4 starts from a copy of #1 and replaces #2",
    ]


def test_a_member_that_is_better_than_enough_others_doesn_t_wait(begin: Make, tmp_path: Path) -> None:
    population = begin(
        tmp_path / "s", "hydra.sweeper.population=4", "checkpoint.mode=max", "hydra.sweeper.replaced=0.5"
    )
    a, b, c, d = (next_job(population) for _ in range(4))
    end(population, a, 5.0)
    end(population, b, 1.0)
    assert population.next(()) is None  # two are replaced, and only one is known to be worse than a
    end(population, c, 2.0)
    again = next_job(population)
    assert again.number == a.number and again.pause_epoch == 4
    end(population, again, 6.0)  # its second generation ends before the first one of d
    assert population.next(()) is None
    end(population, d, 3.0)
    rest = [next_job(population) for _ in range(3)]
    assert [job.number for job in rest] == [4, 5, 3]  # d is resumed; new ones for b and c
    sources = {job.folder.read_run()["branch"]["run_id"] for job in rest[:2]}
    assert sources <= {"s/0", "s/3"} and {checkpoints.newest(job.folder.checkpoints).step for job in rest[:2]} == {20}  # type: ignore[union-attr]


def test_the_order_in_which_jobs_end_changes_nothing(begin: Make, tmp_path: Path) -> None:
    def trials(folder: Path, at_once: int, backwards: bool) -> list[Any]:
        population = begin(folder, "hydra.sweeper.population=5")
        running: list[Job] = []
        while True:
            while len(running) < at_once and (job := population.next(())) is not None:
                running.append(job)
            if not running:
                return [(trial.number, trial.overrides, trial.branch) for trial in Ledger(folder).read()[1]]
            job = running.pop(0 if backwards else -1)
            end(population, job, math.sin(1000 * rate(job)) + (job.pause_epoch or 0))

    alone = trials(tmp_path / "a", 1, False)
    assert len(alone) == 7
    assert trials(tmp_path / "b", 5, True) == alone == trials(tmp_path / "c", 3, False)


@pytest.mark.parametrize("status", ["diverged", "failed"])
def test_a_job_that_fails_is_replaced_unless_it_was_in_the_last_generation(
    begin: Make, tmp_path: Path, status: str
) -> None:
    population = begin(tmp_path / "s", "hydra.sweeper.population=3")
    jobs = [next_job(population) for _ in range(3)]
    end(population, jobs[0], 1.0, status)
    end(population, jobs[1], 1.0)
    end(population, jobs[2], 2.0)
    again = [next_job(population) for _ in range(3)]
    assert [job.number for job in again] == [3, 1, 2]
    assert jobs[0].folder.read_run()["status"] == status
    for _ in range(2):
        for job in again:
            end(population, job, 1.0, status if job.pause_epoch == 6 else "")
        again = [job for job in iter(lambda: population.next(()), None) if job is not None]
    assert again == []


def test_it_ends_if_all_members_fail(begin: Make, tmp_path: Path) -> None:
    population = begin(tmp_path / "s", "hydra.sweeper.population=2")
    for job in [next_job(population), next_job(population)]:
        end(population, job, 1.0, "diverged")
    assert population.next(()) is None and population.news()[-1] == "epoch 2: every member has failed"


def interrupted(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def test_a_killed_population_is_resumed_where_it_was(
    begin: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("hydra.sweeper.population=4", "hydra.sweeper.replaced=0.5")
    folder = tmp_path / "s"
    population = begin(folder, *words)
    jobs = [next_job(population) for _ in range(4)]
    for k in (0, 2, 3):
        end(population, jobs[k], 1.0 + k)
    ahead = next_job(population)
    assert (ahead.number, ahead.pause_epoch) == (0, 4)
    end(population, ahead, 0.5)
    end(population, jobs[1], 2.0)
    _, new = next_job(population), next_job(population)
    assert new.number == 4
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(copy_run, "begin", interrupted)
        population.next(())  # would replace #3 by #5

    again = begin(folder, *words)
    assert jobs[3].folder.read_run()["status"] == "pruned"
    rest = [next_job(again) for _ in range(3)]
    assert [(job.number, job.pause_epoch) for job in rest] == [(1, 4), (4, 4), (5, 4)]
    assert again.next(()) is None  # it isn't known whether #0 is replaced
    assert rest[1].overrides == new.overrides
    for job, value in zip(rest, (0.6, 0.7, 0.8), strict=True):
        end(again, job, value)
    assert [next_job(again).number for _ in range(4)] == [0, 1, 6, 7]


def test_a_checkpoint_is_kept_while_others_may_copy_it(begin: Make, tmp_path: Path) -> None:
    population = begin(tmp_path / "s", "hydra.sweeper.population=3")
    best, middle, worst = (next_job(population) for _ in range(3))
    end(population, best, 1.0)
    end(population, middle, 2.0)
    again = next_job(population)
    assert again.number == best.number
    end(population, again, 1.0)  # keeps one checkpoint, that of step 40
    assert sorted(path.name for path in best.folder.checkpoints.iterdir()) == ["step-000000020", "step-000000040"]
    end(population, worst, 3.0)
    while (job := population.next(())) is not None:
        end(population, job, 1.0)
    assert [path.name for path in best.folder.checkpoints.iterdir()] == ["step-000000060"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), "hydra.sweeper.params: an empty space"),
        ((RATE, "hydra.sweeper.population=1"), "hydra.sweeper.population: must be a whole number >= 2"),
        ((RATE, "hydra.sweeper.replaced=0.6"), "hydra.sweeper.replaced"),
        ((RATE, "hydra.sweeper.every_epochs=6"), "hydra.sweeper.every_epochs: must be fewer than trainer.max_epochs"),
        (
            (RATE, "trainer.max_epochs=null", "trainer.max_steps=9"),
            "trainer.max_steps: must be null, because a population's members",
        ),
        (
            (RATE, "trainer.max_seconds=9"),
            "trainer.max_seconds: must be null",
        ),
        ((RATE, "early_stopping=default"), "early_stopping: must be null"),
        ((RATE, "++hydra.sweeper.populatio=3"), "Did you mean 'population'?"),
        ((RATE, "model.dropout=interval(0.1,0.5)"), "members copy each other's state"),
        ((RATE, "data.batch_size=16,32"), "members copy each other's state"),
        ((RATE, "loss=huber,mse"), "members copy each other's state"),
        ((RATE, "loss=huber", "loss.delta=interval(0.5,2.0)"), "val/loss doesn't say which loss.delta is better"),
    ],
)
def test_a_mistake_is_reported_before_anything_runs(make: Make, words: tuple[str, ...], expected: str) -> None:
    with pytest.raises(TfrunError) as caught:
        make(*words)
    assert expected in str(caught.value) and caught.value.exit_code == 2 and "\n" not in str(caught.value)


def sweep_words(name: str, *words: str) -> list[str]:
    """Returns the command line of a population."""
    everything = [*BASE[:2], "model.hidden_units=[4]", "trainer.compile=graph", f"name={name}", RATE, *words]
    settings = ("hydra.sweeper.population=4", "hydra.sweeper.factors=[1.0,1.2]", "hydra.sweeper.drawn_anew=0")
    return ["-m", *everything, *settings, "trainer.max_epochs=16"]


def results(folder: Path) -> dict[str, Any]:
    """Returns the overrides of each job in a sweep's folder, its values at each epoch, and its last state."""
    return {
        path.name: (
            [text for text in json.loads((path / "run.json").read_text())["overrides"] if not text.startswith("name=")],
            (path / "metrics.jsonl").read_bytes(),
            (max(path.glob("checkpoints/step-*")) / "state.npz").read_bytes(),
        )
        for path in folder.glob("[0-9]*")
    }


@pytest.mark.slow
def test_a_killed_population_gives_the_same_and_a_copy_continues_its_source(
    tmp_path: Path, warm_server: Callable[[str], Any]
) -> None:
    server = warm_server("tfrun")
    whole = server.process(sweep_words("whole"), cwd=tmp_path)
    killed = server.process(sweep_words("killed", "hydra.launcher.n_jobs=2"), cwd=tmp_path)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("multirun/killed/*/5/checkpoints/step-*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    killed.kill()
    killed.communicate()
    (folder,) = tmp_path.glob("multirun/killed/*")
    done = server.process(["resume", folder], cwd=tmp_path).completed(120)
    assert done.returncode == 0, done.stderr
    out, errors = whole.communicate(timeout=120)
    assert whole.returncode == 0, errors
    assert "#4 starts from a copy of" in out and "pruned" in out and "completed, from #" in out
    whole_results = results(*tmp_path.glob("multirun/whole/*"))
    assert results(folder) == whole_results

    runs = {
        int(path.parent.name): json.loads(path.read_text())
        for path in tmp_path.glob("multirun/whole/*/[0-9]*/run.json")
    }
    sources = {k: int(run["branch"]["run_id"].rpartition("/")[2]) for k, run in runs.items() if "branch" in run}
    same_values = [
        (k, source) for k, source in sources.items() if whole_results[str(k)][0] == whole_results[str(source)][0]
    ]
    assert [runs[k]["status"] for pair in same_values for k in pair].count("completed") >= 2
    for copy, source in same_values:
        copied_lines, source_lines = (whole_results[str(k)][1].splitlines() for k in (copy, source))
        common = min(len(copied_lines), len(source_lines))
        assert copied_lines[:common] == source_lines[:common] and common > runs[copy]["branch"]["epoch"]


@pytest.mark.parametrize(
    ("value", "mode", "score"),
    [(2.0, "min", 2.0), (2.0, "max", -2.0), (None, "max", math.inf), (math.nan, "min", math.inf),
     (math.inf, "max", math.inf), (-math.inf, "min", math.inf)],
)  # fmt: skip
def test_a_value_that_is_not_defined_is_the_worst_score(value: float | None, mode: str, score: float) -> None:
    assert _score(value, mode) == score
