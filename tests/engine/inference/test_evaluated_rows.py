"""The test rows of a run with their predictions, compared with what evaluation and the raw data say."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tfrun.data.preprocessing import Preprocessing
from tfrun.data.splitting.split import split
from tfrun.engine.inference import evaluated_rows
from tfrun.engine.inference.evaluated_rows import read_evaluated_rows
from tfrun.errors import CheckpointError, DataError
from tfrun.files.runs import RunFolder
from tfrun.reports.evaluated_rows import EvaluatedRows

WORDS = ["model=linear", "data.batch_size=64"]
LOSS = "loss=sparse_categorical_crossentropy"
DIGITS = ["data=digits", "model=mlp", "model.hidden_units=[4]", LOSS, "metric=accuracy", "data.limit_rows=352"]


def read(small: Any, folder: RunFolder, *words: str, table: Any = None, other_data: bool = False) -> EvaluatedRows:
    settings = small.settings(*WORDS, *words)
    table = small.table(*words) if table is None else table
    fitted = Preprocessing.from_fields(folder.read_preprocessing())
    options = {"catalog": small.catalog, "fitted": fitted, "other_data": other_data}
    return read_evaluated_rows(settings, folder, table=table, **options)


def test_numbers_are_those_of_the_test_split(small: Any) -> None:
    folder = small.train()
    found = read(small, folder)
    rows = split(small.table(), small.settings(*WORDS).data).rows["test"]
    raw = small.table()
    (target,) = found.targets
    assert (found.split, found.num_rows, found.of, found.step) == ("test", 44, "test rows", 12)
    assert target.name == "progression" and target.is_number
    np.testing.assert_array_equal(target.true, raw.target[rows])
    np.testing.assert_array_equal(found.columns["bmi"], raw.columns["bmi"][rows])
    assert found.places[3] == str(raw.first_line + rows[3]) and len(found.places) == 44
    recorded = folder.read_run()["metrics"]
    assert found.metrics["mae"] == pytest.approx(recorded["test/mae"], rel=1e-6)
    assert np.abs(target.predicted - target.true).mean() == pytest.approx(recorded["test/mae"], rel=1e-5)
    assert not isinstance(found.importance, str) and found.importance.metric == "loss"
    assert found.worst_images == [] and found.notes == ()


def test_classes_have_probabilities_and_images(small: Any) -> None:
    folder = small.train(*DIGITS)
    found = read(small, folder, *DIGITS)
    (target,) = found.targets
    rows = split(small.table(*DIGITS), small.settings(*WORDS, *DIGITS).data).rows["test"]
    assert target.classes == tuple("0123456789") and target.predicted.shape == (len(rows), 10)
    np.testing.assert_allclose(target.predicted.sum(axis=1), 1)
    assert [target.classes[k] for k in target.true] == small.table(*DIGITS).target[rows].tolist()
    assert 1 - target.sizes.mean() == pytest.approx(found.metrics["accuracy"], rel=1e-6)
    assert [picture.row for picture in found.worst_images] == target.worst(12).tolist()
    assert len(found.random_images) == 12
    assert not {picture.row for picture in found.random_images} & {picture.row for picture in found.worst_images}
    assert Image.open(io.BytesIO(found.worst_images[0].png)).size == (8, 8)
    assert found.columns == {} and found.importance == "The data has a single column."


def test_validation_rows_stand_in_for_test_rows(small: Any) -> None:
    words = ["data.test_split=0"]
    found = read(small, small.train(*words), *words)
    assert (found.split, found.num_rows, found.of) == ("val", 44, "validation rows")
    assert len(found.targets[0].true) == 44


def test_neither_test_nor_validation_rows(small: Any) -> None:
    words = ["data.test_split=0", "data.validation_split=0", "checkpoint.monitor=train/loss"]
    with pytest.raises(DataError, match="neither test rows nor validation rows"):
        read(small, small.train(*words), *words)


def test_all_rows_of_other_data(small: Any) -> None:
    folder = small.train()
    found = read(small, folder, other_data=True, table=small.table().select(np.arange(100)))
    assert (found.split, found.num_rows, found.of) == ("all", 100, "rows")


def test_rows_that_have_changed(small: Any) -> None:
    folder = small.train()
    table = small.table()
    table.columns["bmi"][0] += 1
    with pytest.raises(DataError, match="contents have changed"):
        read(small, folder, table=table)


def test_a_run_without_a_checkpoint(small: Any) -> None:
    folder = small.train()
    for path in folder.checkpoints.glob("*/*"):
        path.unlink()
    for path in folder.checkpoints.glob("*"):
        path.rmdir()
    with pytest.raises(CheckpointError, match="no checkpoint"):
        read(small, folder)


def test_many_rows_are_a_selection(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluated_rows, "MAX_ROWS", 10)
    found = read(small, small.train())
    assert found.num_rows == 44 and len(found.targets[0].true) == len(found.columns["bmi"]) == 10
    assert found.notes == ("The charts and tables show 10 of 44 rows, chosen at random; the metrics are of all.",)


def test_an_algorithm_without_the_target(small: Any) -> None:
    words = ["data=digits", "model=autoencoder", "algorithm=reconstruct", "metric=null", "data.limit_rows=352"]
    folder = small.train(*words)
    found = read(small, folder, *words)
    assert found.targets == () and found.metrics["loss"] > 0
    assert found.notes[0].startswith("The run's algorithm doesn't learn the target of the data")


def test_a_run_that_keeps_no_rows_shows_none(small: Any) -> None:
    words = [*DIGITS, "data.keep_samples=false"]
    found = read(small, small.train(*words), *words)
    assert not found.shows_rows and found.worst_images == found.random_images == []
    assert found.notes == ("Single rows are left out, since the run has data.keep_samples=false.",)


def test_forecasts_of_windows(small: Any, tmp_path: Path) -> None:
    """seasonal_naive repeats the last row; a series that grows by 1 is then off by 1, 2 and 3."""
    (tmp_path / "series.csv").write_text("\n".join(["y", *map(str, range(200))]) + "\n")
    words = ["data=csv", f"data.path={tmp_path / 'series.csv'}", "data.target=y", "data.window={length: 4, horizon: 3}"]
    pieces = small.pieces(*words, "model=seasonal_naive", "model.period=1", "optimizer=adam")
    rows = pieces.examples.splits["test"]
    (found,) = evaluated_rows.forecasts_of(pieces, rows)
    assert found.name == "y" and found.num_windows == len(rows)
    np.testing.assert_allclose(found.errors, [1, 2, 3], atol=1e-3)
    assert found.history.shape == (4, 4) and found.true.shape == found.predicted.shape == (4, 3)
    np.testing.assert_allclose(found.true[:, 0], found.history[:, -1] + 1, atol=1e-3)
    np.testing.assert_allclose(found.predicted, found.history[:, -1:].repeat(3, axis=1), atol=1e-3)
