"""Exports are compared with their run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfrun import cli
from tfrun.engine.inference import trained as trained_runs
from tfrun.engine.inference.exporting import clean_process
from tfrun.engine.inference.outputs import predictions_of

pytestmark = pytest.mark.usefixtures("warm_checks")  # which tests/engine/verify/test_findings.py starts cold

DIGITS = ["data=digits", "metric=[accuracy]", "loss=sparse_categorical_crossentropy"]


def test_predictions_that_differ_are_an_error(
    train_in: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train_in(tmp_path, *DIGITS, "model=linear")
    right = predictions_of

    def wrong(*args: Any, **options: Any) -> dict[str, Any]:
        return {name: 1.01 * values for name, values in right(*args, **options).items()}

    monkeypatch.setattr(trained_runs, "predictions_of", wrong)
    assert cli.main(["export", str(run), "format=keras"]) == 2


def test_the_worst_row_is_named() -> None:
    rows = {"size": np.array([[1.0], [2.0], [np.nan]], np.float32), "words": np.array([["a"], ["b b"], [""]])}
    right = np.array([[1.0], [np.nan], [3.0], [1.0], [np.nan]])
    output = np.array([[1.0], [np.nan], [3.5], [1.0], [7.0]])  # the last one is row 2 again
    assert clean_process._worst_row(output, right, rows) == ", most in row 2 of 3: size=2.0, words='b b'"
    assert clean_process._worst_row(output[:4], right[:4], rows) == ", most in row 3 of 3: size=nan, words=''"
    assert clean_process._worst_row(output[:2], right, rows) == ""
    assert clean_process._worst_row(output, right, {"image": np.zeros((3, 2, 2))}) == ""
