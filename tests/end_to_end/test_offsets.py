"""Numbers far from 0, as Unix seconds are: a run on them is as good as one on the same numbers near 0."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrun import cli
from tfrun.config import earlier_runs
from tfrun.engine.recording import run_fields
from tfrun.files.run_json import DATES, EPOCH_ROWS, IDLE_LAYERS, OFFSETS, SCHEDULE_END, TABLE_UPDATES
from tfrun.files.runs import EXPORTS

pytestmark = pytest.mark.usefixtures("warm_checks")  # which tests/engine/verify/test_findings.py starts cold

FAR = 1_700_000_000
# A metric of Keras' kind, and a function whose constant is a float32.
METRICS = """
import keras
import tensorflow as tf
from tfrun import register


@register.metric("keras_mae")
class KerasMae(keras.metrics.MeanAbsoluteError):
    def __init__(self, name="keras_mae", dtype=None):
        super().__init__(name=name, dtype=dtype)


@register.metric("mean_error")
def mean_error(y_true, y_pred):
    return tf.reduce_mean(y_pred - y_true, axis=-1)


@register.metric("single")
def single(y_true, y_pred):
    return tf.reduce_mean(tf.constant([1.0]) * tf.abs(y_pred - y_true), axis=-1)
"""
WORDS = [
    "data=csv", "data.target=y", "plugins=[far_metrics]", "model=linear", "trainer.compile=graph",
    "trainer.deterministic=false", "trainer.max_epochs=3", "metric=[mae,rmse,mape,r2,keras_mae,mean_error,single]",
]  # fmt: skip


def train(folder: Path, offset: int) -> Path:
    lines = [f"{offset + k},{offset + k * 0.5 + (k % 5) / 10:.1f}" for k in range(600)]
    (folder / f"{offset}.csv").write_text("\n".join(["t,y", *lines]) + "\n")
    assert cli.main([*WORDS, f"data.path={folder}/{offset}.csv", f"output_root={folder}/{offset}"]) == 0
    (run,) = folder.glob(f"{offset}/outputs/*/*")
    return run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Returns a run near 0 and one far from it."""
    folder = tmp_path_factory.mktemp("offsets")
    (folder / "far_metrics.py").write_text(METRICS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(folder))
        return {offset: train(folder, offset) for offset in (0, FAR)}


def metrics(run: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((run / "run.json").read_text())["metrics"]
    return values


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_metrics_are_those_of_the_same_numbers_near_0(split: str, runs: dict[int, Path]) -> None:
    near, far = metrics(runs[0]), metrics(runs[FAR])
    for name in ("loss", "mae", "rmse", "r2", "keras_mae", "mean_error"):
        assert far[f"{split}/{name}"] == pytest.approx(near[f"{split}/{name}"], rel=1e-4, abs=1e-4), name
    # of 1.7e9, which all targets are within 2e-7
    assert far[f"{split}/mape"] == pytest.approx(100 * far[f"{split}/mae"] / FAR, rel=1e-5)


def test_a_metric_that_cannot_compute_in_float64_is_warned_of(
    runs: dict[int, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["resume", str(runs[FAR]), "trainer.max_epochs=4"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "warning: metric.single: can't compute in float64" in out
    assert out.count("can't compute in float64") == 1


@pytest.mark.parametrize("format", ["saved_model", "keras"])
def test_an_export_takes_and_gives_all_digits(
    format: str, runs: dict[int, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["export", str(runs[FAR]), f"format={format}"]) == 0
    assert "t: float64 (batch, 1), nan for empty" in capsys.readouterr().out
    path = runs[FAR] / "export" / EXPORTS[format]
    model = tf.saved_model.load(str(path)) if format == "saved_model" else keras.saving.load_model(path)
    rows = {"t": tf.constant(FAR + np.arange(3.0)[:, None], tf.float64)}
    y = model.serve(rows) if format == "saved_model" else model(rows)
    assert y.dtype == tf.float64
    first, second = np.diff(y[:, 0])  # one second, on a line; its slope is 0.5
    assert first == pytest.approx(second, rel=1e-4) and 0.4 < first < 0.7


def test_a_format_without_float64_names_the_columns(runs: dict[int, Path], capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("ai_edge_litert", reason="the extra litert isn't installed")
    assert cli.main(["export", str(runs[FAR]), "format=litert"]) == 2
    assert "can't compute in float64, which these need: t, the target. Use saved_model" in capsys.readouterr().err


@pytest.fixture(scope="module")
def earlier(runs: dict[int, Path]) -> Path:
    """Returns a run far from 0 that began as one of an earlier version did, in float32."""
    folder = runs[FAR].parents[3]
    meant = {
        SCHEDULE_END: earlier_runs.AFTER_LAST_STEP,
        OFFSETS: earlier_runs.IN_FLOAT32,
        DATES: earlier_runs.AS_CATEGORIES,
        EPOCH_ROWS: earlier_runs.WHOLE_BATCHES,
        TABLE_UPDATES: earlier_runs.AS_WHOLES,
        IDLE_LAYERS: earlier_runs.IN_TRAINING,
    }
    root = folder / "earlier"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for module in (earlier_runs, run_fields):
            patch.setattr(module, "meanings", lambda before: meant)
        words = [word for word in WORDS if not word.startswith("metric=")]
        assert cli.main([*words, f"data.path={folder}/{FAR}.csv", f"output_root={root}"]) == 0
    (run,) = root.glob("outputs/*/*")
    return run


@pytest.mark.parametrize("words", [["evaluate"], ["resume", "trainer.max_epochs=4"]])
def test_what_an_earlier_run_rounds_is_warned_of(
    words: list[str], earlier: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([words[0], str(earlier), *words[1:]]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert out.count("warning: t, the target: too far from 0 for the digits of float32") == 1


def test_an_earlier_run_is_exported_with_the_digits_that_it_predicts(earlier: Path) -> None:
    assert cli.main(["export", str(earlier), "format=keras"]) == 0  # it was refused: 64 off from what `predict` gives
    assert keras.saving.load_model(earlier / "export" / EXPORTS["keras"]).output.dtype == "float64"


def test_an_unscaled_target_that_float32_makes_constant_is_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "near.csv").write_text("\n".join(["a,y", *(f"{k % 7},{FAR + k % 9}" for k in range(60))]) + "\n")
    words = ["data=csv", f"data.path={tmp_path}/near.csv", "data.target=y", "data.target_scaling=none", "model=linear"]
    assert cli.main([*words, "trainer.max_epochs=1", "trainer.compile=graph", f"output_root={tmp_path}"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "warning: data.target_scaling: float32 has too few digits for a target so far from 0" in out
