from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tfrun.sweep import multirun
from tfrun.sweep.composer import Composer

WHOLE: dict[str, Any] = {"overrides": [], "swept": [], "sources": {}, "threads": None}
Result = tuple[int, str, str]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("retry=yes", "retry: must be true or false. Received: 'yes'"),
        ("seed=1", "seed: a sweep is resumed with its own config; only hydra.launcher.*, retry=true"),
    ],
)
def test_what_a_sweep_cannot_be_resumed_with(
    word: str, message: str, run: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / "trials.jsonl").write_text("")
    code, _, err = run("resume", ".", word)
    assert code == 2 and message in err


@pytest.mark.parametrize(
    ("header", "code", "message"),
    [
        ({"overrides": ["seed=1,2"]}, 6, "another program's or version's. Missing: ['swept', 'sources', 'threads']"),
        ({**WHOLE, "sources": {"folder": "x"}}, 6, "another program's"),
        ({**WHOLE, "overrides": ["hydra.sweeper.storage=postgresql://***:***@h/db"]}, 2, "='${oc.env:DATABASE}'"),
        ({**WHOLE, "overrides": ["hydra.launcher.n_jobs=${oc.env:TFRUN_NONE}"]}, 2, "'TFRUN_NONE' not found"),
    ],
)
def test_a_sweep_that_can_t_be_resumed(
    header: dict[str, Any], code: int, message: str, run: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / "trials.jsonl").write_text(json.dumps({"sweep": header}) + "\n")
    returned, _, err = run("resume", str(tmp_path))
    assert returned == code and message in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("tables", "groups"),
    [
        ({}, {"wide": "ftrl", "deep": "adam"}),
        ({"tables": "own group"}, {"wide": "ftrl", "embeddings": "adagrad", "deep": "adam"}),
    ],
)
def test_jobs_of_an_earlier_sweep_mean_what_they_did_then(
    tables: dict[str, str], groups: dict[str, str], run: Callable[..., Result], tmp_path: Path, monkeypatch: Any
) -> None:
    words = ["model=mlp,wide_deep", "optimizer.learning_rate=0.25", "data=digits"]
    header = {**WHOLE, "overrides": words, "swept": ["model"], **tables}
    (tmp_path / "trials.jsonl").write_text(json.dumps({"sweep": header}) + "\n")
    (tmp_path / "multirun.yaml").write_text("data: {name: digits}\n")  # without data.split, which came later
    composers = []

    def resume(configs: Any, composed: Any, **_: Any) -> int:
        composers.append(Composer(configs, composed.cfg, swept=["model"]))
        return 0

    monkeypatch.setattr(multirun, "resume", resume)
    assert run("resume", str(tmp_path))[0] == 0
    job = composers[0](["model=wide_deep", *words[1:]], 0)
    assert {name: group.name for name, group in job.settings.groups.items()} == groups
    assert {group.learning_rate for group in job.settings.groups.values()} == {0.25}
    assert job.settings.data.split.by == "random"  # what rows of classes were split by before there was a choice
    assert composers[0](["model=mlp", "data.split.by=stratified"], 0).settings.data.split.by == "stratified"
    assert list(composers[0](["model=mlp"], 0).settings.groups) == ["all"]
