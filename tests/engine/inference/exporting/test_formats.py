"""Every format that can hold a model gives its predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tfrun import cli
from tfrun.config.column_kinds import BooleanKind, ColumnKind, ImageKind, NumberKind
from tfrun.data.encode import encode
from tfrun.data.kinds import RawColumn, fit_column
from tfrun.data.preprocessing import Preprocessing
from tfrun.data.table import Table
from tfrun.data.targets import FittedTarget
from tfrun.engine.inference.exporting import formats
from tfrun.engine.inference.exporting.portable import portable, raw_rows
from tfrun.engine.inference.outputs import predictions_of
from tfrun.engine.verify import checks, data_contracts
from tfrun.engine.verify.findings import Finding

pytestmark = pytest.mark.usefixtures("warm_checks")  # which tests/engine/verify/test_findings.py starts cold

DIGITS = ["data=digits", "metric=[accuracy]", "loss=sparse_categorical_crossentropy"]


def test_check_says_whether_a_format_can_hold_the_model(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checks, "_trace_step", lambda pieces: None)  # `test_checks.py` does both
    monkeypatch.setattr(data_contracts, "check_saved", lambda model, inputs, *, outputs: Finding("saved", True))
    assert cli.main(["check", "model=autoencoder", *DIGITS[:1], "algorithm=reconstruct", "loss=mse", "metric=none",
                     "format=saved_model"]) == 0  # fmt: skip
    assert "saved_model holds this model" in capsys.readouterr().out
    assert cli.main(["check", "model=linear", "data.text={sex: {name: hash, bins: 7}}", "format=litert"]) == 2
    error = capsys.readouterr().err
    assert "litert" in error
    assert cli.main(["check", "model=linear", "format=lite"]) == 2
    assert "Did you mean 'litert'?" in capsys.readouterr().err


@pytest.mark.parametrize("format", ["litert", "onnx", "keras"])
def test_kinds_that_need_no_texts_are_exported_to_every_format(format: str, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    numbers = np.where(np.arange(20) % 3 == 0, np.nan, random.gamma(2.0, size=20))
    cells: dict[str, tuple[np.ndarray, ColumnKind]] = {
        "age": (numbers, NumberKind(indicator=True, scale="quantile")),
        "weight": (numbers, NumberKind(scale="robust", impute=1.5)),
        "flag": (np.where(np.arange(20) % 5 == 0, np.nan, np.arange(20) % 2), BooleanKind()),
        "photo": (random.integers(0, 256, (20, 2, 2, 3), "uint8"), ImageKind(scale="imagenet")),
    }
    columns = [
        fit_column(RawColumn(name, raw, np.arange(10), "homes.csv"), kind) for name, (raw, kind) in cells.items()
    ]
    fitted = Preprocessing(columns=tuple(columns), targets={"output": FittedTarget("regression", [], 3.0, 2.0)})
    inputs = {"numbers": keras.Input((4,)), "photo": keras.Input((2, 2, 3))}
    flat = keras.layers.Concatenate()([inputs["numbers"], keras.layers.Flatten()(inputs["photo"])])
    model = keras.Model(inputs, keras.layers.Dense(1)(flat))
    table = Table({name: raw.copy() for name, (raw, _) in cells.items()}, np.zeros(20), "y", "regression", "homes.csv")
    rows = raw_rows(table.columns, fitted)
    encoded, _ = encode(table, fitted)
    expected = predictions_of(model(encoded), fitted)
    formats.check_format(format, fitted)
    export_to: dict[str, Any] = {"folder": tmp_path, "preprocessing": fitted}
    assert formats.write_checked(portable(model, fitted), format, **export_to, rows=rows, expected=expected) < 1e-5
