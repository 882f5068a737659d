"""Runs exported by the command, each export checked in a new process."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from pyarrow import parquet
from sklearn.datasets import load_diabetes

from tfrun import cli
from tfrun.config.column_kinds import BooleanKind, ColumnKind, ImageKind, NumberKind
from tfrun.data.encode import encode
from tfrun.data.kinds import RawColumn, fit_column
from tfrun.data.preprocessing import Preprocessing
from tfrun.data.table import Table
from tfrun.data.targets import FittedTarget
from tfrun.engine.inference import export
from tfrun.engine.verify import checks, data_contracts
from tfrun.engine.verify.findings import Finding

pytestmark = pytest.mark.usefixtures("warm_checks")  # which tests/engine/verify/test_findings.py starts cold

TRAIN = ["trainer.compile=graph", "trainer.deterministic=false", "trainer.max_epochs=2"]
LONG = ["trainer.max_epochs=60", "data.batch_size=16", "optimizer=adam", "optimizer.learning_rate=0.01"]
DIGITS = ["data=digits", "metric=[accuracy]", "loss=sparse_categorical_crossentropy"]


def trained(root: Path, *words: str) -> Path:
    assert cli.main([*words, *TRAIN, f"output_root={root}"]) == 0
    (run,) = root.glob("outputs/*/*")
    return run


@pytest.fixture(scope="module")
def regression(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default run, which tests may add files to."""
    return trained(tmp_path_factory.mktemp("regression"))


def test_a_format_that_can_not_hold_the_model_is_refused(regression: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["export", str(regression), "format=savedmodel"]) == 2
    assert "Did you mean 'saved_model'" in capsys.readouterr().err
    assert cli.main(["export", str(regression)]) == 2
    assert cli.main(["export", str(regression), "format=keras", "seed=3"]) == 2
    assert cli.main(["export", str(regression), "format=onnx"]) == 2
    assert not (regression / "export").exists()


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


@pytest.mark.parametrize(
    ("words", "formats"),
    [
        ([*DIGITS, "model=cnn", "model.filters=[4]"], ["keras"]),
        (  # a class with a metric of its own
            ["model=reconstructing_regressor", "model.activation=softplus", "trainer.precision=mixed_bfloat16"],
            ["keras", "saved_model"],
        ),
    ],
    ids=["array", "subclassed"],
)
def test_models_are_exported(
    words: list[str], formats: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained(tmp_path, *words)
    for format in formats:
        assert cli.main(["export", str(run), f"format={format}"]) == 0
        assert "predictions at most" in capsys.readouterr().out
    assert (run / "export" / "model.keras").is_file()


def test_predictions_that_differ_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trained(tmp_path, *DIGITS, "model=linear")
    right = export.predictions

    def wrong(*args: Any, **options: Any) -> dict[str, Any]:
        return {name: 1.01 * values for name, values in right(*args, **options).items()}

    monkeypatch.setattr(export, "predictions", wrong)
    assert cli.main(["export", str(run), "format=keras"]) == 2


def write_reviews(path: Path) -> list[str]:
    """Rows whose class is whether `good` is among their words; the other columns say nothing."""
    random = np.random.default_rng(0)
    words = np.array(["good", "bad", "big", "red", "old", "new"])
    lines = ["words,size,city,sold"]
    for _ in range(400):
        chosen = random.choice(words, random.integers(0, 6))
        city, size = random.choice(["Aix", "Ulm", ""]), random.normal()
        lines.append(f"{' '.join(chosen)},{size:.3f},{city},{'yes' if 'good' in chosen else 'no'}")
    path.write_text("\n".join(lines) + "\n")
    text = "data.text={words: {name: tokens, length: 8}, city: {name: hash, bins: 7}}"
    return ["data=csv", f"data.path={path}", "data.target=sold", text, "metric=[accuracy]", "loss=binary_crossentropy"]


@pytest.fixture(scope="module")
def of_reviews(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Returns the run of a model that has learnt from reviews.csv; each is trained once."""
    root = tmp_path_factory.mktemp("reviews")
    words = write_reviews(root / "reviews.csv")

    @functools.cache
    def run(model: str) -> Path:
        return trained(root / model, *words, f"model={model}", *LONG)

    return run


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


def test_a_sequence_of_words_is_exported(tmp_path: Path) -> None:
    *words, metric, loss = write_reviews(tmp_path / "reviews.csv")
    words[-1] = "data.text={words: tokens}"
    lines = [line.split(",") for line in (tmp_path / "reviews.csv").read_text().splitlines()]
    (tmp_path / "reviews.csv").write_text("".join(f"{line[0]},{line[3]}\n" for line in lines))
    run = trained(tmp_path, *words, metric, loss, "model=sequence", *LONG)
    assert json.loads((run / "run.json").read_text())["metrics"]["test/accuracy"] > 0.9
    assert cli.main(["export", str(run), "format=keras"]) == 0


def test_check_says_whether_a_format_can_hold_the_model(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checks, "_trace_step", lambda pieces: None)  # `test_checks.py` does both
    monkeypatch.setattr(data_contracts, "check_saved", lambda model, inputs, *, outputs: Finding("saved", True))
    assert cli.main(["check", "model=autoencoder", *DIGITS[:1], "algorithm=reconstruct", "loss=mse", "metric=none",
                     "format=saved_model"]) == 0  # fmt: skip
    assert "saved_model holds this model" in capsys.readouterr().out
    assert cli.main(["check", "model=linear", "format=litert"]) == 2
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
    rows = export.raw_rows(table.columns, fitted)
    encoded, _ = encode(table, fitted)
    expected = export.predictions(model(encoded), fitted)
    export.check_format(format, fitted)
    path = export.write(export.portable(model, fitted), format, folder=tmp_path)
    assert export.check(path, format, rows=rows, expected=expected, sizes={"output": 2.0}) < 1e-5


def test_several_targets_of_different_tasks_are_exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
    run = trained(tmp_path, *words, *LONG, "trainer.precision=mixed_bfloat16")
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
