"""Runs that are killed, damaged or changed, and then resumed. What is killed is a command in its own process."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tfrun import cli

Tfrun = Callable[..., subprocess.CompletedProcess[str]]
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
    for folder in (run / "tensorboard").glob("*/*"):
        accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0})
        accumulator.Reload()
        for tag in accumulator.Tags()["scalars"]:
            curves[folder.name, tag] = [(event.step, event.value) for event in accumulator.Scalars(tag)]
    return curves


def kill_after_a_new_checkpoint(process: Any, folder: Path, delay: float) -> str:
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
def test_killed_twice_equals_undisturbed(warm_tfrun: Tfrun, warm_server: Callable[[str], Any], tmp_path: Path) -> None:
    """Weights, optimizer slots, dropout's generator, journal and curves are the same, bit for bit."""
    write_csv(tmp_path / "rows.csv", 2000)
    args = [
        *DATA, "model.dropout=0.2", "trainer.compile=xla", "trainer.max_epochs=250", "logger.every_steps=7",
        "checkpoint.every_seconds=0.2", "checkpoint.every_steps=1470", "early_stopping.patience=200",
        "optimizer.groups.deep.schedule=cosine",
    ]  # fmt: skip

    def start(*words: str | Path) -> Any:
        return warm_server("tfrun").process(words, cwd=tmp_path)

    whole = start(*args, "name=whole")
    first = kill_after_a_new_checkpoint(start(*args, "name=killed"), tmp_path, delay=0.05)
    killed = one_run(tmp_path, "killed")
    assert read_run(killed)["status"] == "running"
    second = kill_after_a_new_checkpoint(start("resume", killed), tmp_path, delay=0.02)
    assert first < second
    done = warm_tfrun("resume", str(killed))
    assert done.returncode == 0, done.stderr
    assert "resuming from outputs/killed/" in done.stdout
    assert whole.wait(120) == 0

    undisturbed = one_run(tmp_path, "whole")
    one, two = read_run(undisturbed), read_run(killed)
    assert one["status"] == two["status"] == "completed"
    assert one["engine"]["mode"] == two["engine"]["mode"] == "xla_loop"
    assert (one["step"], one["epoch"]) == (two["step"], two["epoch"]) == (250 * 50, 250)
    assert [group["optimizer"] for group in one["groups"]] == ["ftrl", "adagrad", "adam"]
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
    assert len(curves["train", "step/loss"]) == 250 * 50 // 7
    assert [step for step, _ in curves["val", "epoch/loss"]] == list(range(1, 251))
    assert points(killed) == curves


