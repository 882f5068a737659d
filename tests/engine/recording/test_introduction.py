"""The first lines of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tfrun.engine.recording.introduction import introduce

ENGINE = {"devices": "CPU:0", "mode": "graph_loop"}


def test_the_data_the_loss_and_the_model_are_told(small: Any) -> None:
    pieces = small.pieces("data.limit_rows=100")
    assert list(introduce(pieces, ENGINE)) == [
        "data        scikit-learn's diabetes, 442 rows: 100 train, 44 val, 44 test",
        "split       random",
        "numbers     age, bmi, bp, s1, s2, s3, s4, s5, s6",
        "categories  sex (2)",
        "target      progression, numbers",
        "loss        huber; metrics mae, rmse",
        f"model       linear, {pieces.parts.model.count_params():,} parameters; CPU:0, graph_loop",
    ]


def test_rows_that_come_split_and_windows_are_said(small: Any, tmp_path: Path) -> None:
    for name, count in (("train", 60), ("val", 20), ("test", 20)):
        lines = "".join(f"{k % 10},{k}\n" for k in range(count))
        (tmp_path / f"{name}.csv").write_text(f"x,y\n{lines}")
    words = ["data=csv", f"data.path={tmp_path}/train.csv", "data.target=y", f"data.test_path={tmp_path}/test.csv"]
    one, split, *_ = introduce(small.pieces(*words), ENGINE)
    assert one.endswith("80 rows: 54 train, 6 val, 20 test") and split == "split       random, test as given"
    both, split, *_ = introduce(small.pieces(*words, f"data.validation_path={tmp_path}/val.csv"), ENGINE)
    assert both.endswith("100 rows: 60 train, 20 val, 20 test") and split == "split       val and test as given"
    # 80 % of 60 rows are 48: windows of 4 + 2 rows begin in 43 of them
    windows, split, *_ = introduce(small.pieces(*words[:3], "data.window={length: 4, horizon: 2}"), ENGINE)
    assert windows.endswith("60 rows: 43 train, 5 val, 5 test windows") and split == "split       time of each series"


def test_the_classes_have_their_shares_and_long_lists_end(small: Any) -> None:
    words = ["data=digits", "model=cnn", "loss=sparse_categorical_crossentropy", "metric=accuracy"]
    lines = list(introduce(small.pieces(*words), ENGINE))
    assert lines[1:3] == ["split       stratified", "arrays      image"]
    assert lines[3].startswith("target      digit, 10 classes: 3 10 %, ")
    assert lines[3].endswith(" %, and 2 more")
