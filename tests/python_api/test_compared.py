from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

import tfrun
from tfrun.errors import ConfigError

CONFIG = """
data: {{name: csv}}
model: {{name: mlp, hidden_units: {units}}}
loss: {{name: huber}}
checkpoint: {{monitor: val/loss, mode: min}}
seed: 1
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Returns a folder with three runs: two that have ended, and one that has failed at once."""
    runs: dict[str, tuple[Any, dict[str, Any]]] = {
        "a": ("[8]", {"status": "completed", "epoch": 3, "loss": 0.5, "mae": 2.0, "test": 0.75}),
        "b": ("[16]", {"status": "completed", "epoch": 4, "loss": 0.25, "mae": None, "test": 0.625}),
        "c": ("[16]", {"status": "failed", "epoch": 0}),
    }
    for name, (units, run) in runs.items():
        path = tmp_path / "outputs" / name
        path.mkdir(parents=True)
        (path / "config.yaml").write_text(CONFIG.format(units=units))
        best = {f"val/{key}": run[key] for key in ("loss", "mae") if key in run}
        metrics = {"val/loss": 9.0, "test/loss": run["test"]} if "test" in run else {}
        fields = {"status": run["status"], "epoch": run["epoch"], "metrics": metrics, "timing": {}}
        (path / "run.json").write_text(json.dumps(fields | {"best": best and {"monitor": "val/loss", **best}}))
    return tmp_path / "outputs"


def test_runs_are_a_table_best_first(folder: Path) -> None:
    first, second, third = tfrun.runs(folder, frame="records")
    assert [row["run"] for row in (first, second, third)] == [str(folder / name) for name in "bac"]
    assert (first["status"], first["epoch"], first["val/loss"], first["test/loss"]) == ("completed", 4, 0.25, 0.625)
    assert math.isnan(first["val/mae"]) and second["val/mae"] == 2.0
    assert (third["status"], third["epoch"]) == ("failed", 0) and math.isnan(third["val/loss"])
    assert first["model.hidden_units"] == [16] and second["model.hidden_units"] == [8]
    assert list(first) == ["run", "status", "epoch", "val/loss", "val/mae", "test/loss", "model.hidden_units"]


def test_runs_are_frames_ordered_by_any_metric(folder: Path) -> None:
    frame = tfrun.runs(folder / "a", folder / "b", metric="test/loss", mode="max")
    assert frame["test/loss"].tolist() == [0.75, 0.625] and list(frame.columns)[3] == "test/loss"
    assert tfrun.runs(folder, frame="polars")["val/loss"].to_list()[:2] == [0.25, 0.5]
    assert tfrun.runs(folder, frame="columns")["epoch"].tolist() == [4, 3, 0]


def test_mistakes_are_reported(folder: Path) -> None:
    with pytest.raises(ConfigError, match="needs folders with runs"):
        tfrun.runs()
    with pytest.raises(ConfigError, match="no such folder. Received: 'nowhere'"):
        tfrun.runs("nowhere")
    with pytest.raises(ConfigError, match="unknown metric of these runs"):
        tfrun.runs(folder, metric="val/nothing")
    with pytest.raises(ConfigError, match="frame: unknown kind of frame"):
        tfrun.runs(folder, frame="table")  # type: ignore[arg-type]
