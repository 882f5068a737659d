"""Sweeps as people start them: `tfrun -m …` in a process of its own."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins import base_plugin
from tensorboard.plugins.hparams import api_pb2, backend_context, get_experiment, list_session_groups

from tfrun.files.runs import RunFolder

TFRUN = Path(sys.executable).with_name("tfrun")
SMALL = ("model=mlp", "model.hidden_units=[4]", "trainer.compile=graph", "name=small")
BAD = '''
import os, signal, sys, time
import tensorflow as tf
from tfrun import register

@register.loss("bad")
def bad(y_true, y_pred, how: str = "fine"):
    """Ends the process in several ways while the program is traced."""
    if how == "raise":
        raise ValueError("a bug in a loss")
    if how == "die":
        os._exit(9)
    if how == "leave":
        sys.exit(0)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "hang":
        time.sleep(600)
    return tf.reduce_sum(tf.square(y_true - y_pred), axis=1)
'''


@dataclass
class Sweep:
    returncode: int
    stdout: str
    stderr: str
    folder: Path

    def run(self, number: int) -> dict[str, Any]:
        return json.loads((self.folder / str(number) / "run.json").read_text())

    def log(self, number: int) -> str:
        return (self.folder / str(number) / "tfrun.log").read_text()


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    (folder / "bad.py").write_text(BAD)
    command = [str(TFRUN), "-m", *SMALL, *words]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(folder: Path, process: subprocess.Popen[str]) -> Sweep:
    out, err = process.communicate(timeout=120)
    [shown] = [line.split()[1] for line in out.splitlines() if line.startswith("sweep ")]
    return Sweep(process.returncode, out, err, folder / shown)


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Sweep]:
    """A sweep that goes well and one whose jobs fail in all ways, run at the same time in the same folder."""
    folder = tmp_path_factory.mktemp("sweeps")
    short, ways = "trainer.max_epochs=2", "loss.how=raise,die,fine,leave,kill"
    good = start(folder, short, "model.hidden_units=[4],[3]", "optimizer.learning_rate=1e-3,0.01")
    failing = start(folder, short, "plugins=[bad]", "loss=bad", ways, "hydra.launcher.n_jobs=2")
    return {"good": finish(folder, good), "failing": finish(folder, failing)}


def test_grid_runs_every_combination(sweeps: dict[str, Sweep]) -> None:
    sweep = sweeps["good"]
    assert sweep.returncode == 0, sweep.stderr
    combinations = [(units, rate) for units in ("[4]", "[3]") for rate in ("0.001", "0.01")]
    for number, (units, rate) in enumerate(combinations):
        run = sweep.run(number)
        assert run["status"] == "completed"
        assert run["run_id"] == f"{sweep.folder.name}/{number}"
        assert {f"model.hidden_units={units}", f"optimizer.learning_rate={rate}"} < set(run["overrides"])


def test_job_folders_hold_what_a_single_run_has(sweeps: dict[str, Sweep]) -> None:
    sweep = sweeps["good"]
    files = ("config.yaml", ".hydra/hydra.yaml", "run.json", "metrics.jsonl", "checkpoints", "tensorboard", "tfrun.log")
    for number in range(4):
        assert [name for name in files if not (sweep.folder / str(number) / name).exists()] == []
        assert "epoch 2/2" in sweep.log(number)
    assert (sweep.folder / "multirun.yaml").is_file()
    assert sweep.folder.parent.name == "small"
    assert sweep.folder.parent.parent.name == "multirun"


def test_jobs_of_one_structure_share_a_process_and_give_what_they_give_alone(sweeps: dict[str, Sweep]) -> None:
    sweep, short = sweeps["good"], "trainer.max_epochs=2"
    processes = [(sweep.folder / str(number) / "run.lock").read_text().split()[1] for number in range(4)]
    assert processes[0] == processes[1] != processes[2] == processes[3]
    words = [*SMALL[:-1], short, "model.hidden_units=[4]", "optimizer.learning_rate=0.01", "name=alone"]
    subprocess.run([TFRUN, *words], cwd=sweep.folder, check=True, capture_output=True, timeout=120)
    (alone,) = sweep.folder.glob("outputs/alone/*")
    for key in ("metrics", "best", "groups", "data"):
        assert json.loads((alone / "run.json").read_text())[key] == sweep.run(1)[key]
    assert (alone / "metrics.jsonl").read_bytes() == (sweep.folder / "1" / "metrics.jsonl").read_bytes()


def test_lines_and_table_name_what_differs_and_the_best(sweeps: dict[str, Sweep]) -> None:
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


def test_failures_leave_the_other_jobs_alone(sweeps: dict[str, Sweep]) -> None:
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


def test_every_failure_is_in_its_own_log(sweeps: dict[str, Sweep]) -> None:
    sweep = sweeps["failing"]
    assert "ValueError: a bug in a loss" in sweep.log(0)
    assert "Traceback" in sweep.log(0)
    assert "SystemExit: 0" in sweep.log(3)
    assert "bug in a loss" not in sweep.log(2)
    for number in (0, 1, 3, 4):
        assert f"{sweep.folder.name}/{number}/tfrun.log" in sweep.stdout


def test_sweeps_at_once_have_folders_of_their_own(sweeps: dict[str, Sweep]) -> None:
    assert sweeps["good"].folder != sweeps["failing"].folder
    assert len(list(sweeps["good"].folder.parent.iterdir())) == 2


def test_hparams_table_has_the_differing_keys_and_the_summary_metrics(sweeps: dict[str, Sweep]) -> None:
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
    assert {group.name for group in groups} == {f"{sweep.folder.name}/{number}" for number in range(4)}
    for group in groups:
        run = sweep.run(int(group.name.rpartition("/")[2]))
        shown = {metric.name.tag: metric.value for metric in group.metric_values}
        assert shown["val/loss_best"] == pytest.approx(run["best"]["val/loss"])
        assert shown["test/mae"] == pytest.approx(run["metrics"]["test/mae"])
        assert f"optimizer.learning_rate={group.hparams['optimizer.learning_rate'].number_value:g}" in run["overrides"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["optimizer.learning_rate=0.1,-1"], "optimizer.learning_rate=-1: "),
        (["loss=huber,hubber"], "Did you mean 'huber'?"),
        (["trainer.max_epoch=1,2"], "Did you mean 'trainer.max_epochs'?"),
        (["seed=1,2", "hydra.launcher.n_jobs=0"], "hydra.launcher.n_jobs"),
        (["seed=1,2", "hydra.sweep.subdir=same"], "hydra.sweep.subdir"),
    ],
)
def test_a_mistake_in_any_job_is_told_before_the_first_one(
    tfrun: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, words: list[str], expected: str
) -> None:
    result = tfrun("-m", *words)
    assert result.returncode == 2
    assert expected in result.stderr
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_job_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    sweep = finish(tmp_path, start(tmp_path, "seed=1,1", "hydra.launcher.timeout_seconds=0.2"))
    assert sweep.returncode == 8
    assert "2 of 2 jobs failed" in sweep.stderr
    assert "repeats #0" in sweep.stdout
    assert sweep.run(1)["error"]["type"] == "TimeoutError"
    assert "hydra.launcher.timeout_seconds=0.2" in sweep.run(1)["error"]["message"]


def wait_for(happened: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_first_interrupt_saves_and_the_second_one_ends(tmp_path: Path) -> None:
    long = ("trainer.max_epochs=null", "trainer.max_seconds=500", "hydra.launcher.n_jobs=2")
    process = start(tmp_path, *long, "plugins=[bad]", "loss=bad", "loss.how=fine,hang,raise")

    def folders() -> list[Path]:
        return sorted(tmp_path.glob("multirun/small/*/[0-9]"))

    def statuses() -> list[str]:
        return [json.loads((folder / "run.json").read_text())["status"] for folder in folders()]

    wait_for(lambda: len(folders()) == 2 and all((folder / "tfrun.log").is_file() for folder in folders()))
    wait_for(lambda: "engine:" in (folders()[0] / "tfrun.log").read_text())
    wait_for(lambda: all((folder / "run.json").is_file() for folder in folders()))
    time.sleep(1)  # into the training of the one and the sleep of the other
    process.send_signal(signal.SIGINT)
    wait_for(lambda: statuses()[0] == "stopped")
    assert list((folders()[0] / "checkpoints").glob("step-*"))
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    sweep = finish(tmp_path, process)
    assert sweep.returncode == 130
    assert "stopped by SIGINT" in sweep.stderr
    assert statuses() == ["stopped", "failed"]  # and the third was never started
    assert sweep.run(1)["error"]["message"] == "killed by SIGKILL"


def test_jobs_that_are_trained_together(tmp_path: Path) -> None:
    """Each has its folder, as if it were alone; one that diverges takes no other with it."""
    words = ("hydra/launcher=vectorized", "trainer.max_epochs=2", "trainer.compile=graph")
    rates = "optimizer.learning_rate=0.001,0.01,1e30"
    sweep = finish(tmp_path, start(tmp_path, *words, "optimizer=sgd", rates))
    assert sweep.returncode == 8, sweep.stderr
    assert states(sweep.folder) == {0: "completed", 1: "completed", 2: "diverged"}
    engines = [sweep.run(n)["engine"] for n in range(3)]
    assert [engine["mode"] for engine in engines] == ["vectorized"] * 3, engines
    for n in range(2):
        folder = sweep.folder / str(n)
        assert list(folder.glob("checkpoints/step-*")) and list(folder.glob("tensorboard/*/events*"))
        assert f"run         multirun/small/{sweep.folder.name}/{n}" in (folder / "tfrun.log").read_text()
    assert "DivergedError" in (sweep.folder / "2" / "tfrun.log").read_text()
    subprocess.run([TFRUN, *sweep.run(1)["overrides"], "name=alone"], cwd=tmp_path, check=True, capture_output=True)
    (alone,) = tmp_path.glob("outputs/alone/*/run.json")
    assert sweep.run(1)["metrics"] == pytest.approx(json.loads(alone.read_text())["metrics"], rel=1e-3)


LAUNCHERS = {  # Hydra's own, and what they are called with here
    "joblib": ["hydra.launcher.n_jobs=2"],
    "submitit_local": [],
    "ray": ["+hydra.launcher.ray.init.num_cpus=2", "+hydra.launcher.ray.init.include_dashboard=false"],
}


@pytest.fixture(params=LAUNCHERS)
def launcher(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The words that choose one of Hydra's own launchers."""
    package = f"hydra_{request.param.partition('_')[0]}_launcher"
    try:
        found = importlib.util.find_spec(f"hydra_plugins.{package}")
    except ModuleNotFoundError:  # there is no plugin at all
        found = None
    if found is None:
        pytest.skip(f"{package} isn't installed")
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # it listens on 127.0.0.1 only
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))  # where Ray leaves a token
    return [f"hydra/launcher={request.param}", *LAUNCHERS[request.param]]


