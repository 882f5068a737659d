from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Result = tuple[int, str, str]


def test_evaluate_takes_other_data_only(run: Callable[..., Result], engine: Any, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "more.csv").write_text("kind,x,y\n,,2\n")
    assert run("evaluate", str(trained), "data.path=more.csv")[0] == 0
    name, settings, _, options = engine.calls[1]
    assert (name, settings.data.name, settings.data.batch_size) == ("evaluate", "csv", 8)
    assert options["other_data"] and np.isnan(options["table"].columns["x"]).tolist() == [True]
    code, _, err = run("evaluate", str(trained), "model=mlp")
    assert code == 2 and "takes other data only" in err


@pytest.mark.parametrize(
    ("words", "other_data"),
    [([], False), (["data.batch_size=4"], False), (["data.residency=device"], False), (["data.test_split=0"], True)],
)
def test_rows_that_are_read_otherwise_are_other_data(
    words: list[str], other_data: bool, run: Callable[..., Result], engine: Any, trained: Path
) -> None:
    assert run("evaluate", str(trained), *words)[0] == 0
    assert engine.calls[1][3]["other_data"] is other_data


def test_a_run_without_a_checkpoint_needs_no_engine(run: Callable[..., Result], engine: Any, trained: Path) -> None:
    checkpoints = trained / "checkpoints"
    shutil.rmtree(checkpoints)
    for words in (["evaluate"], ["predict"], ["export", "format=keras"]):
        code, _, err = run(*words, str(trained))
        resume = f"tfrun resume {trained.relative_to(Path.cwd())}"
        assert (code, err) == (
            6,
            f"tfrun: error: {checkpoints}: the run has no checkpoint yet. Train it with: {resume}\n",
        )
    assert len(engine.calls) == 1


def test_checkpoints_that_are_gone_are_told_as_that(run: Callable[..., Result], engine: Any, trained: Path) -> None:
    (trained / "run.json").write_text(json.dumps({"status": "completed", "step": 30}))
    folder = trained / "checkpoints"
    for remove, what in (
        (folder / "step-000000001", "the folder has no checkpoint any more"),
        (folder, "the folder is gone"),
    ):
        remove.rmdir()
        for words in (["evaluate"], ["predict"], ["export", "format=keras"], ["resume"]):
            code, _, err = run(*words, str(trained))
            assert code == 6 and f"{folder}: {what}, though run.json says that step 30 was saved. Put the" in err
    assert len(engine.calls) == 1
