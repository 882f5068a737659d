"""Runs exported by the real command, each checked in a process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tfrun import cli
from tfrun.engine import export

TRAIN = ["trainer.compile=graph", "trainer.deterministic=false", "trainer.max_epochs=2"]
DIGITS = ["data=digits", "metric=[accuracy]", "loss=sparse_categorical_crossentropy"]


def trained(root: Path, *words: str) -> Path:
    assert cli.main([*words, *TRAIN, f"output_root={root}"]) == 0
    (run,) = root.glob("outputs/*/*")
    return run


def test_a_table_with_numbers_and_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = trained(tmp_path)
    capsys.readouterr()
    assert cli.main(["export", str(run), "format=saved_model"]) == 0
    said = capsys.readouterr().out
    assert "checked in a clean process: 64 rows" in said
    assert 'sex: string (batch, 1), "" for empty' in said
    model = tf.saved_model.load(str(run / "export" / "saved_model"))
    row: dict[str, Any] = {name: [[np.nan]] for name in ("age", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6")}
    outputs = model.serve(
        {name: tf.constant(value, tf.float32) for name, value in row.items()} | {"sex": tf.constant([["?"]])}
    )
    assert 0 < float(outputs[0, 0]) < 350  # in the target's own unit, whatever is empty or unseen


@pytest.mark.parametrize(
    "words",
    [
        [*DIGITS, "model=cnn", "model.filters=[4]"],
        ["model=reconstructing_regressor", "model.activation=softplus", "trainer.precision=mixed_bfloat16"],
    ],
    ids=["array", "subclassed"],
)
def test_keras_format(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = trained(tmp_path, *words)
    assert cli.main(["export", str(run), "format=keras"]) == 0
    assert "predictions at most" in capsys.readouterr().out
    assert (run / "export" / "model.keras").is_file()


def test_saved_model_of_a_model_with_its_own_metric(tmp_path: Path) -> None:
    run = trained(tmp_path, "model=reconstructing_regressor")
    assert cli.main(["export", str(run), "format=saved_model"]) == 0


def test_what_a_format_cannot_hold_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = trained(tmp_path)
    assert cli.main(["export", str(run), "format=savedmodel"]) == 2
    assert "Did you mean 'saved_model'" in capsys.readouterr().err
    assert cli.main(["export", str(run)]) == 2
    assert cli.main(["export", str(run), "format=keras", "seed=3"]) == 2
    assert cli.main(["export", str(run), "format=onnx"]) == 2
    assert not (run / "export").exists()


def test_predictions_that_differ_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trained(tmp_path, *DIGITS, "model=linear")
    right = export.predictions
    monkeypatch.setattr(export, "predictions", lambda *args: 1.01 * right(*args))
    assert cli.main(["export", str(run), "format=keras"]) == 1
