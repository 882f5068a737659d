from __future__ import annotations

import json
from pathlib import Path

import pytest

from tfrun.errors import CheckpointError, ResourceError
from tfrun.sweep.ledger import Ledger, Trial


def begun(folder: Path) -> Ledger:
    ledger = Ledger(folder)
    ledger.begin({"overrides": ["seed=1,2"], "swept": ["seed"]})
    ledger.add([(0, ["seed=1"]), (1, ["seed=2"])])
    return ledger


def test_the_last_line_about_a_trial_is_its_state(tmp_path: Path) -> None:
    ledger = begun(tmp_path)
    ledger.note(1, "running")
    ledger.note(1, "completed", value=0.5)
    ledger.note(0, "running")
    sweep, trials = Ledger(tmp_path).read()
    assert sweep == {"overrides": ["seed=1,2"], "swept": ["seed"]}
    assert trials == [Trial(0, "running", ["seed=1"]), Trial(1, "completed", ["seed=2"])]
    assert json.loads((tmp_path / "trials.jsonl").read_text().splitlines()[4])["value"] == 0.5


@pytest.mark.parametrize("cut", [1, 10, 30])
def test_a_line_that_a_crash_cut_off_was_not_written(tmp_path: Path, cut: int) -> None:
    begun(tmp_path).note(0, "running")
    path = tmp_path / "trials.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    ledger = Ledger(tmp_path)
    assert [trial.state for trial in ledger.read()[1]] == ["waiting", "waiting"]
    ledger.note(1, "running")
    assert [trial.state for trial in ledger.read()[1]] == ["waiting", "running"]


def test_it_grows_by_trials_and_says_what_the_sweep_is_now(tmp_path: Path) -> None:
    ledger = begun(tmp_path)
    ledger.begin({"swept": ["loss", "seed"]})
    ledger.add([(2, ["seed=2", "loss=huber"])])
    sweep, trials = ledger.read()
    assert sweep == {"overrides": ["seed=1,2"], "swept": ["loss", "seed"]}
    assert [trial.number for trial in trials] == [0, 1, 2]


@pytest.mark.parametrize(
    "content", [b"", b"{}\n", b"[1]\n", b"\xff\xfe\n", b'{"trial": 0}\n', b'{"sweep": 3}\n', b"x\n"]
)
def test_what_is_no_ledger(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "trials.jsonl").write_bytes(content + b"\n")
    with pytest.raises(CheckpointError, match=str(tmp_path / "trials.jsonl")):
        Ledger(tmp_path).read()


def test_a_disk_that_refuses(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="can't be written"):
        Ledger(tmp_path / "nowhere").note(0, "running")
