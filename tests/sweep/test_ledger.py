from __future__ import annotations

import json
from pathlib import Path

import pytest

from tfrun.errors import CheckpointError, ResourceError
from tfrun.files.runs import RunFolder
from tfrun.sweep.ledger import Ledger, Trial


def begin(folder: Path) -> Ledger:
    ledger = Ledger(folder)
    ledger.write_header({"overrides": ["seed=1,2"], "swept": ["seed"]})
    ledger.add([(0, ["seed=1"]), (1, ["seed=2"])])
    return ledger


def test_the_last_line_about_a_trial_is_its_state(tmp_path: Path) -> None:
    ledger = begin(tmp_path)
    ledger.record_state(1, "running")
    ledger.record_end(1, "completed", value=0.5)
    ledger.record_state(0, "running")
    sweep, trials = Ledger(tmp_path).read()
    assert sweep == {"overrides": ["seed=1,2"], "swept": ["seed"]}
    assert trials == [Trial(0, "running", ["seed=1"]), Trial(1, "completed", ["seed=2"])]
    assert json.loads((tmp_path / "trials.jsonl").read_text().splitlines()[4])["value"] == 0.5


@pytest.mark.parametrize("cut", [1, 10, 30])
def test_a_line_that_a_crash_cut_off_is_ignored(tmp_path: Path, cut: int) -> None:
    begin(tmp_path).record_state(0, "running")
    path = tmp_path / "trials.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    ledger = Ledger(tmp_path)
    assert [trial.state for trial in ledger.read()[1]] == ["waiting", "waiting"]
    ledger.record_state(1, "running")
    assert [trial.state for trial in ledger.read()[1]] == ["waiting", "running"]


def test_trials_and_a_new_header_can_be_added(tmp_path: Path) -> None:
    ledger = begin(tmp_path)
    ledger.write_header({"swept": ["loss", "seed"]})
    ledger.add([(2, ["seed=2", "loss=huber"])])
    sweep, trials = ledger.read()
    assert sweep == {"overrides": ["seed=1,2"], "swept": ["loss", "seed"]}
    assert [trial.number for trial in trials] == [0, 1, 2]


@pytest.mark.parametrize(
    "content", [b"", b"{}\n", b"[1]\n", b"\xff\xfe\n", b'{"trial": 0}\n', b'{"sweep": 3}\n', b"x\n"]
)
def test_a_file_that_is_no_ledger(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "trials.jsonl").write_bytes(content + b"\n")
    with pytest.raises(CheckpointError, match=str(tmp_path / "trials.jsonl")):
        Ledger(tmp_path).read()


@pytest.mark.parametrize(
    "line",
    [
        b'{"trial": 0, "state": "runn',  # cut in the middle of the file
        b'{"trial": "zero", "state": "running"}',
        b'{"trial": 0, "state": "waiting", "overrides": 3}',
        b'{"sweep": {"overrides": "seed=1,2"}}',
        b'{"epoch": 1, "val/loss": 0.5}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, line: bytes) -> None:
    begin(tmp_path)
    path = tmp_path / "trials.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    damaged = b"".join([*lines[:2], line + b"\n", *lines[2:]])
    path.write_bytes(damaged)
    with pytest.raises(CheckpointError, match=rf"{path}:3: not a line of .* tfrun resume {tmp_path}/<number>") as error:
        Ledger(tmp_path).read()
    assert len(str(error.value)) < 500 and path.read_bytes() == damaged


def test_a_ledger_without_a_header(tmp_path: Path) -> None:
    Ledger(tmp_path).add([(0, ["seed=1"])])
    with pytest.raises(CheckpointError, match='has no {"sweep": …} line'):
        Ledger(tmp_path).read()


def test_a_branch_is_part_of_a_trial(tmp_path: Path) -> None:
    branch = {"from": 1, "epoch": 2, "generation": 0, "replaces": 0}
    ledger = begin(tmp_path)
    ledger.add([(2, ["seed=3"])], branch)
    ledger.record_state(2, "running")
    assert ledger.read()[1][2] == Trial(2, "running", ["seed=3"], branch)
    assert "branch" not in (tmp_path / "trials.jsonl").read_text().splitlines()[1]


def test_ends_that_only_the_jobs_have_written_are_added(tmp_path: Path) -> None:
    ledger = begin(tmp_path)
    (tmp_path / "1").mkdir()
    RunFolder(tmp_path / "1").write_run({"status": "completed"})
    for _ in range(2):
        ledger.record_missing_ends(ledger.read()[1])
    assert [trial.state for trial in ledger.read()[1]] == ["waiting", "completed"]
    assert len((tmp_path / "trials.jsonl").read_text().splitlines()) == 4  # the end is written once


def test_a_disk_that_refuses(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="can't be written"):
        Ledger(tmp_path / "nowhere").record_state(0, "running")