@pytest.mark.slow
def test_hydra_s_own_launchers(tmp_path: Path, launcher: list[str]) -> None:
    """A job gives what it gives alone; one that fails takes no other with it, and the exit code is a sweep's."""
    words, how = ("trainer.max_epochs=2", "plugins=[bad]", "loss=bad"), "loss.how=fine,raise,good"
    sweep = finish(tmp_path, start(tmp_path, *words, how, *launcher))
    assert sweep.returncode == 8, sweep.stderr
    assert "1 of 3 jobs failed" in sweep.stderr and "Traceback" not in sweep.stderr
    assert states(sweep.folder) == {0: "completed", 1: "failed", 2: "completed"}
    assert sweep.run(1)["run_id"] == f"{sweep.folder.name}/1"
    assert sweep.run(1)["error"]["type"] == "ValueError"
    assert sweep.log(1).count("ValueError: a bug in a loss") == 1
    command = (*SMALL[:-1], *words, "loss.how=good", "name=alone")
    subprocess.run([TFRUN, *command], cwd=tmp_path, check=True, capture_output=True, timeout=120)
    (alone,) = tmp_path.glob("outputs/alone/*")
    assert (alone / "metrics.jsonl").read_bytes() == (sweep.folder / "2" / "metrics.jsonl").read_bytes()


