"""Predictions of trained runs, from raw rows to a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_diabetes

from tfrun.data.pieces import Keep, Piece, cells_to_keep, cut
from tfrun.data.preprocessing import Preprocessing
from tfrun.data.table import Table
from tfrun.engine.inference import trained
from tfrun.engine.inference.predict import predict
from tfrun.errors import ConfigError, DataError
from tfrun.files.runs import RunFolder

WORDS = ["model=linear", "data.batch_size=64"]


def pieces_of(table: Table, num_rows: int = 1024, *, keep: Keep | None = None) -> Iterator[Piece]:
    return cut(table, cells_to_keep(table, keep or Keep())).read(num_rows)


def write(small: Any, folder: RunFolder, pieces: Iterator[Piece], *, out: Path, words: list[str] = WORDS) -> list[str]:
    """Returns the lines of the predictions."""
    fitted = Preprocessing.from_fields(folder.read_preprocessing())
    predict(small.settings(*words), folder, catalog=small.catalog, pieces=pieces, fitted=fitted, out=out)
    return out.read_text().splitlines()


def test_predictions_are_written(small: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = small.train("trainer.max_epochs=1"), tmp_path / "out.csv"
    capsys.readouterr()
    lines = write(small, folder, pieces_of(small.table()), out=out)
    assert lines[0] == '"progression"' and len(lines) == 1 + 442
    assert f"{out}: 442 rows of scikit-learn's diabetes, progression" in capsys.readouterr().out
    predicted = np.array([float(line) for line in lines[1:]])
    # the targets are whole numbers from 25 to 346, of a deviation of 77: one decimal, and 0.077 has two
    assert all(len(line.partition(".")[2]) == 2 for line in lines[1:])
    fitted = Preprocessing.from_fields(folder.read_preprocessing())
    trained.evaluate(
        small.settings(*WORDS), folder, catalog=small.catalog, table=small.table(), fitted=fitted, other_data=True
    )
    measured = [line.split()[1] for line in capsys.readouterr().out.splitlines() if line.startswith("test/mae")]
    errors = np.abs(predicted - load_diabetes(scaled=False).target)
    assert errors.mean() == pytest.approx(float(measured[0]), rel=1e-4)

    # piece by piece, with columns that are kept, and the same rows
    kept = write(small, folder, pieces_of(small.table(), 100, keep=Keep(("age", "sex"))), out=tmp_path / "kept.csv")
    assert kept[0] == '"age","sex","progression"'
    assert [line.rpartition(",")[2] for line in kept[1:]] == lines[1:]
    assert [float(line.partition(",")[0]) for line in kept[1:]] == load_diabetes(scaled=False).data[:, 0].tolist()
    assert "442 rows of scikit-learn's diabetes, age, sex, progression" in capsys.readouterr().out

    # a piece that can't be used leaves nothing, and an earlier file stays
    def broken() -> Iterator[Piece]:
        yield from pieces_of(small.table(), 100)
        raise DataError("rows.csv:443: no number")

    with pytest.raises(DataError, match="rows.csv:443"):
        write(small, folder, broken(), out=out)
    assert out.read_text().splitlines() == lines
    assert sorted(path.name for path in tmp_path.glob("*.csv*")) == ["kept.csv", "out.csv"]
    assert not list(tmp_path.glob(".out*"))


def test_another_number_of_targets_is_refused(small: Any, tmp_path: Path) -> None:
    folder = small.train("trainer.max_epochs=1")
    fitted = Preprocessing.from_fields(folder.read_preprocessing() | {"others": {"n": {"task": "regression"}}})
    rows, out = pieces_of(small.table()), tmp_path / "out.csv"
    with pytest.raises(ConfigError, match="data.target: the run has 2 targets. Received: "):
        predict(small.settings(*WORDS), folder, catalog=small.catalog, pieces=rows, fitted=fitted, out=out)


def test_the_spread_of_a_model_s_samples_is_written(small: Any, tmp_path: Path) -> None:
    words = ["model=mc_dropout", "model.hidden_units=[8]", "model.num_samples=3"]
    texts = []
    for name in ("first", "second"):  # of the same seed
        folder, out = small.train(*words, "trainer.max_epochs=1", f"name={name}"), tmp_path / f"{name}.csv"
        texts.append(write(small, folder, pieces_of(small.table()), out=out, words=words))
    lines = texts[0]
    assert lines[0] == '"progression","progression_std"' and len(lines) == 1 + 442
    spreads = [float(line.split(",")[1]) for line in lines[1:]]  # 0 where only inactive units are dropped
    assert min(spreads) >= 0 and np.mean(spreads) > 1
    assert texts[1] == texts[0]
