from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tfrun.sweep import multirun

Result = tuple[int, str, str]


def test_train_claims_a_folder_and_records_the_config(run: Callable[..., Result], engine: Any, tmp_path: Path) -> None:
    code, _, err = run("train", "name=first", "loss=huber", "loss.delta=2", "seed=0")
    assert (code, err) == (0, "")
    ((_, config, folder, _),) = engine.calls
    assert folder.path.parent == tmp_path / "outputs" / "first"
    assert config.loss.to_dict() == {"name": "huber", "delta": 2.0}
    assert config.seed == 0
    written = yaml.safe_load((folder.path / "config.yaml").read_text())
    assert written["optimizer"]["groups"]["wide"]["name"] == "ftrl"
    overrides = yaml.safe_load((folder.path / ".hydra" / "overrides.yaml").read_text())
    assert overrides == ["name=first", "loss=huber", "loss.delta=2", "seed=0"]
    assert "output_dir" in (folder.path / ".hydra" / "hydra.yaml").read_text()


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (ValueError("a bug"), 1)])
def test_exit_code_of_what_is_no_mistake(
    run: Callable[..., Result], engine: Any, error: BaseException, code: int
) -> None:
    engine.error = error
    status, _, err = run()
    assert status == code
    assert ("Traceback" in err and "a bug" in err) == (code == 1)


@pytest.mark.parametrize(
    ("tables", "groups"),
    [
        ({}, {"wide": "ftrl", "deep": "adam"}),
        ({"tables": "own group"}, {"wide": "ftrl", "embeddings": "adagrad", "deep": "adam"}),
    ],
)
def test_jobs_that_extend_an_earlier_sweep_mean_the_same_as_its_own(
    tables: dict[str, str], groups: dict[str, str], run: Callable[..., Result], tmp_path: Path, monkeypatch: Any
) -> None:
    words = ["model=wide_deep", "data=digits"]
    header: dict[str, Any] = {"overrides": words, "swept": ["seed"], "sources": {}, "threads": None, **tables}
    known = {"trial": 0, "state": "completed", "overrides": [*words, "seed=1"]}
    ledger = tmp_path / "trials.jsonl"
    ledger.write_text(f"{json.dumps({'sweep': header})}\n{json.dumps(known)}\n")
    # without data.split, which came later, and with what was the default of trainer.threads
    (tmp_path / "multirun.yaml").write_text("data: {name: digits}\ntrainer: {threads: null, max_epochs: 7}\n")
    sources: list[Any] = []

    def note(runner: Any, source: Any, *, folder: Any) -> int:
        sources.append(source)
        return 0

    monkeypatch.setattr(multirun, "_run_all", note)
    monkeypatch.setattr(multirun, "engine", lambda _: contextlib.nullcontext())
    assert run("-m", *words, "seed=1,2", f"sweep.extend={tmp_path}")[0] == 0
    (job,) = sources[0]._waiting  # the other one is in the sweep already
    assert job.number == 1 and job.settings.seed == 2
    assert {name: group.name for name, group in job.settings.groups.items()} == groups
    assert (job.settings.data.split.by, job.settings.trainer.max_epochs) == ("random", 7)
    assert job.files["config.yaml"]["trainer"]["threads"] is None
    assert sources[0].composer.swept == {"seed"}

    # what is written now says the same to the next command
    assert run("-m", *words, "seed=1,2,3", f"sweep.extend={tmp_path}")[0] == 0
    (later,) = sources[1]._waiting
    assert later.number == 2 and later.settings.seed == 3
    same = {key: value for key, value in later.files["config.yaml"].items() if key != "seed"}
    assert same == {key: value for key, value in job.files["config.yaml"].items() if key != "seed"}
