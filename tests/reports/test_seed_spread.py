from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tfrun.files.runs import RunFolder
from tfrun.reports.seed_spread import SeedSpread


def job(sweep: Path, number: int, value: float | None, *words: str, **fields: Any) -> RunFolder:
    folder = RunFolder(sweep / str(number))
    folder.path.mkdir(parents=True)
    best = {"monitor": "val/loss", "val/loss": value}
    run = {"status": "completed", "seed": number, "overrides": [*words, f"seed={number}"], "best": best, **fields}
    folder.run_json.write_text(json.dumps(run))
    return folder


def test_spread_over_the_seeds_of_the_same_config(tmp_path: Path) -> None:
    (tmp_path / "trials.jsonl").touch()
    first = job(tmp_path, 0, 1.0, "model=mlp")
    job(tmp_path, 1, 2.0, "model=mlp")
    job(tmp_path, 2, 6.0, "model=mlp")
    job(tmp_path, 3, 9.0, "model=wide_deep")
    job(tmp_path, 4, 9.0, "model=mlp", status="failed")
    job(tmp_path, 5, None, "model=mlp")
    job(tmp_path, 6, 9.0, "model=mlp", branch={"run_id": "x"})
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "run.json").write_text("damaged")
    spread = SeedSpread.of(first, first.read_run())
    assert spread is not None
    assert (spread.metric, dict(spread.values)) == ("val/loss", {0: 1.0, 1: 2.0, 2: 6.0})
    assert spread.mean == 3.0
    assert spread.deviation == pytest.approx(7**0.5)  # ((−2)² + (−1)² + 3²) / 2 = 7


def test_one_seed_and_a_single_run_have_none(tmp_path: Path) -> None:
    (tmp_path / "trials.jsonl").touch()
    first = job(tmp_path, 0, 1.0)
    assert SeedSpread.of(first, first.read_run()) is None
    (tmp_path / "trials.jsonl").unlink()
    job(tmp_path, 1, 2.0)
    assert SeedSpread.of(first, first.read_run()) is None
