"""Sweeps as people start them: `tfrun -m …`."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins import base_plugin
from tensorboard.plugins.hparams import api_pb2, backend_context, get_experiment, list_session_groups

from tfrun import cli
from tfrun.files.provenance import record
from tfrun.files.runs import RunFolder
from tfrun.sweep import multirun
from tfrun.sweep.ledger import Trial


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory: pytest.TempPathFactory, sweep_command: Any) -> dict[str, Any]:
    """A sweep whose jobs complete and one whose jobs fail in all ways, run at the same time in the same folder."""
    folder = tmp_path_factory.mktemp("sweeps")
    short, ways = "trainer.max_epochs=2", "loss.how=raise,die,fine,leave,kill"
    values = ("model.hidden_units=[4],[3]", "optimizer.learning_rate=1e-3,0.01")
    good = sweep_command.start(folder, short, *values, "hydra.launcher.n_jobs=1")
    failing = sweep_command.start(folder, short, "plugins=[bad]", "loss=bad", ways, "hydra.launcher.n_jobs=2")
    return {"good": sweep_command.finish(folder, good), "failing": sweep_command.finish(folder, failing)}


def test_grid_runs_every_combination(sweeps: dict[str, Any]) -> None:
    sweep = sweeps["good"]
    assert sweep.returncode == 0, sweep.stderr
    combinations = [(units, rate) for units in ("[4]", "[3]") for rate in ("0.001", "0.01")]
    for number, (units, rate) in enumerate(combinations):
        run = sweep.run(number)
        assert run["status"] == "completed"
        assert run["run_id"] == f"{sweep.folder.name}/{number}"
        assert {f"model.hidden_units={units}", f"optimizer.learning_rate={rate}"} < set(run["overrides"])


def test_job_folders_hold_what_a_single_run_has(sweeps: dict[str, Any]) -> None:
    sweep = sweeps["good"]
    files = ("config.yaml", ".hydra/hydra.yaml", "run.json", "metrics.jsonl", "checkpoints", "tensorboard", "tfrun.log")
    for number in range(4):
        assert [name for name in files if not (sweep.folder / str(number) / name).exists()] == []
        assert "epoch 2/2" in sweep.log(number)
    assert (sweep.folder / "multirun.yaml").is_file()
    provenance = record.read(sweep.folder / "3")
    assert provenance is not None and provenance.file == sweep.folder / "provenance" / "provenance.json"
    assert list(sweep.folder.glob("*/provenance")) == []  # that of the sweep is that of its jobs
    assert sweep.folder.parent.name == "small"
    assert sweep.folder.parent.parent.name == "multirun"


def test_jobs_of_one_structure_share_a_process_and_equal_single_runs(
    sweeps: dict[str, Any], sweep_command: Any
) -> None:
    sweep, short = sweeps["good"], "trainer.max_epochs=2"
    processes = [(sweep.folder / str(number) / "run.lock").read_text().split()[1] for number in range(4)]
    assert processes[0] == processes[1] != processes[2] == processes[3]
    words = [*sweep_command.small[:-1], short, "model.hidden_units=[4]", "optimizer.learning_rate=0.01", "name=alone"]
    with contextlib.chdir(sweep.folder):
        assert cli.main(words) == 0
    (alone,) = sweep.folder.glob("outputs/alone/*")
    for key in ("metrics", "best", "groups", "data"):
        assert json.loads((alone / "run.json").read_text())[key] == sweep.run(1)[key]
    assert (alone / "metrics.jsonl").read_bytes() == (sweep.folder / "1" / "metrics.jsonl").read_bytes()


def test_the_output_names_the_differing_values_and_the_best_job(sweeps: dict[str, Any]) -> None:
    sweep = sweeps["good"]
    lines = sweep.stdout.splitlines()
    rates = [sweep.run(number)["best"]["val/loss"] for number in range(4)]
    best = rates.index(min(rates))
    for number in range(4):
        [line] = [line for line in lines if line.startswith(f"#{number} ")]
        assert f"val/loss {rates[number]:.5g}  completed" in line
        assert "optimizer.learning_rate=" in line
        assert "trainer.max_epochs" not in line
    [marked] = [line for line in lines if "completed, best" in line]
    assert marked.split()[1] == str(best)
    assert f"tensorboard --logdir {sweep.folder.relative_to(sweep.folder.parents[2])}" in sweep.stdout
    assert sweep.stderr == ""


def test_a_job_that_fails_ends_no_other(sweeps: dict[str, Any]) -> None:
    sweep = sweeps["failing"]
    assert sweep.returncode == 8
    assert "4 of 5 jobs failed" in sweep.stderr
    assert "Traceback" not in sweep.stderr + sweep.stdout
    faults = [sweep.run(number)["error"] for number in range(5)]
    assert [sweep.run(number)["status"] for number in range(5)] == ["failed", "failed", "completed", "failed", "failed"]
    assert [fault and fault["type"] for fault in faults] == ["ValueError", "Exited", None, "Exited", "Killed"]
    assert "a bug in a loss" in faults[0]["message"]
    assert faults[1]["message"] == "the process ended with exit code 9 before the run did"
    assert faults[3]["message"] == "the process ended with exit code 0 before the run did"
    assert faults[4]["message"] == "killed by SIGKILL"


def test_every_failure_is_in_its_own_log(sweeps: dict[str, Any]) -> None:
    sweep = sweeps["failing"]
    assert "ValueError: a bug in a loss" in sweep.log(0)
    assert "Traceback" in sweep.log(0)
    assert "SystemExit: 0" in sweep.log(3)
    assert "bug in a loss" not in sweep.log(2)
    for number in (0, 1, 3, 4):
        assert f"{sweep.folder.name}/{number}/tfrun.log" in sweep.stdout


def test_sweeps_that_run_at_the_same_time_have_their_own_folders(sweeps: dict[str, Any]) -> None:
    assert sweeps["good"].folder != sweeps["failing"].folder
    assert len(list(sweeps["good"].folder.parent.iterdir())) == 2


def test_hparams_table_has_the_differing_keys_and_the_summary_metrics(sweeps: dict[str, Any]) -> None:
    """As TensorBoard's own backend reads it."""
    sweep = sweeps["good"]
    multiplexer = EventMultiplexer()
    multiplexer.AddRunsFromDirectory(str(sweep.folder)).Reload()
    provider = MultiplexerDataProvider(multiplexer, str(sweep.folder))
    context = backend_context.Context(base_plugin.TBContext(data_provider=provider))
    experiment = get_experiment.Handler(RequestContext(), context, "", api_pb2.GetExperimentRequest()).run()
    types = {info.name: info.type for info in experiment.hparam_infos}
    assert types == {
        "model.hidden_units": api_pb2.DATA_TYPE_STRING,  # TensorBoard has no lists
        "optimizer.learning_rate": api_pb2.DATA_TYPE_FLOAT64,
    }
    names = ("loss", "mae", "rmse")
    expected = {f"val/{name}_{which}" for which in ("best", "last") for name in names}
    expected |= {f"test/{name}" for name in ("loss", "mae", "rmse")}
    assert {info.name.tag for info in experiment.metric_infos} == expected
    assert {info.name.group for info in experiment.metric_infos} == {""}

    request = api_pb2.ListSessionGroupsRequest(
        allowed_statuses=[api_pb2.STATUS_UNKNOWN, api_pb2.STATUS_SUCCESS, api_pb2.STATUS_RUNNING], slice_size=100
    )
    groups = list_session_groups.Handler(RequestContext(), context, "", request).run().session_groups
    sweep_id = sweep.folder.name[-6:]
    pattern = re.compile(rf"#([0-3]) mlp hidden_units=[34] lr=\S+ \({sweep_id}\)")
    jobs = {matched[1]: group for group in groups if (matched := pattern.fullmatch(group.name))}
    assert sorted(jobs) == ["0", "1", "2", "3"] and len(groups) == 4
    for number, group in jobs.items():
        run = sweep.run(int(number))
        shown = {metric.name.tag: metric.value for metric in group.metric_values}
        assert shown["val/loss_best"] == pytest.approx(run["best"]["val/loss"])
        assert shown["test/mae"] == pytest.approx(run["metrics"]["test/mae"])
        assert f"optimizer.learning_rate={group.hparams['optimizer.learning_rate'].number_value:g}" in run["overrides"]


