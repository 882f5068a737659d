"""`tfrun prune`: which runs it prunes, which it leaves alone and why, and what a process that is killed leaves."""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfrun.commands.prune import shown_bytes
from tfrun.files import checkpoints

Result = tuple[int, str, str]
Run = Callable[..., Result]
WEIGHTS = ["manifest.json", "weights.npz"]
STATE = ["manifest.json", "state.npz"]


def begin(path: Path, status: str = "completed", *, steps: tuple[int, ...] = (5, 10), **config: Any) -> Path:
    """Writes a run whose model has one variable, `step`; its best weights are 100 more."""
    for step in steps:
        arrays: dict[str, np.ndarray] = {
            "model/0000": np.full(500, step, "float32"),
            "optimizer/all/0000": np.zeros(1000, "float32"),
            "best/0000": np.array(0.5, "float32"),
            "best/0001": np.array(step, "int64"),
            "best/0002": np.array(0, "int32"),
            "best/0003": np.full(500, step + 100, "float32"),
        }
        slots = {
            slot: {"path": "w", "shape": list(value.shape), "dtype": value.dtype.name} for slot, value in arrays.items()
        }
        checkpoints.save(path / "checkpoints", step, slots=slots, arrays=arrays, extra={"journals": {}}, keep=9)
    path.mkdir(parents=True, exist_ok=True)
    run = {"status": status, "step": steps[-1] if steps else 0, "folder": {"path": os.getcwd()}}
    (path / "run.json").write_text(json.dumps(run))
    whole = {"data": {"name": "csv"}, "model": {"name": "mlp"}, "loss": {"name": "mse"}, **config}
    (path / "config.yaml").write_text(json.dumps(whole))
    return path


def files(path: Path) -> list[str]:
    """Returns the files of the newest checkpoint."""
    return sorted(file.name for file in max((path / "checkpoints").glob("step-*")).iterdir())


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_dry_run_removes_nothing(here: Path, run: Run) -> None:
    path = begin(here / "outputs/default/2026-11-21_09-56-14_de514b")
    before = {file: file.stat().st_mtime_ns for file in path.rglob("*")}
    for keep in ("last", "best"):
        code, out, err = run("prune", "latest", f"keep={keep}")
        assert code == 0 and err == "" and out.endswith("nothing was removed: yes=true does it\n")
    assert {file: file.stat().st_mtime_ns for file in path.rglob("*")} == before


@pytest.mark.parametrize(
    ("words", "kept", "expected"),
    [([], "state of step 10", STATE), (["keep=best"], "best weights, step 10", WEIGHTS)],
)
def test_what_is_freed_is_what_was_said(words: list[str], kept: str, expected: list[str], here: Path, run: Run) -> None:
    path = begin(here / "runs/a")
    size = sum(file.stat().st_size for file in (path / "checkpoints").rglob("*") if file.is_file())
    would = run("prune", "runs", *words)[1]
    freed = run("prune", "runs", *words, "yes=true")[1]
    left = sum(file.stat().st_size for file in (path / "checkpoints").rglob("*") if file.is_file())
    assert kept in would and kept in freed
    assert f"would free {shown_bytes(size - left)} in 1 run\n" in would
    assert f"\nfreed {shown_bytes(size - left)} in 1 run\n" in freed
    assert files(path) == expected and len(list((path / "checkpoints").iterdir())) == 1
    assert run("prune", "runs", *words, "yes=true")[1] == "nothing to free in 1 run\nfreed 0 bytes in 0 runs\n"


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("running", "killed while it trained: resume continues it"),
        ("stopped", "stopped: resume continues it"),
        ("failed", "failed: resume continues it"),
        ("completed", ""),
        ("pruned", ""),
        ("diverged", ""),
    ],
)
def test_runs_that_have_not_ended_are_left_alone(status: str, reason: str, here: Path, run: Run) -> None:
    path = begin(here / "runs/a", status)
    code, out, _ = run("prune", "runs", "keep=best", "yes=true")
    assert code == 0 and (f"left alone: 1 run, {reason}: runs/a\n" in out) == bool(reason)
    assert files(path) == (STATE if reason else WEIGHTS)