@pytest.mark.slow
def test_hydra_s_own_launchers_note_down_what_fails_before_training(tmp_path: Path, launcher: list[str]) -> None:
    (tmp_path / "rows.csv").write_text("x,y\n1,2\n")
    sweep = finish(tmp_path, start(tmp_path, "data=csv", "data.path=rows.csv", "data.target=z,w", *launcher))
    assert sweep.returncode == 8, sweep.stderr
    assert states(sweep.folder) == {0: "failed", 1: "failed"}
    for number, target in enumerate("zw"):
        assert f"Received: '{target}'" in sweep.run(number)["error"]["message"]
        assert "Traceback" in sweep.log(number)


KEPT = ("trainer.max_epochs=40", "checkpoint.every_epochs=2", "checkpoint.keep=2", "seed=1,2,3,4", "name=kept")


def states(folder: Path) -> dict[int, str]:
    lines = [json.loads(line) for line in (folder / "trials.jsonl").read_text().splitlines()]
    return {line["trial"]: line["state"] for line in lines if "trial" in line}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    folder = tmp_path_factory.mktemp("whole")
    return finish(folder, start(folder, *KEPT))


@pytest.mark.slow
@pytest.mark.parametrize("who", ["parent", "worker", "ledger"])
def test_a_killed_sweep_goes_on(tmp_path: Path, undisturbed: Sweep, who: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends as one that nobody killed: no trial lost, none run twice, each bit the same."""
    assert undisturbed.returncode == 0
    if who == "ledger":  # between a line's write and its sync
        monkeypatch.setenv("TFRUN_FAILPOINT", "trials.sync:6")
    process = start(tmp_path, *KEPT, "hydra.launcher.n_jobs=2")
    if who == "ledger":
        process.communicate(timeout=120)
        assert process.returncode == -signal.SIGKILL
        monkeypatch.delenv("TFRUN_FAILPOINT")
    else:
        wait_for(lambda: len(list(tmp_path.glob("multirun/kept/*/*/checkpoints/step-*"))) >= 6)
    (folder,) = tmp_path.glob("multirun/kept/*")
    if who == "parent":
        process.kill()
        process.communicate()
    if who == "worker":
        latest = max(number for number, state in states(folder).items() if state == "running")  # it has the most to do
        lock = folder / str(latest) / "run.lock"
        wait_for(lambda: lock.is_file() and bool(lock.read_text()))
        os.kill(int(lock.read_text().split()[1]), signal.SIGKILL)
        assert finish(tmp_path, process).returncode == 8
        assert sorted(states(folder).values()) == ["completed"] * 3 + ["failed"]
    before = {
        path: path.stat().st_mtime_ns for path in folder.glob("[0-9]/run.json") if '"completed"' in path.read_text()
    }

    done = subprocess.run([TFRUN, "resume", folder], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert f"{4 - len(before)} of 4 jobs are left" in done.stdout
    assert states(folder) == dict.fromkeys(range(4), "completed")
    assert {path: path.stat().st_mtime_ns for path in before} == before
    for number in range(4):
        mine, theirs = folder / str(number), undisturbed.folder / str(number)
        assert (mine / "metrics.jsonl").read_bytes() == (theirs / "metrics.jsonl").read_bytes()
        newest = [max(path.glob("checkpoints/step-*")) / "state.npz" for path in (mine, theirs)]
        assert newest[0].read_bytes() == newest[1].read_bytes()


def test_failed_jobs_are_run_again_on_request_and_jobs_are_added(sweeps: dict[str, Sweep]) -> None:
    sweep = sweeps["failing"]
    where, root = str(sweep.folder), sweep.folder.parents[2]

    def tfrun(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([TFRUN, *words], cwd=root, capture_output=True, text=True, timeout=120)

    (root / "bad.py").write_text(BAD.replace('raise ValueError("a bug in a loss")', "pass"))
    again = tfrun("resume", where)
    assert again.returncode == 8 and "1 of 5 jobs are left" in again.stdout  # the one that was killed from outside
    again = tfrun("resume", where, "retry=true", "hydra.launcher.n_jobs=2")
    assert "4 of 5 jobs are left" in again.stdout
    assert states(sweep.folder) == {0: "completed", 1: "failed", 2: "completed", 3: "failed", 4: "failed"}

    short, other = "trainer.max_epochs=2", "loss.how=fine,good"
    added = tfrun(
        "-m", *SMALL, short, "plugins=[bad]", "loss=bad", other, "hydra.launcher.n_jobs=2", f"sweep.extend={where}"
    )
    assert "1 of the jobs are in the sweep already" in added.stdout
    assert states(sweep.folder)[5] == "completed" and len(states(sweep.folder)) == 6
    assert "loss.how=good" in sweep.run(5)["overrides"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["seed=3"], "a sweep is resumed with its own config"),
        (["retry=maybe"], "retry: must be true or false. Received: 'maybe'"),
        (["hydra.launcher.n_jobs=0"], "hydra.launcher.n_jobs"),
    ],
)
def test_what_a_sweep_can_t_go_on_with(sweeps: dict[str, Sweep], words: list[str], expected: str) -> None:
    folder = sweeps["good"].folder
    done = subprocess.run([TFRUN, "resume", folder, *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and expected in done.stderr and "Traceback" not in done.stderr


def test_two_sweeps_can_t_use_one_folder(sweeps: dict[str, Sweep]) -> None:
    folder = sweeps["good"].folder
    with RunFolder(folder).held():
        done = subprocess.run([TFRUN, "resume", folder], capture_output=True, text=True, timeout=60)
    assert done.returncode == 7 and f"pid {os.getpid()} " in done.stderr


@pytest.fixture
def orphan(tmp_path: Path) -> Iterator[int]:
    """The id of a forked job whose parent is killed."""
    code = (
        "import time; from pathlib import Path; from tfrun.sweep.worker import fork\n"
        f"print(fork(lambda: time.sleep(600), Path({str(tmp_path / 'log')!r})).pid, flush=True); time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    pid = int(process.stdout.readline())
    time.sleep(0.2)
    process.kill()
    process.communicate()
    yield pid


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's promise is Linux's")
def test_jobs_do_not_outlive_the_parent(orphan: int) -> None:
    def is_gone() -> bool:
        try:
            state = Path(f"/proc/{orphan}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        return state == "Z"  # dead, and not yet collected by init

    wait_for(is_gone, 5)


def test_importing_the_engine_starts_no_runtime() -> None:
    """A process that is forked after TensorFlow's runtime has started hangs without a word."""
    code = (
        "from tfrun.engine import experiment; from tensorflow.python.eager import context\n"
        "print(context._context is None or not context._context._initialized)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.stdout.strip() == "True", result.stderr
