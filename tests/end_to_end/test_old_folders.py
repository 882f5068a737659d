"""Folders that an earlier tfrun made, used with this one: both give the same numbers.

`tests/data_files/README.md` says how they were made.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tfrun import cli
from tfrun.commands.run_names import path_of

Line = dict[str, Any]
TFRUN = Path(sys.executable).with_name("tfrun")
ROUNDING = 1e-5  # relative; on one machine every bit is the same, and another machine's last bits differ
PATIENTS = """age,sex,bmi,bp,s1,s2,s3,s4,s5,s6
59,2,32.1,101,157,93.2,38,4,4.8598,87
48,1,21.6,87,183,103.2,70,3,3.8918,69
,,,,,,,,,
"""


@pytest.fixture(scope="module")
def undisturbed(root: Path) -> dict[str, Any]:
    """Returns what the earlier tfrun gave when nothing stopped it: lines of metrics.jsonl, and predictions."""
    return json.loads((root / "tests/data_files/undisturbed.json").read_text())


@pytest.fixture(scope="module")
def copied(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Returns a function that makes a new copy of a folder of the earlier tfrun."""

    def copy(name: str) -> Path:
        target = tmp_path_factory.mktemp("old") / name
        return shutil.copytree(root / "tests/data_files" / name, target, symlinks=True)

    return copy


@pytest.fixture(scope="module")
def run(copied: Callable[[str], Path]) -> Path:
    """Returns the run's folder, resumed: its checkpoint is from the middle of an epoch."""
    folder = copied("old_run")
    assert read_run(folder)["status"] == "stopped"
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert cli.main(["resume", str(folder)]) == 0
    assert "step-000000068" in out.getvalue()  # where it resumed
    assert "warning" not in out.getvalue()  # about a journal that has lost lines, for example
    return folder


@pytest.fixture(scope="module")
def sweep(copied: Callable[[str], Path]) -> Path:
    """Returns the sweep's folder, resumed in a process of its own, since jobs are forked."""
    folder = copied("old_sweep")
    done = subprocess.run([TFRUN, "resume", folder], cwd=folder.parent, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "2 of 3 jobs" in done.stdout
    return folder


def read_run(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "run.json").read_text())


def metrics(folder: Path) -> list[Line]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def same(lines: list[Line]) -> list[Any]:
    return [pytest.approx(line, rel=ROUNDING) for line in lines]


def test_a_stopped_run_ends_as_if_nothing_had_stopped_it(run: Path, undisturbed: dict[str, Any]) -> None:
    assert metrics(run) == same(undisturbed["old_run"])
    ended = read_run(run)
    assert (ended["status"], ended["epoch"], ended["step"]) == ("completed", 8, 88)
    assert [again["step"] for again in ended["resumed"]] == [68]
    assert ended["best"]["val/loss"] == min(line["val/loss"] for line in metrics(run)[:-1])
    assert ended["error"] is None
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-000000088"]


def test_its_curves_have_each_epoch_once(run: Path) -> None:
    curves = EventAccumulator(str(run / "tensorboard" / "val"))
    curves.Reload()
    of_old, of_new = ([event.step for event in curves.Scalars(tag)] for tag in ("epoch_loss", "epoch/loss"))
    assert of_old + of_new == list(range(1, 9)) and of_old and of_new


def test_evaluate(run: Path, undisturbed: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["evaluate", str(run)]) == 0
    words = [line.split() for line in capsys.readouterr().out.splitlines()]
    shown = {pair[0]: float(pair[1]) for pair in words if pair and pair[0].startswith("test/")}
    test = undisturbed["old_run"][-1]
    expected = {key: test[key] for key in ("test/loss", "test/mae", "test/rmse")}
    assert shown == pytest.approx(expected, rel=2 * ROUNDING)  # six digits are shown


def test_predict(run: Path, undisturbed: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "patients.csv").write_text(PATIENTS)
    words = ["data=csv", f"data.path={tmp_path}/patients.csv", "data.target=progression", f"out={tmp_path}/out.csv"]
    assert cli.main(["predict", str(run), *words]) == 0
    with open(tmp_path / "out.csv") as file:
        predicted = [float(row["progression"]) for row in csv.DictReader(file)]
    assert predicted == pytest.approx(undisturbed["predictions of old_run"], rel=ROUNDING)


def test_export(run: Path) -> None:
    # 0 says, too, that a clean process has loaded it and predicted the same
    assert cli.main(["export", str(run), "format=keras"]) == 0
    assert (run / "export" / "model.keras").is_file()


def test_rows_of_a_run_of_classes_are_split_as_then(
    copied: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows of classes are stratified since; the test rows of this run are those of a random split."""
    folder = copied("old_classes")
    assert cli.main(["evaluate", str(folder)]) == 0
    words = [line.split() for line in capsys.readouterr().out.splitlines()]
    shown = {pair[0]: float(pair[1]) for pair in words if pair and pair[0].startswith("test/")}
    then = {key: value for key, value in read_run(folder)["metrics"].items() if key.startswith("test/")}
    assert shown == pytest.approx(then, rel=2 * ROUNDING)
    assert cli.main(["resume", str(folder), "trainer.max_epochs=3"]) == 0
    assert read_run(folder)["data"]["split"] == {"by": "random"}


def test_a_job_that_has_completed_takes_more_epochs(copied: Callable[[str], Path], undisturbed: dict[str, Any]) -> None:
    job = copied("old_sweep") / "0"
    assert cli.main(["resume", str(job), "trainer.max_epochs=14"]) == 0
    assert metrics(job) == same(undisturbed["old_sweep/0, trainer.max_epochs=14"])


def test_a_stopped_sweep_completes(sweep: Path, undisturbed: dict[str, Any]) -> None:
    assert [read_run(sweep / str(number))["status"] for number in range(3)] == ["completed"] * 3
    for number in (0, 1):
        assert metrics(sweep / str(number)) == same(undisturbed[f"old_sweep/{number}"])
    # a job that hadn't begun is one of this version, whose epochs have all rows
    assert [line["step"] for line in metrics(sweep / "2")] == [line["step"] for line in undisturbed["old_sweep/2"]]
    assert [again["step"] for again in read_run(sweep / "1")["resumed"]] == [45]
    assert "resumed" not in read_run(sweep / "0")  # it had nothing left to do
    entries = [json.loads(line) for line in (sweep / "trials.jsonl").read_text().splitlines()]
    states = {entry["trial"]: entry["state"] for entry in entries if "trial" in entry}
    assert states == dict.fromkeys(range(3), "completed")
    losses = {str(k): read_run(sweep / str(k))["best"]["val/loss"] for k in range(3)}
    assert min(losses, key=losses.__getitem__) == "2" == Path(path_of(f"{sweep}/best")).name
    assert not (sweep / "best").is_symlink()  # TensorBoard would show its job twice


def test_compare(copied: Callable[[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    folders = [copied("old_run"), copied("old_sweep")]
    assert cli.main(["compare", *map(str, folders), "--csv"]) == 0
    table = capsys.readouterr().out.split("\n\n")[0]
    rows = {Path(row["run"]).name: row for row in csv.DictReader(table.splitlines())}
    columns = {name: (row["status"], row["model.name"]) for name, row in rows.items()}
    assert columns == {"old_run": ("stopped", "wide_deep"), "0": ("completed", "mlp"), "1": ("stopped", "mlp")}
    for folder in (folders[0], folders[1] / "0", folders[1] / "1"):
        best = read_run(folder)["best"]["val/loss"]
        assert float(rows[folder.name]["val/loss best"]) == pytest.approx(best, rel=1e-3)
