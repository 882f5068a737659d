"""Values that aren't defined: null in the files, no point, never the best, and one warning that says why."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from rich.console import Console

from tfrun.engine.recording.undefined_values import UndefinedValues

NAN, INF = float("nan"), float("inf")


def make(weights: list[float] | None = None) -> tuple[UndefinedValues, io.StringIO]:
    """Returns the observer of a run with two validation rows, and what it prints."""
    auc, gain = keras.metrics.Mean("auc"), keras.metrics.Mean("gain")
    auc.undefined_if = "one class is missing"
    splits = {"train": np.array([0]), "val": np.array([1, 2]), "test": np.array([3])}
    examples = SimpleNamespace(weights=None if weights is None else np.array(weights), splits=splits)
    parts = SimpleNamespace(val_metrics=SimpleNamespace(metrics=[auc, gain]))
    pieces: Any = SimpleNamespace(examples=examples, parts=parts)
    out = io.StringIO()
    return UndefinedValues(pieces, Console(file=out)), out


def test_each_value_is_reported_once_with_its_reason() -> None:
    observer, out = make()
    values = {"train/loss": 1.0, "val/loss": 2.0, "val/auc": NAN, "val/gain": INF}
    observer.on_epoch(1, 10, values)
    observer.on_epoch(2, 20, values | {"train/loss": NAN, "train/auc": NAN})
    end = "Null in the files, and never the best"
    assert out.getvalue().splitlines() == [
        f"warning: val/auc: not defined in epoch 1, because one class is missing. {end}",
        f"warning: val/gain: not defined in epoch 1, because it isn't a finite number. {end}",
        f"warning: train/loss, train/auc: not defined in epoch 2, because its steps were all skipped. {end}",
    ]


@pytest.mark.parametrize(
    ("weights", "reason"),
    [([1, 0, 0, 1], "no validation row has a weight"), ([1, 0, 1, 1], "it isn't a finite number")],
)
def test_rows_without_weight_are_a_reason(weights: list[float], reason: str) -> None:
    observer, out = make(weights)
    observer.report({"val/loss": NAN, "val/auc": NAN})
    line = f"warning: val/loss, val/auc: not defined, because {reason}. Null in the files, and never the best\n"
    assert out.getvalue() == line


def test_a_run_whose_validation_rows_have_no_weight(small: Any, tmp_path: Path) -> None:
    rows = "".join(f"{k},{int(k % 5 == 0)},{2 * k}\n" for k in range(20))
    path = tmp_path / "weights.csv"
    path.write_text("a,w,y\n" + rows)
    data = ["data=csv", f"data.path={path}", "data.target=y", "data.sample_weight=w", "data.batch_size=8"]
    split = ["data.split_seed=1", "data.validation_split=0.1", "data.test_split=0.1"]
    folder = small.train(*data, *split, "model=linear", "trainer.max_epochs=2", "early_stopping.patience=5")
    text = folder.metrics_jsonl.read_text()
    first, second, test = (json.loads(line, parse_constant=pytest.fail) for line in text.splitlines())
    assert {second[f"val/{name}"] for name in ("loss", "mae", "rmse")} == {None}
    assert second["train/loss"] > 0
    run = folder.read_run()
    assert run["best"] == {} and run["metrics"]["val/mae"] is None
    assert "NaN" not in folder.run_json.read_text()