@pytest.fixture(scope="module")
def completed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with rows.csv and a run of three epochs, saved after each; copy it to change it."""
    root = tmp_path_factory.mktemp("completed")
    write_csv(root / "rows.csv", 200)
    args = [*DATA, "trainer.max_epochs=3", "checkpoint.every_epochs=1", "data.batch_size=16"]
    with contextlib.chdir(root):
        assert cli.main(args) == 0
    return root


@pytest.fixture
def run(completed: Path, tmp_path: Path) -> Path:
    shutil.copytree(completed, tmp_path, dirs_exist_ok=True)
    return one_run(tmp_path)


@pytest.fixture
def resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Tfrun:
    """Runs `tfrun resume` in this process, which has TensorFlow already, and in tmp_path."""
    monkeypatch.chdir(tmp_path)

    def run_command(*words: str) -> subprocess.CompletedProcess[str]:
        capsys.readouterr()
        return subprocess.CompletedProcess(words, cli.main(["resume", *words]), *capsys.readouterr())

    return run_command


def contents(run: Path) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes()
        for path in run.rglob("*")
        if path.is_file() and path.name not in ("tfrun.log", "run.lock")
    }


def test_a_completed_run_has_nothing_left_to_do(resume: Tfrun, run: Path) -> None:
    before = contents(run)
    done = resume(str(run))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"outputs/default/{run.name} is completed already, at step 30\n"
    assert contents(run) == before


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.hidden_units=[8]", "model.hidden_units: [30, 30] -> [8]"),
        ("seed=1", "seed: 42 -> 1"),
        ("data.batch_size=8", "data.batch_size: 16 -> 8"),
    ],
)
def test_what_would_not_fit_the_state_is_refused(resume: Tfrun, run: Path, override: str, message: str) -> None:
    before = contents(run)
    done = resume(str(run), override, "trainer.max_epochs=9")
    assert done.returncode == 6
    assert message in done.stderr and "trainer.max_epochs: " not in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert contents(run) == before


def test_changed_data_is_refused(resume: Tfrun, run: Path, tmp_path: Path) -> None:
    then = read_run(run)["data"]["fingerprint"]
    rows = (tmp_path / "rows.csv").read_text().splitlines()
    rows[100] = rows[101]
    (tmp_path / "rows.csv").write_text("\n".join(rows) + "\n")
    before = contents(run)
    done = resume(str(run), "trainer.max_epochs=5")
    assert done.returncode == 6
    message = "tfrun: error: rows.csv: its contents have changed since the run was trained on it. Fingerprint then: "
    assert done.stderr.startswith(f"{message}{then}, now: ") and len(done.stderr.splitlines()) == 1
    assert contents(run) == before


def test_a_longer_run_goes_on_from_the_newest_whole_checkpoint(resume: Tfrun, run: Path) -> None:
    assert epochs(run) == [(1, 10), (2, 20), (3, 30), (3, 30)]  # three epochs and the test
    first_lines = (run / "metrics.jsonl").read_bytes().splitlines()[:3]
    damaged = run / "checkpoints" / "step-000000030" / "state.npz"
    os.truncate(damaged, damaged.stat().st_size // 2)
    done = resume(str(run), "trainer.max_epochs=5")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "passed over step-000000030: state.npz is damaged"
    assert lines[1] == f"resuming from outputs/default/{run.name}/checkpoints/step-000000020"
    assert epochs(run) == [(1, 10), (2, 20), (3, 30), (4, 40), (5, 50), (5, 50)]
    assert (run / "metrics.jsonl").read_bytes().splitlines()[:3] == first_lines
    assert [step for step, _ in points(run)["val", "step/loss"]] == [10, 20, 30, 40, 50]
    assert [step for step, _ in points(run)["test", "step/loss"]] == [50]
    assert checkpoints(run) == ["step-000000040", "step-000000050"]
    record = read_run(run)
    assert (record["status"], record["epoch"], record["step"]) == ("completed", 5, 50)
    assert "trainer.max_epochs=3" in record["overrides"]  # what it was started with


def test_no_checkpoint_is_whole(resume: Tfrun, run: Path) -> None:
    for path in (run / "checkpoints").iterdir():
        (path / "manifest.json").write_text("{")
    done = resume(str(run), "trainer.max_epochs=5")
    assert done.returncode == 6
    assert "no checkpoint is whole. step-000000030: " in done.stderr and "; step-000000020: " in done.stderr


@pytest.mark.parametrize("command", ["resume", "evaluate", "predict", "export"])
@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("config.yaml", "batch_size: 16", "batch_size: 8", "data.batch_size: 16 -> 8"),
        ("config.yaml", "seed: 42", "seed: 43", "seed: 42 -> 43"),
        ("config.yaml", "delta: 1.0", "delta: 2.0", "loss.delta: 1.0 -> 2.0"),
        ("preprocessing.json", '"red"', '"rad"', "vocabularies.kind"),
        ("preprocessing.json", '"target_mean": ', '"target_mean": 1', "target_mean"),
    ],
)
def test_a_file_that_was_edited_is_refused(
    run: Path, capsys: pytest.CaptureFixture[str], command: str, *, name: str, old: str, new: str, message: str
) -> None:
    """Before TensorFlow is imported; a run and its state would be two different things."""
    file = run / name
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new, 1))
    before = contents(run)
    more = {"predict": ["data.path=rows.csv"], "export": ["format=keras"]}.get(command, [])
    assert cli.main([command, str(run), *more]) == 6
    error = capsys.readouterr().err
    assert error.startswith(f"tfrun: error: {file}: has been changed since the checkpoint of step 30 was saved, ")
    assert f": {message}. Change that back" in error and len(error.splitlines()) == 1
    assert contents(run) == before


def test_what_may_change_may_be_edited_and_old_checkpoints_say_nothing(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("every_epochs: 1", "every_epochs: 2"))
    assert cli.main(["resume", str(run)]) == 0
    assert "is completed already" in capsys.readouterr().out
    config.write_text(config.read_text().replace("seed: 42", "seed: 43"))
    for path in (run / "checkpoints").glob("*/manifest.json"):
        manifest = json.loads(path.read_text())
        del manifest["sha256"], manifest["extra"]["config"], manifest["extra"]["preprocessing"]
        digest = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
        path.write_text(json.dumps(manifest | {"sha256": digest}))
    assert cli.main(["resume", str(run)]) == 0


@pytest.mark.parametrize("pattern", ["checkpoints", "checkpoints/*"])
def test_checkpoints_that_are_lost_are_no_new_beginning(
    run: Path, capsys: pytest.CaptureFixture[str], pattern: str
) -> None:
    for path in run.glob(pattern):
        shutil.rmtree(path)
    before = contents(run)
    assert cli.main(["resume", str(run), "trainer.max_epochs=6"]) == 6
    assert "though run.json says that step 30 was saved. Put the checkpoints back" in capsys.readouterr().err
    assert contents(run) == before


def test_fewer_epochs_than_are_done_change_nothing(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(run)
    assert cli.main(["resume", str(run), "trainer.max_epochs=2"]) == 0
    assert "has nothing left to do: 3 epochs are done, trainer.max_epochs=2" in capsys.readouterr().out
    assert contents(run) == before


def test_a_run_belongs_to_the_folder_of_its_first_command(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    (elsewhere / "rows.csv").write_text("a\n1\n")  # it isn't meant
    assert cli.main(["resume", str(run), "trainer.max_epochs=4"]) == 0
    assert Path.cwd() == elsewhere
    assert f"resuming from {run}/checkpoints/step-000000030" in capsys.readouterr().out
    shutil.copy(tmp_path / "rows.csv", elsewhere / "the_same.csv")
    before = (run / "config.yaml").read_bytes()
    assert cli.main(["resume", str(run), "data.path=rows.csv", "trainer.max_epochs=5"]) == 3  # no column y
    with (elsewhere / "rows.csv").open("w") as file:
        file.write((tmp_path / "rows.csv").read_text() + "1,1,red,1\n")
    capsys.readouterr()
    assert cli.main(["resume", str(run), "data.path=rows.csv", "trainer.max_epochs=5"]) == 6
    assert "Fingerprint then: " in capsys.readouterr().err
    assert (run / "config.yaml").read_bytes() == before
    assert cli.main(["resume", str(run), "data.path=the_same.csv", "trainer.max_epochs=5"]) == 0
    assert f"path: {elsewhere}/the_same.csv\n" in (run / "config.yaml").read_text()
    assert epochs(run)[-2:] == [(5, 50), (5, 50)]
    assert cli.main(["predict", str(run), "data.path=the_same.csv", "out=predicted.csv"]) == 0
    assert len((elsewhere / "predicted.csv").read_text().splitlines()) == 201
    assert cli.main(["evaluate", str(run)]) == 0
    assert "20 test rows of " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "name", "content", "code", "message"),
    [
        ("resume", "config.yaml", "a: 1", 2, "{run}: not a run folder, its config.yaml isn't one of tfrun. It lacks: "),
        ("evaluate", "config.yaml", "a: 1", 2, "{run}: not a run folder, its config.yaml isn't one of tfrun"),
        ("resume", "config.yaml", "a: [", 6, "{run}/config.yaml: can't be read as a config: "),
        (
            "evaluate",
            "config.yaml",
            "\0",
            6,
            "{run}/config.yaml: can't be read as a config: a YAML file must be in UTF-8",
        ),
        (
            "predict",
            "config.yaml",
            "[" * 101 + "]" * 101,
            6,
            "{run}/config.yaml: can't be read as a config: {run}/config.yaml:1: more",
        ),
        ("resume", "run.json", "[1]", 6, "{run}/run.json: is damaged: it must be a mapping. Received: [1]"),
        ("evaluate", "run.json", '{"status": 3}', 6, "{run}/run.json: is damaged, or not of a run of tfrun"),
        ("predict", "preprocessing.json", "[]", 6, "{run}/preprocessing.json: is damaged: it must be a mapping"),
        ("predict", "preprocessing.json", "{}", 6, "{run}/preprocessing.json: has been changed"),
        ("export", "samples.json", '{"rows": [', 6, "{run}/samples.json: is damaged: "),
        ("export", "export/tfrun-export.json", "[]", 6, "{run}/export/tfrun-export.json: is damaged. "),
        ("resume", "metrics.jsonl", "no JSON\n", 6, "{run}/metrics.jsonl:1: is damaged, and can't be read as JSON"),
    ],
)
def test_a_damaged_file_is_one_line(
    run: Path, capsys: pytest.CaptureFixture[str], command: str, *, name: str, content: str, code: int, message: str
) -> None:
    (run / name).parent.mkdir(exist_ok=True)
    (run / name).write_text(content)
    before = contents(run)
    more = {"predict": ["data.path=rows.csv"], "resume": ["trainer.max_epochs=6"], "export": ["format=keras"]}.get(
        command, []
    )
    assert cli.main([command, str(run), *more]) == code
    error = capsys.readouterr().err
    assert error.startswith(f"tfrun: error: {message.format(run=run)}") and len(error.splitlines()) == 1
    assert contents(run) == before
