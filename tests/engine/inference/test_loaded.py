"""A trained run's model in this process; `tests/python_api/test_opened.py` compares it with the commands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tfrun.data.pieces import Piece, cut
from tfrun.data.preprocessing import Preprocessing
from tfrun.data.table import Table
from tfrun.engine.inference.exporting.portable import raw_rows
from tfrun.engine.inference.loaded import LoadedRun
from tfrun.engine.inference.predict import predict
from tfrun.errors import DataError
from tfrun.files.runs import RunFolder

WORDS = ["model=linear", "data.batch_size=64"]


def pieces_of(table: Table, num_rows: int = 1024) -> Iterator[Piece]:
    return cut(table, {}).read(num_rows)


def loaded(small: Any, folder: RunFolder, *words: str) -> LoadedRun:
    fitted = Preprocessing.from_fields(folder.read_preprocessing())
    return LoadedRun(small.settings(*WORDS, *words), folder, catalog=small.catalog, fitted=fitted)


def test_predictions_are_those_of_the_file(small: Any, tmp_path: Path) -> None:
    folder, out = small.train("trainer.max_epochs=1"), tmp_path / "out.parquet"
    fitted = Preprocessing.from_fields(folder.read_preprocessing())
    pieces = pieces_of(small.table())
    predict(small.settings(*WORDS), folder, catalog=small.catalog, pieces=pieces, fitted=fitted, out=out)
    expected = np.array(pq.read_table(out)["progression"])
    run = loaded(small, folder)
    for num_rows in (1024, 100):  # at once, and piece by piece by the model that is built already
        result = run.predict(pieces_of(small.table(), num_rows))
        assert list(result.values) == ["progression"] and result.warnings == []
        assert result.values["progression"] == pytest.approx(expected, rel=1e-6)
    model = run.portable(small.table())
    rows = raw_rows(small.table().columns, fitted)
    assert np.array(model(rows))[:, 0] == pytest.approx(expected, rel=1e-5)


def test_the_test_rows_are_evaluated_or_all_rows(small: Any) -> None:
    folder = small.train("trainer.max_epochs=1")
    run, recorded = loaded(small, folder), folder.read_run()["metrics"]
    values = run.evaluate(small.table(), other_data=False).values
    assert values == pytest.approx({name: value for name, value in recorded.items() if name.startswith("test/")})
    table = small.table()
    predicted = run.predict(pieces_of(small.table())).values["progression"]
    error = np.abs(predicted - table.target).mean()
    assert run.evaluate(small.table(), other_data=True).values["test/mae"] == pytest.approx(error, rel=1e-5)
    changed = small.table()
    changed.target[0] += 1
    with pytest.raises(DataError, match="its contents have changed since the run was trained"):
        run.evaluate(changed, other_data=False)


def test_a_run_of_other_devices_is_loaded(small: Any) -> None:
    """The devices, threads and determinism of the run aren't asked for: TensorFlow has started with others."""
    folder = small.train("trainer.max_epochs=1")
    words = ["strategy=mirrored", "strategy.logical_cpus=2", "trainer.threads=3", "trainer.deterministic=true"]
    run = loaded(small, folder, *words)
    values = run.evaluate(small.table(), other_data=False).values
    assert values["test/loss"] == pytest.approx(folder.read_run()["metrics"]["test/loss"], rel=1e-5)
