"""The first lines of a run."""

from __future__ import annotations

from typing import Any

from tfrun.engine.recording.introduction import introduce

ENGINE = {"devices": "CPU:0", "mode": "graph_loop"}


def test_the_data_the_loss_and_the_model_are_told(small: Any) -> None:
    pieces = small.pieces("data.limit_rows=100")
    assert list(introduce(pieces, ENGINE)) == [
        "data        scikit-learn's diabetes, 442 rows: 100 train, 44 val, 44 test; split: random",
        "numbers     age, bmi, bp, s1, s2, s3, s4, s5, s6",
        "categories  sex (2)",
        "target      progression, numbers",
        "loss        huber; metrics mae, rmse",
        f"model       linear, {pieces.parts.model.count_params():,} parameters; CPU:0, graph_loop",
    ]


def test_the_classes_have_their_shares_and_long_lists_end(small: Any) -> None:
    words = ["data=digits", "model=cnn", "loss=sparse_categorical_crossentropy", "metric=accuracy"]
    lines = list(introduce(small.pieces(*words), ENGINE))
    assert lines[1] == "arrays      image"
    assert lines[2].startswith("target      digit, 10 classes: 3 10 %, ")
    assert lines[2].endswith(" %, and 2 more")
