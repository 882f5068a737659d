"""The real command; few of them in a process of their own, since each of those loads TensorFlow."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

Tfrun = Callable[..., subprocess.CompletedProcess[str]]
Run = Callable[..., tuple[int, str, str]]
SCRIPT = Path(sys.executable).with_name("tfrun")
KEYS = """run_id, name, status, started, ended, argv, overrides, seed, epoch, step, metrics, best, higher_is_better,
    schedule_end, offsets, dates, epoch_rows, table_updates, idle_layers, timing, engine, groups, parameters, data,
    versions, git, error, folder"""  # as docs/run-folder.md has them
TIMES = """import_seconds, build_seconds, compile_seconds, train_seconds, eval_seconds, checkpoint_seconds,
    steps_per_second"""
FILES = {
    ".hydra/config.yaml",
    ".hydra/hydra.yaml",
    ".hydra/overrides.yaml",
    "checkpoints/step-000000022/manifest.json",
    "checkpoints/step-000000022/state.npz",
    "config.yaml",
    "metrics.jsonl",
    "preprocessing.json",
    "provenance/provenance.json",
    "run.json",
    "run.lock",
    "samples.json",
    "tensorboard/wide_deep max_epochs=2/test",
    "tensorboard/wide_deep max_epochs=2/train",
    "tensorboard/wide_deep max_epochs=2/val",
    "tfrun.log",
}
# TensorFlow's C++ lines begin with a level and a time, Abseil's with a letter and a date
LIBRARY_LINE = re.compile(
    r"^([IWEF]\d{4} |\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [IWEF] |WARNING: All log messages)", re.M
)


def one_run(root: Path, name: str = "default") -> Path:
    (run,) = (root / "outputs" / name).iterdir()
    return run


def read_run(run: Path) -> dict[str, Any]:
    return json.loads((run / "run.json").read_text())


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], list[Path]]:
    """The bare command for two epochs, twice: the first's output, both folders."""
    done, folders = [], []
    env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "0"}  # what TensorFlow has to say, it shall say
    for k in range(2):
        root = tmp_path_factory.mktemp(f"bare{k}")
        done.append(
            subprocess.run(
                [SCRIPT, "trainer.max_epochs=2"], cwd=root, env=env, capture_output=True, text=True, timeout=120
            )
        )
        folders.append(root)
    assert [each.returncode for each in done] == [0, 0], [each.stderr[-2000:] for each in done]
    return done[0], [one_run(root) for root in folders]


def test_what_a_run_leaves(twice: Any) -> None:
    run = twice[1][0]
    files = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    folders = {path.rpartition("/")[0] if "tfevents" in path else path for path in files}
    assert {re.sub(r" at \d\d\.\d\d/", "/", path) for path in folders} == FILES
    assert sum("tfevents" in path for path in files) == 3


def test_run_json(twice: Any) -> None:
    run = twice[1][0]
    record = read_run(run)
    assert list(record) == re.findall(r"\w+", KEYS)
    assert {key: record[key] for key in ("run_id", "name", "status", "epoch", "step", "seed", "error")} == {
        "run_id": run.name,
        "name": "default",
        "status": "completed",
        "epoch": 2,
        "step": 22,
        "seed": 42,
        "error": None,
    }
    assert record["overrides"] == record["argv"][1:] == ["trainer.max_epochs=2"]
    names = ["loss", "mae", "rmse"]
    assert record["higher_is_better"] == dict.fromkeys(names, False)
    assert list(record["metrics"]) == [f"{split}/{name}" for split in ("train", "val", "test") for name in names]
    assert list(record["best"]) == ["epoch", "step", "monitor", *(f"{s}/{n}" for s in ("train", "val") for n in names)]
    assert list(record["timing"]) == re.findall(r"\w+", TIMES)
    assert record["engine"]["mode"] == "graph_loop" and record["engine"]["ended_by"] == "last step"
    optimizers = [("wide", "ftrl"), ("embeddings", "adagrad"), ("deep", "adam")]
    assert [(group["name"], group["optimizer"]) for group in record["groups"]] == optimizers
    assert sum(group["parameters"] for group in record["groups"]) == record["parameters"]
    data = record["data"]
    assert (data["rows"], data["train"], data["val"], data["test"]) == (442, 354, 44, 44)  # of scikit-learn's diabetes


def test_the_journal_has_each_epoch_and_the_test(twice: Any) -> None:
    run = twice[1][0]
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [(line["epoch"], line["step"]) for line in lines] == [(1, 11), (2, 22), (2, 22)]
    assert [key for key in lines[2] if "/" in key] == ["test/loss", "test/mae", "test/rmse"]
    record = read_run(run)
    assert record["metrics"] == {key: value for line in lines[1:] for key, value in line.items() if "/" in key}
    best = min(lines[:2], key=lambda line: line["val/loss"])
    assert record["best"] == {"monitor": "val/loss", **best}
    # the target's spread is about 77: a metric in its own unit is no small number
    assert 20 < record["metrics"]["val/mae"] < 100


def test_the_config_is_kept(twice: Any) -> None:
    config = yaml.safe_load((twice[1][0] / "config.yaml").read_text())
    assert config["trainer"]["max_epochs"] == 2 and config["model"]["name"] == "wide_deep"


