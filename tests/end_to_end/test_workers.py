"""Several processes on this machine train one run: the same as several devices, and what ends them ends all of them."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfrun.workers.cluster import Cluster, free_addresses

WORKERS = "strategy=multi_worker"
SECONDS = 240  # within which a process ends, also on a machine that has other work
RUN = [
    "model=mlp",
    "model.hidden_units=[16,8]",
    "model.dropout=0.2",
    "model.batch_normalization=true",
    "optimizer=adamw",
    "trainer.ema_decay=0.9",
    "early_stopping.patience=30",
    "checkpoint.every_seconds=null",
    "checkpoint.every_steps=4",
]
EPOCHS = "trainer.max_epochs=6"
TABLES = [
    "model=wide_deep",
    "model.hidden_units=[4]",
    "data.text={sex: {name: hash, bins: 3000}}",
    "data.residency=stream",
    "data.batch_size=33",
    "trainer.max_epochs=2",
]


class Machine:
    """Starts workers in processes of their own that have imported TensorFlow.

    Attributes:
        folder: in which all of them run.
    """

    def __init__(self, server: Callable[[str], Any], folder: Path):
        self._server = server
        self.folder = folder

    def start(
        self, count: int, *words: str, each: Sequence[Sequence[str]] | None = None, before: Sequence[str] | None = None
    ) -> list[Any]:
        """Starts workers with a command line; one of them isn't told of others.

        Args:
            count: how many.
            words: the command line.
            each: further words for each of them.
            before: code that each of them runs first.
        """
        addresses = free_addresses(count)
        variables = [Cluster(addresses, k, "").as_variable() if count > 1 else "" for k in range(count)]
        return [
            self._server("tfrun").process(
                [*words, *(each[k] if each else ())],
                cwd=self.folder,
                env={**os.environ, "TF_CONFIG": variable},
                before=before[k] if before else "",
            )
            for k, variable in enumerate(variables)
        ]

    def train(self, count: int, *words: str, **options: Any) -> list[tuple[int, str]]:
        """Returns the exit code and the error line of each worker."""
        return ends(self.start(count, *words, **options))

    def alone(self, *words: str) -> Any:
        """Runs a command in one process."""
        return self._server("tfrun").process(words, cwd=self.folder).completed(SECONDS)

    def run(self, name: str) -> Path:
        """Returns the folder of a run."""
        return min((self.folder / "outputs" / name).iterdir())

    def fields(self, name: str) -> dict[str, Any]:
        """Returns a run's `run.json`."""
        fields: dict[str, Any] = json.loads((self.run(name) / "run.json").read_text())
        return fields

    def wait_for_a_checkpoint(self, process: Any, name: str, *, step: int = 1) -> None:
        """Returns once a run has been trained for some steps."""
        until = time.monotonic() + 90
        while process.poll() is None and time.monotonic() < until:
            saved = self.folder.glob(f"outputs/{name}/*/checkpoints/step-*/manifest.json")
            if any(int(file.parent.name.removeprefix("step-")) >= step for file in saved):
                return
            time.sleep(0.02)
        raise AssertionError(process.communicate(1))


def ends(processes: list[Any]) -> list[tuple[int, str]]:
    done = [process.completed(SECONDS) for process in processes]
    return [(each.returncode, each.stderr) for each in done]


# TensorFlow has put a handler of its own in place of Python's, and tfrun hasn't put it back yet
TERMINATED_EARLY = """
import os, signal
import tensorflow as tf
make = tf.distribute.MultiWorkerMirroredStrategy
def make_and_terminate():
    strategy = make()
    os.kill(os.getpid(), signal.SIGTERM)
    return strategy
tf.distribute.MultiWorkerMirroredStrategy = make_and_terminate
"""


def num_threads(process: Any) -> int:
    return len(os.listdir(f"/proc/{process.pid}/task"))


def state(run: Path) -> dict[str, bytes]:
    newest = max((run / "checkpoints").glob("step-*"))
    (file,) = newest.glob("*.npz")
    with np.load(file) as arrays:
        return {name: arrays[name].tobytes() for name in arrays}


def same(first: Path, second: Path) -> list[str]:
    """Returns the slots of two runs' states that differ, which must have the same ones."""
    states = state(first), state(second)
    assert states[0].keys() == states[1].keys()
    return [name for name in states[0] if states[0][name] != states[1][name]]


@pytest.fixture(scope="module")
def machine(warm_server: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory) -> Machine:
    return Machine(warm_server, tmp_path_factory.mktemp("workers"))


@pytest.fixture(scope="module")
def undisturbed(machine: Machine) -> Path:
    """A run of two workers."""
    assert machine.train(2, WORKERS, *RUN, EPOCHS, "name=undisturbed") == [(0, ""), (0, "")]
    return machine.run("undisturbed")


