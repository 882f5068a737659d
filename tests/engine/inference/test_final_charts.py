"""The charts at the end of a run, read back from its event files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

from tfrun.engine.recording import drawing
from tfrun.files.runs import RunFolder

DIGITS = ["data=digits", "metric=[accuracy]", "loss=sparse_categorical_crossentropy", "trainer.max_epochs=1"]

NUM_ROWS = 180  # a tenth of 1,797: as many validation rows as test rows


def events(folder: RunFolder, split: str) -> Any:
    accumulator = EventAccumulator(str(folder.tensorboard / split), size_guidance={"tensors": 0, "images": 0})
    accumulator.Reload()
    return accumulator


def test_the_charts_of_numbers(small: Any) -> None:
    folder = small.train("trainer.max_epochs=1")
    images = events(folder, "test").Tags()["images"]
    assert images == [
        "report/predicted_against_true",
        "report/residuals_over_predictions",
        "report/distribution_of_the_residuals",
    ]
    assert events(folder, "val").Tags()["images"] == []


def test_no_single_row_is_drawn_if_none_may_be_kept(small: Any) -> None:
    folder = small.train("trainer.max_epochs=1", "data.keep_samples=false")
    assert events(folder, "test").Tags()["images"] == ["report/distribution_of_the_residuals"]


def test_the_charts_and_curves_of_classes(small: Any) -> None:
    folder = small.train(*DIGITS)
    test, val = events(folder, "test"), events(folder, "val")
    assert {"report/confusion_matrix", "report/roc_curve", "report/calibration"} <= set(test.Tags()["images"])
    for curves in (val, test):
        assert sorted(curves.Tags()["tensors"]) == [f"digit/{k}" for k in range(10)]
        assert curves.SummaryMetadata("digit/3").plugin_data.plugin_name == "pr_curves"
        hits, alarms, others, misses, precision, recall = tensor_util.make_ndarray(
            curves.Tensors("digit/3")[0].tensor_proto
        )
        assert (hits + alarms + others + misses == NUM_ROWS).all()
        assert hits[0] + alarms[0] == NUM_ROWS  # all rows reach a threshold of 0
        assert recall[0] == 1 and (np.diff(recall) <= 0).all()
        chosen = hits + alarms > 0
        np.testing.assert_allclose(precision[chosen], hits[chosen] / (hits + alarms)[chosen])


def test_without_test_rows_the_validation_rows_are_drawn(small: Any) -> None:
    folder = small.train("trainer.max_epochs=1", "data.test_split=0")
    assert "report/predicted_against_true" in events(folder, "val").Tags()["images"]


def test_a_chart_that_fails_ends_no_run(
    small: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any, **__: Any) -> bytes:
        raise RuntimeError("no ink")

    monkeypatch.setattr(drawing, "png", fail)
    folder = small.train("trainer.max_epochs=1")
    assert folder.read_run()["status"] == "completed"
    assert "the charts of the run's end can't be drawn" in caplog.text and "no ink" in caplog.text


def test_without_a_logger_nothing_is_drawn(small: Any) -> None:
    folder = small.train("trainer.max_epochs=1", "logger=null")
    assert not Path(folder.tensorboard).exists()


def test_the_forecasts_of_windows(small: Any, tmp_path: Path) -> None:
    (tmp_path / "series.csv").write_text("\n".join(["y", *map(str, range(200))]) + "\n")
    data = ["data=csv", f"data.path={tmp_path / 'series.csv'}", "data.target=y", "data.window={length: 4, horizon: 3}"]
    folder = small.train(*data, "optimizer=adam", "trainer.max_epochs=1")
    tags = events(folder, "test").Tags()["images"]
    assert tags == ["report/error_by_steps_ahead", *(f"report/forecast_{k}" for k in range(1, 5))]