@pytest.mark.parametrize(("status", "reason"), [("running", "still running"), ("completed", "another process uses it")])
@pytest.mark.parametrize("words", [[], ["yes=true"]])
def test_runs_that_a_process_holds_are_left_alone(
    status: str, reason: str, words: list[str], here: Path, run: Run
) -> None:
    path = begin(here / "runs/a", status)
    with open(path / "run.lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        out = run("prune", "runs", "keep=best", *words)[1]
    assert f"left alone: 1 run, {reason}: runs/a\n" in out and files(path) == STATE


def test_the_members_of_a_population_are_left_alone_until_it_is_over(here: Path, run: Run) -> None:
    paths = [begin(here / "sweep" / str(number), "pruned") for number in range(2)]
    lines: list[dict[str, Any]] = [{"sweep": {"overrides": []}}, {"trial": 0, "state": "pruned", "overrides": []}]
    branch = {"from": 0, "epoch": 2, "generation": 0, "replaces": 1}
    lines.append({"trial": 1, "state": "stopped", "overrides": [], "branch": branch})
    ledger = here / "sweep" / "trials.jsonl"
    ledger.write_text("".join(json.dumps(line) + "\n" for line in lines))
    out = run("prune", "sweep", "keep=best", "yes=true")[1]
    assert "left alone: 2 runs, its sweep isn't over, and other members may copy its state: sweep/0, sweep/1\n" in out
    ledger.write_text(ledger.read_text() + json.dumps({"trial": 1, "state": "completed"}) + "\n")
    assert "freed" in run("prune", "sweep", "keep=best", "yes=true")[1]
    assert [files(path) for path in paths] == [WEIGHTS, WEIGHTS]


def test_a_pinned_checkpoint_of_a_sweep_that_goes_on_is_left_alone(here: Path, run: Run) -> None:
    one, other = (begin(here / "sweep" / str(number)) for number in range(2))
    checkpoints.pin(one / "checkpoints", 5)
    lines = [{"sweep": {"overrides": []}}, {"trial": 0, "state": "waiting", "overrides": []}]
    (here / "sweep" / "trials.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert "left alone: 1 run, its sweep isn't over" in run("prune", "sweep", "keep=best", "yes=true")[1]
    assert (files(one), files(other)) == (STATE, WEIGHTS)


def test_a_run_whose_last_weights_another_will_begin_with_is_left_alone(here: Path, run: Run) -> None:
    source = begin(here / "outputs/a/2026-11-21_09-56-14_de514b")
    init = {"from": "outputs/a/2026-11-21_09-56-14_de514b", "take": "last"}
    heir = begin(here / "outputs/b/2026-11-22_09-56-14_de514c", "failed", steps=(), init=init)
    out = run("prune", str(source), "keep=best", "yes=true")[1]
    reason = "outputs/b/2026-11-22_09-56-14_de514c will begin with its last weights"
    assert f"left alone: 1 run, {reason}: outputs/a/2026-11-21_09-56-14_de514b\n" in out and files(source) == STATE
    assert "state of step 10" in run("prune", str(source), "keep=last")[1]  # which keeps them
    begin(heir, "failed", steps=(3,), init=init)  # it has its own state now
    run("prune", str(source), "keep=best", "yes=true")
    assert files(source) == WEIGHTS


def test_folders_with_many_runs_and_several_paths(here: Path, run: Run) -> None:
    paths = [begin(here / "runs" / name) for name in ("a", "b/0", "b/1")]
    (here / "runs" / "b" / "best").symlink_to("0")
    code, out, _ = run("prune", "runs/b", "runs/b/best", "runs", "keep=best", "yes=true", "top=2")
    assert code == 0 and "1 more run: top=all shows all" in out and " in 3 runs\n" in out
    assert [files(path) for path in paths] == [WEIGHTS] * 3


@pytest.mark.parametrize("really", [[], ["yes=true"]])
def test_one_bad_folder_is_no_reason_not_to_prune_the_others(really: list[str], here: Path, run: Run) -> None:
    good, damaged, cut, linked = (begin(here / "runs" / name) for name in "abcd")
    (damaged / "run.json").write_text("{")
    (cut / "checkpoints/step-000000010/state.npz").write_bytes(b"")
    (here / "elsewhere").mkdir()
    (linked / "checkpoints").rename(here / "elsewhere/checkpoints")
    (linked / "checkpoints").symlink_to(here / "elsewhere/checkpoints")
    code, out, err = run("prune", "runs", "keep=best", *really)
    assert code == 0 and " in 1 run\n" in out
    assert [line.partition(": left out: ")[0] for line in err.splitlines()] == ["warning"] * 3
    assert "runs/b/run.json: is damaged" in err and "step-000000010: isn't whole, so nothing is removed" in err
    assert "runs/d/checkpoints: can't be written: it is a link" in err
    assert files(good) == (WEIGHTS if really else STATE)
    assert len(list((here / "elsewhere/checkpoints").glob("*/state.npz"))) == 2 and files(cut) == STATE
    assert run("prune", "runs/b", *really)[0] == 6 and run("prune", "runs/d", *really)[0] == 5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "prune: needs folders with runs"),
        (["nowhere"], "prune: no such folder. Received: 'nowhere'"),
        (["."], "prune: there are no runs in ."),
        ([".", "keep=bets"], "keep: unknown choice. Received: 'bets'. Known: best, last. Did you mean 'best'?"),
        ([".", "kep=best"], "Known: keep, top, yes. Did you mean 'keep'?"),
        ([".", "yes=y"], "yes: must be true or false. Received: 'y'"),
        ([".", "top=0"], "top: must be a number of lines"),
    ],
)
def test_what_is_wrong_is_told(words: list[str], message: str, here: Path, run: Run) -> None:
    code, out, err = run("prune", *words)
    assert code == 2 and out == "" and message in err and err.count("\n") == 1


def test_a_killed_prune_leaves_a_run_that_can_be_read_and_pruned(
    here: Path, tfrun: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    best = np.full(500, 110, "float32")
    for number in itertools.count(1):
        path = begin(here / f"runs_{number}/a", steps=(5, 7, 10))
        words = ("prune", f"runs_{number}", "keep=best", "yes=true")
        done = tfrun(*words, env={"TFRUN_FAILPOINT": f"io:{number}"})
        saved = checkpoints.newest(path / "checkpoints")
        assert saved is not None and saved.step == 10 and saved.passed_over == []
        np.testing.assert_array_equal(saved.arrays["best/0003"], best)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL
        assert tfrun(*words).returncode == 0
        assert files(path) == WEIGHTS and os.listdir(path / "checkpoints") == ["step-000000010"]
    assert number == 11  # 2 old checkpoints, 3 operations for the weights and their folder, 5 for the manifest


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1024, "1 KiB"), (30310, "29.6 KiB"), (1047552, "1,023 KiB"),
     (2**20 * 3 // 2, "1.5 MiB"), (2**30, "1 GiB"), (5 * 2**50, "5,120 TiB")],
)  # fmt: skip
def test_bytes_for_a_person(number: int, text: str) -> None:
    assert shown_bytes(number) == text
