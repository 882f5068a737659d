"""Sweeps that run with Hydra's own launchers and with sweepers that are plugins of Hydra."""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import open_dict, read_write

from tfrun.config.catalog import Catalog
from tfrun.config.compose import open_configs
from tfrun.config.settings import ProvenanceSettings
from tfrun.errors import Interrupted
from tfrun.files.provenance import record
from tfrun.files.provenance.recording import Recording, Subject
from tfrun.sweep import hydra_runner
from tfrun.sweep.hydra_runner import JobTask
from tfrun.sweep.jobs import Job, JobFolder

BAD_LOSS = ("trainer.max_epochs=2", "plugins=[bad]", "loss=bad")
EXPERIMENTS = {
    "raises": "loss: {how: raise}",
    "completes": "loss: {how: good}",
    "unread": "defaults: [override /data: csv]\ndata: {path: rows.csv, target: z}",
}
SWEEPER = """
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper

class Mine(Sweeper):
    def __init__(self, seeds):
        self.seeds = seeds

    def setup(self, *, hydra_context, task_function, config):
        options = {"hydra_context": hydra_context, "task_function": task_function, "config": config}
        self.launcher = Plugins.instance().instantiate_launcher(**options)

    def sweep(self, arguments):
        jobs = [[*arguments, f"seed={seed}"] for seed in self.seeds]
        return [job.return_value for job in self.launcher.launch(jobs, initial_job_idx=0)]
"""
LAUNCHERS = {  # plugins of Hydra, with the words that they are called with here
    "joblib": ["hydra.launcher.n_jobs=2"],
    "submitit_local": [],
    "ray": ["+hydra.launcher.ray.init.num_cpus=2", "+hydra.launcher.ray.init.include_dashboard=false"],
}


