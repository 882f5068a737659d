"""What the job of a fold predicts for the rows that it wasn't trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import parquet

from tfrun.data.splitting.split import split

WORDS = ("trainer.max_epochs=1", "data.folds=4", "data.folds_repeats=2", "metric=mae")


def test_the_file_has_the_rows_of_the_fold_and_what_was_measured_on_them(small: Any) -> None:
    folder = small.train(*WORDS, "data.fold=6")
    table = parquet.read_table(folder.out_of_fold)
    assert table.column_names == ["repeat", "fold", "row", "progression", "predicted_progression"]
    assert (set(table["repeat"].to_pylist()), set(table["fold"].to_pylist())) == ({1}, {2})
    raw = small.table()
    held_out = split(raw, small.settings("model=linear", *WORDS, "data.fold=6").data).rows["val"]
    assert table["row"].to_pylist() == sorted(held_out.tolist())
    actual, predicted = (table[name].to_numpy() for name in ("progression", "predicted_progression"))
    assert actual.tolist() == raw.target[np.sort(held_out)].tolist()
    assert np.abs(actual - predicted).mean() == pytest.approx(folder.read_run()["best"]["val/mae"], rel=1e-5)


def test_rows_keep_their_numbers_in_the_file_and_no_target_takes_their_name(small: Any, tmp_path: Path) -> None:
    lines = [f"{k},{'' if k % 5 == 0 else k},{-k}" for k in range(20)]
    (tmp_path / "rows.csv").write_text("\n".join(["x,row,row_", *lines]))
    data = ("data=csv", f"data.path={tmp_path}/rows.csv", "data.target=[row,row_]", "data.missing_target=drop")
    words = ("model=multi_task", "data.test_split=0", "data.folds=2", "data.fold=1", "trainer.max_epochs=1")
    table = parquet.read_table(small.train(*data, *words).out_of_fold)
    assert table.column_names == ["repeat", "fold", "row__", "row", "row_", "predicted_row", "predicted_row_"]
    numbers = table["row__"].to_pylist()
    assert len(numbers) == 8 and max(numbers) > 15
    assert table["row"].to_pylist() == numbers  # as each row of the file has its number as its target
    assert table["row_"].to_pylist() == [-number for number in numbers]


def test_a_run_without_folds_has_no_such_file(small: Any) -> None:
    assert not small.train("trainer.max_epochs=1").out_of_fold.exists()
