"""SavedModels take raw rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from pyarrow import parquet
from sklearn.datasets import load_diabetes

from tfrun import cli

pytestmark = pytest.mark.usefixtures("warm_checks")  # which tests/engine/verify/test_findings.py starts cold

LONG = ["trainer.max_epochs=60", "data.batch_size=16", "optimizer=adam", "optimizer.learning_rate=0.01"]


def test_a_table_with_numbers_and_text_is_exported(
    regression: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its export also gives the predictions of `predict`."""
    run = regression
    capsys.readouterr()
    assert cli.main(["export", str(run), "format=saved_model"]) == 0
    said = capsys.readouterr().out
    assert "checked in a clean process: 64 stored rows of " in said
    assert 'sex: string (batch, 1), "" for empty' in said
    model = tf.saved_model.load(str(run / "export" / "saved_model"))
    row: dict[str, Any] = {name: [[np.nan]] for name in ("age", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6")}
    outputs = model.serve(
        {name: tf.constant(value, tf.float32) for name, value in row.items()} | {"sex": tf.constant([["?"]])}
    )
    assert 0 < float(outputs[0, 0]) < 350  # in the unit of the target, although values are empty or unseen

    out = tmp_path / "predictions.parquet"
    assert cli.main(["predict", str(run), f"out={out}"]) == 0
    data = load_diabetes(scaled=False)
    rows: dict[str, Any] = {
        name: tf.constant(data.data[:, k : k + 1], tf.float32) for k, name in enumerate(data.feature_names)
    }
    rows["sex"] = tf.constant([[str(int(value))] for value in data.data[:, 1]])
    predictions = parquet.read_table(out)
    assert predictions.column_names == ["progression"]
    np.testing.assert_allclose(predictions["progression"].to_numpy(), model.serve(rows)[:, 0], rtol=1e-4)


@pytest.mark.parametrize("model", ["wide_deep", "deepfm", "mlp"])
def test_words_and_hashed_texts_are_exported(model: str, of_reviews: Callable[[str], Path]) -> None:
    run = of_reviews(model)
    assert json.loads((run / "run.json").read_text())["metrics"]["test/accuracy"] > 0.85
    assert cli.main(["export", str(run), "format=saved_model"]) == 0
    loaded = tf.saved_model.load(str(run / "export" / "saved_model"))
    row = {"size": tf.zeros([2, 1]), "city": tf.constant([["Ulm"], ["Nowhere"]])}
    p = loaded.serve({**row, "words": tf.constant([["red good new"], ["red bad new"]])})[:, 1]
    assert p[0] > 0.5 > p[1]
    assert cli.main(["evaluate", str(run), f"data.path={run.parents[3] / 'reviews.csv'}"]) == 0


def test_several_targets_of_different_tasks_are_exported(
    train_in: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(0)
    x, y = random.uniform(-1, 1, (2, 600))
    kinds = np.array(["low", "middle", "high"])[np.digitize(y, [-0.3, 0.3])]
    lines = [f"{a:.4f},{b:.4f},{500 + 300 * a:.2f},{k},{int(a > 0)}" for a, b, k in zip(x, y, kinds, strict=True)]
    path = tmp_path / "houses.csv"
    path.write_text("\n".join(["x,y,price,kind,sold", *lines]) + "\n")
    words = [
        "data=csv", f"data.path={path}", "data.target=[price,kind,sold]", "model=multi_task", "loss=per_output",
        "loss.losses={output: huber, kind: sparse_categorical_crossentropy, sold: binary_crossentropy}", "metric=mae",
        "+metric.kind={name: accuracy, output: kind}", "+metric.sold={name: accuracy, output: sold}",
        "metric.matrix={name: confusion_matrix, output: kind}",
    ]  # fmt: skip
    # in half precision a graph, which a SavedModel is, and single operations differ by 1 %
    run = train_in(tmp_path, *words, *LONG, "trainer.precision=mixed_bfloat16")
    metrics = json.loads((run / "run.json").read_text())["metrics"]
    assert metrics["test/mae"] < 15 and metrics["test/kind"] > 0.85 and metrics["test/sold"] > 0.95
    assert cli.main(["export", str(run), "format=saved_model"]) == 0
    loaded = tf.saved_model.load(str(run / "export" / "saved_model"))
    outputs = loaded.serve({"x": tf.constant([[0.8], [-0.8]]), "y": tf.constant([[0.0], [0.9]])})
    np.testing.assert_allclose(outputs["output"][:, 0], [740, 260], atol=30)
    classes = sorted(["low", "middle", "high"])
    assert [classes[k] for k in np.argmax(outputs["kind"], axis=1)] == ["middle", "high"]
    assert np.argmax(outputs["sold"], axis=1).tolist() == [1, 0]

    capsys.readouterr()
    for changes, message in (
        (["model=mlp"], "Use model=multi_task"),
        (["loss=huber"], "loss: of target 'kind': huber is for regression, and its target for classification"),
        (["metric.sold.output=kind_"], "Did you mean 'kind'?"),
        (["metric.kind.name=mae"], "metric.kind: mae is for regression"),
        (["data.target=[price,price]"], "several different ones"),
    ):
        others = [word for word in words if not (changes == ["loss=huber"] and word.startswith("loss"))]
        assert cli.main([*others, *changes, f"output_root={tmp_path / 'none'}"]) in (2, 3)
        assert message in capsys.readouterr().err


def test_rows_without_a_target_are_predicted(
    of_reviews: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = of_reviews("wide_deep")
    new = tmp_path / "new.csv"
    new.write_text("note,words,size,city\nfree text,good red,0.5,Ulm\nmore,bad,?,\n")
    assert cli.main(["predict", str(run), f"data.path={new}"]) == 0
    lines = (run / "predictions" / "new.csv").read_text().splitlines()
    assert lines[0] == '"sold","sold=no","sold=yes"'
    assert [line.split(",")[0] for line in lines[1:]] == ['"yes"', '"no"']
    assert sum(float(cell) for cell in lines[1].split(",")[1:]) == pytest.approx(1.0)
    capsys.readouterr()
    assert cli.main(["predict", str(run), f"data.path={new}", "out=new.txt"]) == 2
    new.write_text("words,size\ngood,1\n")
    assert cli.main(["predict", str(run), f"data.path={new}"]) == 3
    assert "data.path: the run learnt from a column that isn't in" in capsys.readouterr().err