@pytest.fixture(params=LAUNCHERS)
def launcher(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The words that choose a launcher plugin of Hydra."""
    package = f"hydra_{request.param.partition('_')[0]}_launcher"
    try:
        found = importlib.util.find_spec(f"hydra_plugins.{package}")
    except ModuleNotFoundError:  # there is no plugin at all
        found = None
    if found is None:
        pytest.skip(f"{package} isn't installed")
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # it listens on 127.0.0.1 only
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))  # because Ray writes a token there
    return [f"hydra/launcher={request.param}", *LAUNCHERS[request.param]]


@pytest.fixture(scope="module")
def single_run(tmp_path_factory: pytest.TempPathFactory, sweep_command: Any) -> Path:
    """The folder of a run that is not part of a sweep."""
    folder = tmp_path_factory.mktemp("single")
    sweep_command.write_plugin(folder)
    sweep_command.call(folder, *sweep_command.small[:-1], *BAD_LOSS, "loss.how=good", "name=alone").check_returncode()
    (run,) = folder.glob("outputs/alone/*")
    return run


@pytest.mark.slow
def test_hydra_s_launchers(tmp_path: Path, launcher: list[str], single_run: Path, sweep_command: Any) -> None:
    """A job equals a single run; one that fails, before training or in it, ends no other, and the sweep has code 8."""
    (tmp_path / "rows.csv").write_text("x,y\n1,2\n")
    (tmp_path / "experiment").mkdir()
    for name, text in EXPERIMENTS.items():
        (tmp_path / "experiment" / f"{name}.yaml").write_text(f"# @package _global_\n{text}\n")
    words = ("--config-dir", ".", f"experiment={','.join(EXPERIMENTS)}", *launcher)
    sweep = sweep_command.finish(tmp_path, sweep_command.start_cold(tmp_path, *BAD_LOSS, *words))
    assert sweep.returncode == 8, sweep.stderr
    assert "2 of 3 jobs failed" in sweep.stderr and "Traceback" not in sweep.stderr
    assert sweep_command.states(sweep.folder) == {0: "failed", 1: "completed", 2: "failed"}
    assert sweep.run(0)["run_id"] == f"{sweep.folder.name}/0"
    assert sweep.run(0)["error"]["type"] == "ValueError"
    assert sweep.log(0).count("ValueError: a bug in a loss") == 1
    assert (single_run / "metrics.jsonl").read_bytes() == (sweep.folder / "1" / "metrics.jsonl").read_bytes()
    assert "Received: 'z'" in sweep.run(2)["error"]["message"] and "Traceback" in sweep.log(2)


@pytest.mark.slow
def test_a_sweeper_that_is_a_plugin(tmp_path: Path, sweep_command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The keys that it varies are columns of the summary, though nothing names them before."""
    package = tmp_path / "hydra_plugins" / "mine"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(SWEEPER)
    (tmp_path / "hydra" / "sweeper").mkdir(parents=True)
    (tmp_path / "hydra" / "sweeper" / "mine.yaml").write_text("_target_: hydra_plugins.mine.Mine\nseeds: [1, 2]\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    words = ("--config-dir", ".", "hydra/sweeper=mine", "trainer.max_epochs=1")
    refused = sweep_command.start_cold(tmp_path, *words, "data.folds=3")
    error = refused.communicate(timeout=120)[1]
    assert refused.returncode == 2 and "data.folds: a sweeper that is a plugin chooses each job" in error
    sweep = sweep_command.finish(tmp_path, sweep_command.start_cold(tmp_path, *words))
    assert sweep.returncode == 0, sweep.stderr
    assert [sweep.run(number)["seed"] for number in range(2)] == [1, 2]
    assert "seed" in sweep.stdout and "repeats" not in sweep.stdout


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("hydra.sweeper._target_=hydra_plugins.none.Mine", "hydra.sweeper._target_: no such plugin is installed"),
        ("hydra.launcher._target_=tfrun.sweep.launcher.ForkLaunch", "Did you mean 'tfrun.sweep.launcher.ForkLauncher'"),
        ("hydra.launcher._target_=os.system", "it must be in the package hydra_plugins. Received: 'os.system'"),
        ("hydra.launcher=fork", "an option is chosen with hydra/launcher=<name>. Received: 'fork'"),
    ],
)
def test_what_is_no_plugin(word: str, message: str, run: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    code, _, err = run("-m", "seed=1,2", word)
    assert code == 2 and message in err and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_job_in_another_process_records_what_differs_from_its_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the launcher had sent it to another machine."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trials.jsonl").write_text("")
    settings = SimpleNamespace(provenance=ProvenanceSettings())
    job = SimpleNamespace(folder=JobFolder(tmp_path / "0"), settings=settings, resume=False)
    job.folder.path.mkdir()
    job.folder.config_yaml.write_text("")
    with Recording.start(JobFolder(tmp_path), Subject()):
        pass
    for pid, expected in ((os.getpid(), None), (-1, None), (-1, job.folder.path)):
        if expected is not None:
            monkeypatch.setenv("OMP_NUM_THREADS", "77")
        with JobTask(Catalog([]), frozenset(), pid).recording(cast(Any, job)):
            pass
        read = record.read(job.folder.path)
        assert read is not None and read.file.parent == (expected or tmp_path) / "provenance"


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Callable[[], Any], list[Job]]]:
    """A function that calls the task of a job as a launcher does in another process, and the jobs that it trains."""
    jobs: list[Job] = []
    monkeypatch.setattr(hydra_runner, "train", lambda job, catalog: jobs.append(job))
    folder = tmp_path / "0"
    (folder / ".hydra").mkdir(parents=True)
    with open_configs(["seed=1", "loss=huber", "metric=mae"]) as configs:
        cfg = configs.compose(["seed=1", "loss=huber", "metric=mae"]).cfg
        with read_write(cfg.hydra), open_dict(cfg.hydra):
            cfg.hydra.runtime.output_dir, cfg.hydra.job.num = str(folder), 0
        HydraConfig.instance().set_config(cfg)
        config = copy.deepcopy(cfg)
        with open_dict(config):
            del config["hydra"]
        called = JobTask(configs.catalog, frozenset(), -1)
        monkeypatch.setattr(JobTask, "recording", lambda *_: contextlib.nullcontext())
        yield lambda: called(config), jobs


def test_a_job_that_its_launcher_starts_again_is_resumed(tmp_path: Path, task: Any) -> None:
    call, jobs = task
    call()
    assert not jobs[0].resume
    config = tmp_path / "0" / "config.yaml"
    config.write_text(config.read_text().replace("max_epochs: auto", "max_epochs: 46"))  # what became of `auto`
    (tmp_path / "0" / "run.json").write_text('{"status": "failed", "step": 4, "error": {}, "best": {"val/loss": 0.5}}')
    call()
    assert jobs[1].resume and "max_epochs: 46" in config.read_text()
    assert JobFolder(tmp_path / "0").read_run()["status"] == "running"
    (tmp_path / "0" / "run.json").write_text('{"status": "completed", "best": {"val/loss": 0.5}, "monitor": null}')
    call()
    assert len(jobs) == 2


@pytest.mark.parametrize("number", [signal.SIGUSR2, signal.SIGTERM])
def test_a_launcher_gets_the_signal_that_has_stopped_its_job(
    number: signal.Signals, task: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the state is saved; what it does not end, ends then. Without a handler the job raises what stopped it."""
    call, _ = task

    def stop(job: Job, catalog: Catalog) -> None:
        raise Interrupted(number, "stopped")

    monkeypatch.setattr(hydra_runner, "train", stop)
    received: list[int] = []
    before = signal.signal(number, lambda received_number, _: received.append(received_number))
    try:
        with pytest.raises(SystemExit) as ended:
            call()
        assert (received, ended.value.code) == ([number], 128 + number)
        signal.signal(number, signal.SIG_DFL)
        with pytest.raises(Interrupted):
            call()
    finally:
        signal.signal(number, before)