@pytest.mark.slow
def test_two_workers_equal_two_devices(machine: Machine, undisturbed: Path) -> None:
    words = ["strategy=mirrored", "strategy.logical_cpus=2", *RUN, EPOCHS, "name=mirrored"]
    assert machine.alone(*words).returncode == 0
    mirrored = machine.run("mirrored")
    assert (undisturbed / "metrics.jsonl").read_bytes() == (mirrored / "metrics.jsonl").read_bytes()
    assert same(undisturbed, mirrored) == []
    fields = machine.fields("undisturbed")
    assert fields["status"] == "completed" and len(fields["engine"]["workers"]) == 2


@pytest.mark.slow
def test_three_workers_equal_three_devices_also_with_tables_and_streams(machine: Machine) -> None:
    assert machine.train(3, WORKERS, *TABLES, "name=three") == [(0, "")] * 3
    words = ["strategy=mirrored", "strategy.logical_cpus=3", *TABLES, "name=mirrored_three"]
    assert machine.alone(*words).returncode == 0
    workers, mirrored = machine.run("three"), machine.run("mirrored_three")
    assert (workers / "metrics.jsonl").read_bytes() == (mirrored / "metrics.jsonl").read_bytes()
    assert same(workers, mirrored) == []


@pytest.mark.slow
def test_a_signal_to_any_worker_stops_all_and_resuming_gives_the_same(machine: Machine, undisturbed: Path) -> None:
    processes = machine.start(2, WORKERS, *RUN, "trainer.max_epochs=500", "name=stopped")
    machine.wait_for_a_checkpoint(processes[0], "stopped")
    processes[1].send_signal(signal.SIGTERM)
    (first, by_worker_0), (second, by_worker_1) = ends(processes)
    fields = machine.fields("stopped")
    assert (first, second, fields["status"]) == (143, 143, "stopped")
    assert (
        f"stopped by SIGTERM at step {fields['step']}, its state saved" in by_worker_0
        and by_worker_0[7:] in by_worker_1
    )
    # as long as the run that was not stopped, if it has not been trained for longer already
    if fields["step"] < 66:
        resumed = machine.train(2, "resume", str(machine.run("stopped")), EPOCHS)
        assert resumed == [(0, ""), (0, "")]
        assert same(machine.run("stopped"), undisturbed) == []


@pytest.mark.slow
def test_a_signal_while_tensorflow_makes_the_strategy_stops_all(machine: Machine) -> None:
    words = [WORKERS, "model=linear", "trainer.max_epochs=100000", "name=early"]
    ended = ends(machine.start(2, *words, before=["", TERMINATED_EARLY]))
    assert [code for code, _ in ended] == [143, 143] and "stopped by SIGTERM at step" in ended[0][1]
    assert machine.fields("early")["status"] == "stopped"


@pytest.mark.slow
def test_a_killed_worker_ends_the_others_and_the_run_can_be_resumed_with_more(machine: Machine) -> None:
    processes = machine.start(2, WORKERS, *RUN, "data.batch_size=30", "trainer.max_epochs=500", "name=killed")
    machine.wait_for_a_checkpoint(processes[0], "killed")
    processes[1].kill()
    (code, said), (killed, _) = ends(processes)
    fields = machine.fields("killed")
    assert (code, killed, fields["status"]) == (5, -signal.SIGKILL, "failed")
    assert said.startswith("tfrun: error: strategy: worker 1 (127.0.0.1:") and said.count("\n") == 1
    assert f"is gone: it has ended. Step {fields['step']} is saved. Resume it with: tfrun resume" in said
    steps = f"trainer.max_steps={fields['step'] + 5}"
    resumed = machine.train(3, "resume", str(machine.run("killed")), steps)
    assert resumed == [(0, "")] * 3 and len(machine.fields("killed")["engine"]["workers"]) == 3


@pytest.mark.slow
def test_a_frozen_worker_ends_the_others(machine: Machine) -> None:
    processes = machine.start(2, WORKERS, *RUN, "trainer.max_epochs=5000", "name=frozen")
    machine.wait_for_a_checkpoint(processes[0], "frozen")
    before = num_threads(processes[0])
    machine.wait_for_a_checkpoint(processes[0], "frozen", step=100)
    assert num_threads(processes[0]) < before + 100  # a limit for each exchange would take six in a step
    processes[1].send_signal(signal.SIGSTOP)
    try:
        code, said = ends(processes[:1])[0]
    finally:
        processes[1].kill()
        processes[1].wait()
    assert code == 5 and "strategy: worker 1 (127.0.0.1:" in said and "is gone: silent for 3 s. Step" in said


@pytest.mark.slow
def test_workers_that_are_stuck_end(machine: Machine) -> None:
    """To trace and compile the first block takes longer than the limit."""
    ended = machine.train(2, WORKERS, "model=linear", "strategy.timeout_seconds=0.01", "name=stuck")
    assert [code for code, _ in ended] == [5, 5]
    assert all("took longer than strategy.timeout_seconds" in line and line.count("\n") == 1 for _, line in ended)


