"""Folders of runs that are written down here, with values that are easy to work out by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml


def _write_run(root: Path, number: int, best: float | None, status: str = "completed", **config: Any) -> None:
    folder = root / str(number)
    folder.mkdir(parents=True)
    base = {"seed": 1, "name": "it", "output_root": str(number), "checkpoint": {"monitor": "val/loss", "mode": "min"},
            "metric": {"hits": {"name": "accuracy"}}}  # fmt: skip
    (folder / "config.yaml").write_text(yaml.safe_dump(base | config, sort_keys=False))
    metrics = {} if best is None else {"val/loss": best + 1, "val/hits": best / 10, "test/loss": best + 2}
    run = {
        "status": status, "metrics": metrics, "epoch": 5, "timing": {"steps_per_second": 100.0},
        "best": {} if best is None else {"epoch": 3, "val/loss": best, "val/hits": best / 10},
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(run))
    if best is not None:
        lines = [{"epoch": epoch, "step": 10 * epoch, "val/loss": best + 0.5 * abs(epoch - 3)} for epoch in range(1, 6)]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def write_run() -> Callable[..., None]:
    """Writes a run's folder: `write_run(root, number, best, status, **config)`."""
    return _write_run


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "sweep"
    for number, (units, seed, best) in enumerate([(4, 1, 0.3), (4, 2, 0.5), (8, 1, 0.2), (8, 2, 0.1)]):
        _write_run(root, number, best, seed=seed, model={"units": units, "same": True})
    _write_run(root, 4, None, "failed", seed=3, model={"units": 16, "same": True})
    return root


@pytest.fixture
def grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sweep whose value depends on the rate alone."""
    monkeypatch.chdir(tmp_path)
    rates, layers = (1e-4, 1e-3, 1e-2, 1e-1), ("thin", "wide", "deep")
    for number, (rate, kind) in enumerate((rate, kind) for rate in rates for kind in layers):
        _write_run(tmp_path / "grid", number, 1.0 + rates.index(rate), optimizer={"rate": rate}, model={"kind": kind})
    return tmp_path / "grid"
