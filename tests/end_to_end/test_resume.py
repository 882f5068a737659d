"""Runs that are killed, damaged or changed, and gone on with: the real command in processes of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

Tfrun = Callable[..., subprocess.CompletedProcess[str]]
SCRIPT = Path(sys.executable).with_name("tfrun")
DATA = ["data=csv", "data.path=rows.csv", "data.target=y"]


def write_csv(path: Path, num_rows: int) -> None:
    generator = np.random.default_rng(0)
    a, b = generator.normal(size=(2, num_rows))
    kind = generator.choice(["red", "green", "blue"], num_rows)
    y = np.sin(2 * a) + a * b + (kind == "red") + generator.normal(0, 0.1, num_rows)
    rows = [f"{a[k]:.6f},{b[k]:.6f},{kind[k]},{y[k]:.6f}" for k in range(num_rows)]
    path.write_text("\n".join(["a,b,kind,y", *rows]) + "\n")


def one_run(root: Path, name: str = "default") -> Path:
    (run,) = (root / "outputs" / name).iterdir()
    return run


def read_run(run: Path) -> dict[str, Any]:
    return json.loads((run / "run.json").read_text())


def epochs(run: Path) -> list[tuple[int, int]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [(line["epoch"], line["step"]) for line in lines]


def checkpoints(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "checkpoints").iterdir())


def points(run: Path) -> dict[tuple[str, str], list[tuple[int, float]]]:
    """Returns (split, tag) -> every point of that curve."""
    curves = {}
    for folder in (run / "tensorboard").iterdir():
        accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0})
        accumulator.Reload()
        for tag in accumulator.Tags()["scalars"]:
            curves[folder.name, tag] = [(event.step, event.value) for event in accumulator.Scalars(tag)]
    return curves


def kill_after_a_new_checkpoint(process: subprocess.Popen[bytes], folder: Path, delay: float) -> str:
    """Ends a run with kill -9 some time after it has saved; returns the newest checkpoint that it leaves."""

    def found() -> list[str]:
        return sorted(path.name for path in folder.glob("outputs/killed/*/checkpoints/step-*"))

    before, deadline = found()[-1:], time.monotonic() + 90
    while found()[-1:] == before:
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    time.sleep(delay)
    assert process.poll() is None, "it ended before it could be killed"
    process.kill()
    process.wait()
    return found()[-1]


@pytest.mark.slow
def test_killed_twice_equals_undisturbed(tfrun: Tfrun, tmp_path: Path) -> None:
    """Weights, optimizer slots, dropout's generator, journal and curves are the same, bit for bit."""
    write_csv(tmp_path / "rows.csv", 2000)
    args = [
        *DATA, "model.dropout=0.2", "trainer.compile=xla", "trainer.max_epochs=250", "logger.every_steps=7",
        "checkpoint.every_seconds=0.2", "checkpoint.every_steps=1470", "early_stopping.patience=200",
        "optimizer.groups.deep.schedule=cosine",
    ]  # fmt: skip

    def start(*words: str | Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen([SCRIPT, *words], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    whole = start(*args, "name=whole")
    first = kill_after_a_new_checkpoint(start(*args, "name=killed"), tmp_path, delay=0.05)
    killed = one_run(tmp_path, "killed")
    assert read_run(killed)["status"] == "running"
    second = kill_after_a_new_checkpoint(start("resume", killed), tmp_path, delay=0.02)
    assert first < second
    done = tfrun("resume", str(killed))
    assert done.returncode == 0, done.stderr
    assert "resuming from outputs/killed/" in done.stdout
    assert whole.wait(120) == 0

    undisturbed = one_run(tmp_path, "whole")
    one, two = read_run(undisturbed), read_run(killed)
    assert one["status"] == two["status"] == "completed"
    assert one["engine"]["mode"] == two["engine"]["mode"] == "xla_loop"
    assert (one["step"], one["epoch"]) == (two["step"], two["epoch"]) == (250 * 50, 250)
    assert [group["optimizer"] for group in one["groups"]] == ["ftrl", "adam"]
    for key in ("metrics", "best", "groups", "data"):
        assert one[key] == two[key]
    assert (undisturbed / "metrics.jsonl").read_bytes() == (killed / "metrics.jsonl").read_bytes()

    newest = [run / "checkpoints" / checkpoints(run)[-1] / "state.npz" for run in (undisturbed, killed)]
    assert newest[0].parent.name == newest[1].parent.name == f"step-{250 * 50:09d}"
    with np.load(newest[0]) as left, np.load(newest[1]) as right:
        assert left.files == right.files
        assert {slot.partition("/")[0] for slot in left.files} >= {"model", "optimizer", "best", "train", "position"}
        different = [slot for slot in left.files if left[slot].tobytes() != right[slot].tobytes()]
    assert different == []

    curves = points(undisturbed)
    assert len(curves["train", "loss"]) == 250 * 50 // 7
    assert [step for step, _ in curves["val", "epoch_loss"]] == list(range(1, 251))
    assert points(killed) == curves


@pytest.fixture(scope="module")
def completed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with rows.csv and a run of three epochs, saved after each; copy it to change it."""
    root = tmp_path_factory.mktemp("completed")
    write_csv(root / "rows.csv", 200)
    args = [*DATA, "trainer.max_epochs=3", "checkpoint.every_epochs=1", "data.batch_size=16"]
    done = subprocess.run([SCRIPT, *args], cwd=root, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return root


@pytest.fixture
def run(completed: Path, tmp_path: Path) -> Path:
    shutil.copytree(completed, tmp_path, dirs_exist_ok=True)
    return one_run(tmp_path)


def contents(run: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != "tfrun.log"}


def test_a_completed_run_has_nothing_left_to_do(tfrun: Tfrun, run: Path) -> None:
    before = contents(run)
    done = tfrun("resume", str(run))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"outputs/default/{run.name} is completed already, at step 30\n"
    del before[str(run / "run.lock")]
    assert before.items() <= contents(run).items()


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("model.hidden_units=[8]", "model.hidden_units: [30, 30] -> [8]"),
        ("seed=1", "seed: 42 -> 1"),
        ("data.batch_size=8", "data.batch_size: 16 -> 8"),
    ],
)
def test_what_would_not_fit_the_state_is_refused(tfrun: Tfrun, run: Path, override: str, told: str) -> None:
    before = contents(run)
    done = tfrun("resume", str(run), override, "trainer.max_epochs=9")
    assert done.returncode == 6
    assert told in done.stderr and "trainer.max_epochs: " not in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert contents(run) == before


def test_changed_data_is_refused(tfrun: Tfrun, run: Path, tmp_path: Path) -> None:
    rows = (tmp_path / "rows.csv").read_text().splitlines()
    rows[100] = rows[101]
    (tmp_path / "rows.csv").write_text("\n".join(rows) + "\n")
    before = contents(run)
    done = tfrun("resume", str(run), "trainer.max_epochs=5")
    assert done.returncode == 6
    assert done.stderr == "tfrun: error: rows.csv: its contents have changed since the run was trained on it\n"
    after = contents(run)
    for name in ("metrics.jsonl", "config.yaml", "checkpoints/step-000000030/state.npz"):
        assert after[str(run / name)] == before[str(run / name)]
    assert read_run(run)["status"] == "failed" and read_run(run)["step"] == 30


def test_a_longer_run_goes_on_from_the_newest_whole_checkpoint(tfrun: Tfrun, run: Path) -> None:
    assert epochs(run) == [(1, 10), (2, 20), (3, 30), (3, 30)]  # three epochs and the test
    first_lines = (run / "metrics.jsonl").read_bytes().splitlines()[:3]
    damaged = run / "checkpoints" / "step-000000030" / "state.npz"
    os.truncate(damaged, damaged.stat().st_size // 2)
    done = tfrun("resume", str(run), "trainer.max_epochs=5")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "passed over step-000000030: state.npz is damaged"
    assert lines[1] == f"resuming from outputs/default/{run.name}/checkpoints/step-000000020"
    assert epochs(run) == [(1, 10), (2, 20), (3, 30), (4, 40), (5, 50), (5, 50)]
    assert (run / "metrics.jsonl").read_bytes().splitlines()[:3] == first_lines
    assert [step for step, _ in points(run)["val", "loss"]] == [10, 20, 30, 40, 50]
    assert [step for step, _ in points(run)["test", "loss"]] == [50]
    assert checkpoints(run) == ["step-000000040", "step-000000050"]
    told = read_run(run)
    assert (told["status"], told["epoch"], told["step"]) == ("completed", 5, 50)
    assert "trainer.max_epochs=3" in told["overrides"]  # what it was started with


def test_no_checkpoint_is_whole(tfrun: Tfrun, run: Path) -> None:
    for path in (run / "checkpoints").iterdir():
        (path / "manifest.json").write_text("{")
    done = tfrun("resume", str(run), "trainer.max_epochs=5")
    assert done.returncode == 6
    assert "no checkpoint is whole. step-000000030: " in done.stderr and "; step-000000020: " in done.stderr