Mistake = Callable[..., str]


@pytest.fixture
def mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Mistake:
    """Returns a function from words to the message of a command that must end with exit code 2, in this process."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> str:
        assert cli.main(words) == 2
        message = capsys.readouterr().err
        assert "Traceback" not in message
        return message

    return run


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["optimizer.learning_rate=0.1,-1"], "optimizer.learning_rate=-1: "),
        (["loss=huber,hubber"], "Did you mean 'huber'?"),
        (["trainer.max_epoch=1,2"], "Did you mean 'trainer.max_epochs'?"),
        (["seed=1,2", "hydra.launcher.n_jobs=0"], "hydra.launcher.n_jobs"),
        (["seed=1,2", "hydra.sweep.subdir=same"], "hydra.sweep.subdir"),
        (["seed=1,2", "hydra.launcher.n_job=2"], "hydra.launcher: unknown key. Received: 'n_job'"),
        (["seed=1,2", "hydra.launcher.n_job=2"], "Did you mean 'n_jobs'?"),
        (["seed=1,2", "hydra/launcher=joblib", "hydra.launcher.n_job=2"], "Did you mean 'n_jobs'?"),
        (["seed=1,2", "hydra.lancher.n_jobs=2"], "hydra: unknown key. Received: 'lancher'."),
        (["seed=range(3,3)"], "-m: a sweep without jobs"),
        (
            ["hparams_search=optuna", "seed=range(1,9)", "hydra/launcher=vectorized"],
            "hydra.launcher.lanes: the jobs of",
        ),
        (["hparams_search=optuna", "seed=range(1,9)", "hydra/launcher=joblib"], "a search needs hydra/launcher=fork"),
    ],
)
def test_a_mistake_in_any_job_is_reported_before_the_first_one(
    mistake: Mistake, tmp_path: Path, words: list[str], expected: str
) -> None:
    assert expected in mistake("-m", *words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["hparams_search=optuna", "seed=range(1,9)"], "a search is extended with `tfrun resume`"),
        (["seed=1,2", "hydra/launcher=joblib"], "only for hydra/launcher=fork and Hydra's own sweeper"),
    ],
)
def test_a_sweep_that_can_t_be_extended(mistake: Mistake, tmp_path: Path, words: list[str], expected: str) -> None:
    (tmp_path / "trials.jsonl").write_text('{"sweep": {"swept": []}}\n')
    assert expected in mistake("-m", *words, f"sweep.extend={tmp_path}")
    assert [path.name for path in tmp_path.iterdir()] == ["trials.jsonl"]


def test_the_first_interrupt_saves_and_the_second_one_kills(
    tmp_path: Path, sweep_command: Any, wait_for: Callable[..., None]
) -> None:
    long = ("trainer.max_epochs=null", "trainer.max_seconds=500", "hydra.launcher.n_jobs=2")
    process = sweep_command.start(tmp_path, *long, "plugins=[bad]", "loss=bad", "loss.how=fine,hang,raise")

    def folders() -> list[Path]:
        return sorted(tmp_path.glob("multirun/small/*/[0-9]"))

    def statuses() -> list[str]:
        return [json.loads((folder / "run.json").read_text())["status"] for folder in folders()]

    wait_for(lambda: len(folders()) == 2 and all((folder / "tfrun.log").is_file() for folder in folders()))
    wait_for(lambda: "engine:" in (folders()[0] / "tfrun.log").read_text())
    wait_for(lambda: all((folder / "run.json").is_file() for folder in folders()))
    time.sleep(1)  # until one trains and the other sleeps
    process.send_signal(signal.SIGINT)
    wait_for(lambda: statuses()[0] == "stopped")
    assert list((folders()[0] / "checkpoints").glob("step-*"))
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    sweep = sweep_command.finish(tmp_path, process)
    assert sweep.returncode == 130
    assert "stopped by SIGINT" in sweep.stderr
    assert statuses() == ["stopped", "failed"]  # and the third was never started
    assert sweep.run(1)["error"]["message"] == "killed by SIGKILL"


def test_jobs_that_are_trained_together(tmp_path: Path, sweep_command: Any) -> None:
    """Each has its folder, as if it were alone; one that diverges ends no other."""
    words = ("hydra/launcher=vectorized", "hydra.launcher.n_jobs=1", "trainer.max_epochs=2", "trainer.compile=graph")
    rates = "optimizer.learning_rate=0.001,0.01,1e30"
    sweep = sweep_command.finish(tmp_path, sweep_command.start(tmp_path, *words, "optimizer=sgd", rates))
    assert sweep.returncode == 8, sweep.stderr
    assert sweep_command.states(sweep.folder) == {0: "completed", 1: "completed", 2: "diverged"}
    engines = [sweep.run(n)["engine"] for n in range(3)]
    assert [engine["mode"] for engine in engines] == ["vectorized"] * 3, engines
    for n in range(2):
        folder = sweep.folder / str(n)
        assert list(folder.glob("checkpoints/step-*")) and list(folder.glob("tensorboard/*/*/events*"))
        assert f"run         multirun/small/{sweep.folder.name}/{n}" in (folder / "tfrun.log").read_text()
    assert "DivergedError" in (sweep.folder / "2" / "tfrun.log").read_text()


SAVING = ("trainer.max_epochs=40", "checkpoint.every_epochs=2", "checkpoint.keep=2", "data.folds=2", "name=kept")
KEPT = (*SAVING, "seed=1,2")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, sweep_command: Any) -> Any:
    folder = tmp_path_factory.mktemp("whole")
    return sweep_command.finish(folder, sweep_command.start(folder, *KEPT, "hydra.launcher.n_jobs=1"))


@pytest.mark.slow
def test_folds_share_a_process_and_a_program_and_equal_single_runs(undisturbed: Any, sweep_command: Any) -> None:
    assert undisturbed.returncode == 0, undisturbed.stderr
    assert "4 jobs of 1 structure" in undisturbed.stdout
    folders = [undisturbed.folder / str(number) for number in range(4)]
    assert len({(folder / "run.lock").read_text().split()[1] for folder in folders}) == 1
    for number in range(4):
        assert list(undisturbed.run(number)["engine"]["traces"].values()) == [["first"], ["first"]]
    with contextlib.chdir(undisturbed.folder):
        assert cli.main([*sweep_command.small[:-1], *SAVING, "seed=2", "data.fold=1", "name=alone"]) == 0
    (alone,) = undisturbed.folder.glob("outputs/alone/*")
    _check_equal(alone, folders[3])


def _check_equal(run: Path, other: Path) -> None:
    """Checks that two runs have the same metrics and the same state in the end, bit for bit."""
    assert (run / "metrics.jsonl").read_bytes() == (other / "metrics.jsonl").read_bytes()
    newest = [max(folder.glob("checkpoints/step-*")) / "state.npz" for folder in (run, other)]
    assert newest[0].read_bytes() == newest[1].read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("killed", ["parent", "worker"])
def test_a_killed_sweep_is_resumed(
    tmp_path: Path,
    undisturbed: Any,
    killed: str,
    monkeypatch: pytest.MonkeyPatch,
    sweep_command: Any,
    wait_for: Callable[..., None],
) -> None:
    """It ends as an undisturbed one: no trial is lost, none runs twice, every bit is the same."""
    assert undisturbed.returncode == 0
    states = sweep_command.states
    if killed == "parent":  # between the write and the sync of a line
        monkeypatch.setenv("TFRUN_FAILPOINT", "trials.sync:6")
    process = sweep_command.start(tmp_path, *KEPT, "hydra.launcher.n_jobs=2")
    if killed == "parent":
        process.communicate(timeout=120)
        assert process.returncode == -signal.SIGKILL
        monkeypatch.delenv("TFRUN_FAILPOINT")
    else:
        wait_for(lambda: len(list(tmp_path.glob("multirun/kept/*/*/checkpoints/step-*"))) >= 6)
    (folder,) = tmp_path.glob("multirun/kept/*")
    if killed == "worker":
        latest = max(
            number for number, state in states(folder).items() if state == "running"
        )  # it has the most work left
        lock = folder / str(latest) / "run.lock"
        wait_for(lambda: lock.is_file() and bool(lock.read_text()))
        os.kill(int(lock.read_text().split()[1]), signal.SIGKILL)
        assert sweep_command.finish(tmp_path, process).returncode == 8
        assert sorted(states(folder).values()) == ["completed"] * 3 + ["failed"]
    before = {
        path: path.stat().st_mtime_ns for path in folder.glob("[0-9]/run.json") if '"completed"' in path.read_text()
    }

    done = sweep_command.call(tmp_path, "resume", folder)
    assert done.returncode == 0, done.stderr
    assert f"{4 - len(before)} of 4 jobs are left" in done.stdout
    assert states(folder) == dict.fromkeys(range(4), "completed")
    assert {path: path.stat().st_mtime_ns for path in before} == before
    for number in range(4):
        _check_equal(folder / str(number), undisturbed.folder / str(number))


def test_failed_jobs_are_run_again_on_request_and_jobs_can_be_added(
    sweeps: dict[str, Any], sweep_command: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = sweeps["failing"]
    where, root, states = str(sweep.folder), sweep.folder.parents[2], sweep_command.states
    module = root / "bad.py"
    module.write_text(module.read_text().replace('raise ValueError("a bug in a loss")', "pass"))
    # the plugin is in the folder of the first command
    again = sweep_command.call(Path("/"), "resume", where, "retry=true", "hydra.launcher.n_jobs=2")
    assert "4 of 5 jobs are left" in again.stdout
    assert states(sweep.folder) == {0: "completed", 1: "failed", 2: "completed", 3: "failed", 4: "failed"}

    short, other = "trainer.max_epochs=2", "loss.how=fine,good"
    words = ("-m", *sweep_command.small, short, "plugins=[bad]", "loss=bad", other, "hydra.launcher.n_jobs=2")
    monkeypatch.chdir(root.parent)
    assert cli.main([*words, f"sweep.extend={where}"]) == 2
    assert f"sweep.extend: the sweep began in {root}, and is extended" in capsys.readouterr().err
    added = sweep_command.call(root, *words, f"sweep.extend={where}")
    assert "1 of the jobs are in the sweep already" in added.stdout
    assert states(sweep.folder)[5] == "completed" and len(states(sweep.folder)) == 6
    assert "loss.how=good" in sweep.run(5)["overrides"]


def test_a_job_is_left_if_it_has_no_end_or_was_killed_or_is_retried(tmp_path: Path) -> None:
    runs: list[dict[str, Any]] = [
        {"status": "completed"},
        {"status": "pruned"},
        {"status": "stopped"},
        {"status": "running"},
        {"status": "diverged"},
        {"status": "failed", "error": {"type": "Killed"}},
        {"status": "failed", "error": {"type": "ValueError"}},
    ]
    for number, run in enumerate(runs):
        (tmp_path / str(number)).mkdir()
        RunFolder(tmp_path / str(number)).write_run(run)

    def left(retry: bool) -> list[int]:
        trials = [Trial(number, "running", []) for number in range(8)]  # the last one was never started
        return [trial.number for trial in trials if multirun.is_left(RunFolder(tmp_path), trial, retry=retry)]

    assert left(retry=False) == [2, 3, 5, 7]
    assert left(retry=True) == [2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["seed=3"], "a sweep is resumed with its own config"),
        (["retry=maybe"], "retry: must be true or false. Received: 'maybe'"),
        (["hydra.launcher.n_jobs=0"], "hydra.launcher.n_jobs"),
    ],
)
def test_a_sweep_is_resumed_with_its_own_config(
    sweeps: dict[str, Any], mistake: Mistake, words: list[str], expected: str
) -> None:
    assert expected in mistake("resume", str(sweeps["good"].folder), *words)


def test_two_processes_can_t_run_one_sweep(sweeps: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    folder = sweeps["good"].folder
    with RunFolder(folder).held():
        assert cli.main(["resume", str(folder)]) == 7
    assert f"pid {os.getpid()} " in capsys.readouterr().err
