"""Exports are compared with their run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tfrun import cli
from tfrun.engine.inference import trained as trained_runs
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
