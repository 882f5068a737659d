"""The command line of `tfrun reproduce`; tests/end_to_end/test_reproduce.py trains."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Result = tuple[int, str, str]


@pytest.fixture
def trained(run: Callable[..., Result], engine: Any) -> Path:
    """The folder of a run of the diabetes table, which has its config and what `run.json` needs."""
    run("seed=3")
    folder: Path = engine.calls.pop()[2].path
    fields = {"run_id": folder.name, "status": "completed", "step": 10, "overrides": ["seed=3"], "metrics": {}}
    (folder / "run.json").write_text(json.dumps(fields))
    (folder / "metrics.jsonl").write_text('{"epoch": 1, "step": 10, "val/loss": 0.5}\n')
    return folder


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["epochs=0"], "epochs: must be a whole number from 1. Received: '0'"),
        (["epochs=two"], "epochs: must be a whole number from 1"),
        (["code=nowhere"], "code: must be here, worktree, or a folder with the plugins. Received: 'nowhere'"),
        (["check=yes"], "check: must be true or false"),
        (["epoch=1"], "reproduce: unknown option. Received: 'epoch'"),
        (["seed=4"], "reproduce: unknown option. Received: 'seed'"),
        (["data.target=y"], "reproduce: unknown option. Received: 'data.target'"),
        (["env=conda"], "env: must be here or venv. Received: 'conda'"),
        (["env=venv"], "say yes=true if it may"),
        (["trainer.threads=0"], "trainer.threads: must be a whole number >= 1"),
        (["yes=true"], "yes: only with env=venv, which installs packages"),
        (["epochs=2"], "epochs: the run has 1 whole epochs. Received: 2"),
    ],
)
def test_wrong_words(trained: Path, run: Callable[..., Result], engine: Any, words: list[str], message: str) -> None:
    code, _, err = run("reproduce", str(trained), *words)
    assert code == 2
    assert message in err
    assert engine.calls == []


def test_a_run_is_needed(run: Callable[..., Result], tmp_path: Path) -> None:
    assert run("reproduce")[0] == 2
    code, _, err = run("reproduce", "nothing")
    assert (code, "does not exist" in err) == (2, True)
    assert run("evaluate", "latest", "--check")[2] == "tfrun: error: --check: only for reproduce\n"
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "trials.jsonl").touch()
    code, _, err = run("reproduce", "sweep")
    assert (code, "is a sweep. Reproduce one of its jobs: it has none yet" in err) == (2, True)


def test_a_run_that_is_still_training(trained: Path, run: Callable[..., Result]) -> None:
    with open(trained / "run.lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code, _, err = run("reproduce", str(trained))
    assert (code, "it is still training" in err) == (7, True)


def test_what_the_engine_is_asked(trained: Path, run: Callable[..., Result], engine: Any) -> None:
    code, out, err = run("reproduce", str(trained))
    # the stand-in for the engine trains nothing, so the line is missing
    assert code == 9, err
    assert "first difference: epoch 1, step 10, val/loss: 0.5 → missing (1 of 1 values differ)" in out
    ((_, settings, folder, options),) = engine.calls
    assert settings.seed == 3
    assert folder.path.parent == trained.parent
    assert options["entries"]["reproduces"] == {"run_id": trained.name, "path": str(trained)}
    assert options["reproduced"]["run_id"] == trained.name
    assert (options["pause_step"], options["overrides"]) == (None, ["seed=3"])
    assert (folder.path / "config.yaml").read_bytes() == (trained / "config.yaml").read_bytes()


def test_a_damaged_record_is_one_line(trained: Path, run: Callable[..., Result], engine: Any) -> None:
    (trained / "provenance").mkdir(exist_ok=True)
    for text in ("{", "[]", "{}", '{"git": 3}', "\0", '{"a": ' * 100_000):
        (trained / "provenance" / "provenance.json").write_text(text)
        code, _, err = run("reproduce", str(trained))
        assert (code, err.count("\n")) == (6, 1), err
        assert "provenance.json: " in err
    assert engine.calls == []