def test_the_output_is_for_people(twice: Any) -> None:
    done, (run, _) = twice
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    *_, newest, completed = [line for line in lines if line.startswith(("epoch ", "default: "))]
    assert newest.startswith("epoch 2/2  step 22/22  train/loss ")
    assert completed == "default: completed at step 22, epoch 2"
    assert lines[-5:-1] == [
        f"run         outputs/default/{run.name}",
        "checkpoint  checkpoints/step-000000022, in it",
        "metrics     tfrun evaluate latest",
        "report      tfrun report latest",
    ]
    assert re.fullmatch(r"time        \S+ s: .* s (importing TensorFlow|compiling).*", lines[-6])
    assert re.fullmatch(r"The loss is that of the scaled target, \(y − \d+\.?\d*\) / \d+\.?\d*\.", lines[-8])
    assert re.fullmatch(r"curves      (.*/)?tensorboard --logdir outputs", lines[-1])


def test_what_libraries_print_is_in_the_log(twice: Any) -> None:
    done, (run, _) = twice
    assert not LIBRARY_LINE.search(done.stdout)
    log = (run / "tfrun.log").read_text()
    assert LIBRARY_LINE.search(log)
    assert "tfrun: engine: graph_loop, " in log


def test_one_command_gives_the_same_bits(twice: Any) -> None:
    first, second = twice[1]
    assert (first / "metrics.jsonl").read_bytes() == (second / "metrics.jsonl").read_bytes()
    states = [run / "checkpoints" / "step-000000022" / "state.npz" for run in (first, second)]
    assert states[0].read_bytes() == states[1].read_bytes()


def test_evaluate_finds_the_same_test_metrics(twice: Any) -> None:
    run = twice[1][0]
    done = subprocess.run([SCRIPT, "evaluate", run], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    shown = dict(line.split() for line in done.stdout.splitlines() if line.startswith("test/"))
    expected = {key: value for key, value in read_run(run)["metrics"].items() if key.startswith("test/")}
    assert {key: float(value) for key, value in shown.items()} == pytest.approx(expected, rel=1e-5)


def test_a_run_that_diverges(run: Run, tmp_path: Path) -> None:
    words = ("model=linear", "loss=mse", "optimizer=sgd", "optimizer.learning_rate=1e10", "trainer.max_epochs=5")
    code, _, err = run(*words)
    assert code == 4
    assert re.fullmatch(r"tfrun: error: the loss or its gradient is not finite at step \d+, epoch 1\. .*\n", err)
    folder = one_run(tmp_path)
    record = read_run(folder)
    assert record["status"] == "diverged" and record["ended"]
    assert record["error"]["type"] == "DivergedError" and record["error"]["exit_code"] == 4
    assert (folder / "checkpoints" / f"step-{record['step']:09d}" / "state.npz").is_file()


def test_a_pattern_that_matches_nothing_leaves_no_folder(run: Run, tmp_path: Path) -> None:
    code, _, err = run("optimizer.groups.wide.match='^wdie/'")
    assert code == 2
    assert "optimizer.groups.wide.match: '^wdie/' matches no variable" in err
    assert "wide/kernel is matched by no group" in err
    assert len(err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_stopped_by_a_signal_and_resumed(warm_tfrun: Tfrun, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [SCRIPT, "trainer.max_epochs=1000000", "trainer.compile=graph", "checkpoint.every_seconds=0.2"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("outputs/*/*/checkpoints/step-*")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    run = one_run(tmp_path)
    record = read_run(run)
    assert process.returncode == 130
    assert record["status"] == "stopped" and record["step"] > 0
    assert stderr == (
        f"tfrun: stopped by SIGINT at step {record['step']}, its state saved. "
        f"Resume it with: tfrun resume outputs/default/{run.name}\n"
    )
    assert (run / "checkpoints" / f"step-{record['step']:09d}" / "manifest.json").is_file()
    assert record["engine"]["threads"] == 1  # as the model is small
    record["engine"]["threads"] = 2  # as if it had begun so
    (run / "run.json").write_text(json.dumps(record))

    epochs = record["epoch"] + 3
    done = warm_tfrun("resume", str(run), f"trainer.max_epochs={epochs}")
    assert done.returncode == 0, done.stderr
    after = read_run(run)
    assert (after["status"], after["epoch"], after["step"], after["error"]) == ("completed", epochs, 11 * epochs, None)
    assert after["engine"]["threads"] == 2
    assert after["started"] == record["started"] and after["overrides"] == record["overrides"]
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [*range(1, epochs + 1), epochs]


@pytest.mark.slow
def test_california_housing(warm_tfrun: Tfrun, tmp_path: Path, housing_csv: Path) -> None:
    """Wide & deep beats an error of 40,000 dollars; always saying the median is off by about 90,000."""
    done = warm_tfrun("data=csv", f"data.path={housing_csv}", "data.target=median_house_value", "name=housing")
    assert done.returncode == 0, done.stderr
    record = read_run(one_run(tmp_path, "housing"))
    assert record["epoch"] == 20 and record["data"]["rows"] == 20_640
    assert 30_000 < record["metrics"]["test/mae"] < 40_000


@pytest.mark.slow
@pytest.mark.parametrize("streams", [">&- 2>&-", ">/dev/full 2>/dev/full"])
def test_a_run_needs_no_output(tmp_path: Path, streams: str) -> None:
    words = f"'{SCRIPT}' model=linear trainer.max_epochs=1 trainer.compile=eager {streams}"
    assert subprocess.run(words, shell=True, cwd=tmp_path, timeout=300).returncode == 0
    (run,) = tmp_path.glob("outputs/default/*/run.json")
    assert json.loads(run.read_text())["status"] == "completed"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_during_the_import_leaves_no_folder(tmp_path: Path, number: signal.Signals) -> None:
    with subprocess.Popen([SCRIPT], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("outputs/default/*/tfrun.log")) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(number)
        assert process.wait(60) == 128 + number
    assert list(tmp_path.iterdir()) == []