@pytest.mark.slow
def test_divergence_ends_all_with_the_state_before_it(machine: Machine) -> None:
    words = [WORKERS, "model=mlp", "model.hidden_units=[4]", "optimizer=adam", "optimizer.learning_rate=1e38"]
    (first, by_worker_0), (second, by_worker_1) = machine.train(2, *words, "name=diverged")
    assert (first, second) == (4, 4) and "The weights of step" in by_worker_0
    assert "worker 0 (127.0.0.1:" in by_worker_1 and "is not finite" in by_worker_1
    assert machine.fields("diverged")["status"] == "diverged"


def test_workers_that_would_train_something_else_are_refused(machine: Machine) -> None:
    words = [WORKERS, "model=linear", "name=refused"]
    ended = machine.train(2, *words, each=[[], ["optimizer.learning_rate=0.5"]])
    assert {code for code, _ in ended} == {2} and len({line for _, line in ended}) == 1
    assert "all workers must have the same config. Received: optimizer.groups.all.learning_rate: 0.001" in ended[0][1]
    assert not (machine.folder / "outputs" / "refused").exists()


def test_a_worker_that_fails_before_the_meeting_ends_the_others(machine: Machine) -> None:
    words = [WORKERS, "model=linear", "name=failed", "data=csv", "data.target=y"]
    (machine.folder / "there.csv").write_text("x,y\n" + "1,2.5\n2,4.5\n" * 40)
    ended = machine.train(2, *words, each=[["data.path=there.csv"], ["data.path=missing.csv"]])
    (first, by_worker_0), (second, by_worker_1) = ended
    assert (first, second) == (3, 3) and "no such file. Received: 'missing.csv'" in by_worker_1
    reason = by_worker_1.removeprefix("tfrun: error: ")
    assert by_worker_0.endswith(f" has failed before the run began: {reason}") and by_worker_0.count("\n") == 1
    assert not (machine.folder / "outputs" / "failed").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "strategy: multi_worker must know its workers"),
        (
            ["strategy.workers=2", "data.batch_size=31"],
            "data.batch_size: must be a multiple of 2 workers. Received: 31",
        ),
        (["strategy.workers=2", "trainer.compile=xla"], "trainer.compile: strategy=multi_worker exchanges gradients"),
        (["strategy.workers=2", "logger.histograms_every_epochs=1"], "logger.histograms_every_epochs: not with"),
        (["-m", "seed=1,2", "strategy.workers=2"], "strategy: multi_worker trains a run in several processes"),
    ],
)
def test_what_several_workers_can_not_do_is_one_line(machine: Machine, words: list[str], message: str) -> None:
    done = machine.alone(WORKERS, *words, "name=wrong")
    assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1
    assert not (machine.folder / "outputs" / "wrong").exists()


@pytest.mark.slow
def test_workers_of_this_machine_are_started_and_stopped(machine: Machine) -> None:
    (process,) = machine.start(1, WORKERS, "strategy.workers=2", *RUN, "trainer.max_epochs=500", "name=local")
    machine.wait_for_a_checkpoint(process, "local")
    process.send_signal(signal.SIGINT)
    ((code, said),) = ends([process])
    fields = machine.fields("local")
    assert code == 130 and "stopped by SIGINT" in said and fields["status"] == "stopped"
    log = (machine.run("local") / "workers" / "1.log").read_text()
    assert f"tfrun: worker 0 (127.0.0.1:{fields['engine']['workers'][0].rpartition(':')[2]}): stopped by SIGINT" in log
    assert machine.alone("evaluate", str(machine.run("local"))).returncode == 0  # needs no other worker


@pytest.mark.slow
def test_only_worker_0_needs_the_first_weights(machine: Machine, undisturbed: Path) -> None:
    words = [WORKERS, *RUN, "trainer.max_epochs=1", "name=begun"]
    each = [[f"init.from={undisturbed}"], ["init.from=/missing"]]
    assert machine.train(2, *words, each=each) == [(0, ""), (0, "")]


@pytest.mark.slow
def test_a_run_of_workers_is_reproduced_by_as_many(machine: Machine, undisturbed: Path) -> None:
    """The run's workers were named by TF_CONFIG: it is reproduced by workers of this machine, and with TF_CONFIG."""
    refused = machine.alone("reproduce", str(undisturbed))
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1
    assert "reproduce: 2 workers have trained the run. Start this command on each" in refused.stderr
    more = machine.alone("reproduce", str(undisturbed), "strategy.workers=3", "data.batch_size=30")
    assert more.returncode == 2 and "unknown option" in more.stderr
    by_this_machine = machine.alone("reproduce", str(undisturbed), "strategy.workers=2", "epochs=2")
    assert by_this_machine.returncode == 0 and "reproduced: the same" in by_this_machine.stdout
    assert machine.train(2, "reproduce", str(undisturbed)) == [(0, ""), (0, "")]
    assert len(list((machine.folder / "outputs" / "undisturbed").iterdir())) == 3
