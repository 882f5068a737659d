"""Any header that a CSV can hold trains, predicts, exports and loads under its own name."""

from __future__ import annotations

import csv
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from pyarrow import parquet

from tfrun import cli
from tfrun.engine.inference.exporting import clean_process
from tfrun.engine.inference.exporting.names import tensor_names

pytestmark = pytest.mark.usefixtures("warm_checks")  # which tests/engine/verify/test_findings.py starts cold

NUMBERS = [
    "a b", "a_b", "a-b", "a/b", "a:b", "a.b", "größe", "GRÖSSE", "_id", "-x", ".x", "1st", "A", "a", "class", "self",
    "None", "output", "inputs", "training", "serve", "portable", "concatenate", "日本", 'q"uo\'te', "br[1]{2}(3)",
    "100%", "new\nline", "x" * 300, "x" * 299 + "y", "a, b", "$HOME", "\\", "t", "default",
    "constructor", "toString", "__proto__",
]  # fmt: skip
TARGETS = ["y 1", "y_1", "output", "größe/y", "-y", "y", "shared_1"]


def write(path: Path, names: list[str], rows: int = 60) -> None:
    random = np.random.default_rng(0)
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        for _ in range(rows):
            words = [f"w{k % 5} w{k % 3}" if name in ("numbers", "categories") else "" for k, name in enumerate(names)]
            writer.writerow([word or round(random.normal(), 3) for word in words])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Returns a function that trains on columns of the given names, in a folder of its own."""

    def train(names: list[str], *words: str) -> Path:
        folder = tmp_path_factory.mktemp("names")
        write(folder / "rows.csv", names)
        words = (*words, "trainer.compile=graph", "trainer.deterministic=false", "trainer.max_epochs=1")
        assert cli.main(["data=csv", f"data.path={folder}/rows.csv", *words, f"output_root={folder}"]) == 0
        (run,) = folder.glob("outputs/*/*")
        return run

    return train


@pytest.fixture(scope="module")
def run(trained: Callable[..., Path]) -> Path:
    """Returns a run on numbers alone."""
    return trained([*NUMBERS, "y"], "data.target=y", "model=linear")


def test_names_that_tensorflow_accepts_are_kept_and_all_differ() -> None:
    names = tensor_names(["a", "A", "a b", "a_b", "a.b", "_id", "class", "rooms", "1st", ".x"])
    assert list(names) == ["a", "A", "a b", "a_b", "a.b", "_id", "class", "rooms", "1st", ".x"]
    assert {name for name in names if names[name] == name} == {"a", "a_b", "rooms", "1st", ".x"}
    assert names["A"] == "A_2" and names["_id"] == "column_id" and names["class"] == "class_"
    assert len({name.lower() for name in tensor_names(NUMBERS).values()}) == len(NUMBERS)


def serve_saved_model(path: Path, rows: dict[str, Any]) -> Any:
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((path / "saved_model" / "saved_model.pb").read_bytes())
    assert set(saved.meta_graphs[0].signature_def["serving_default"].inputs) == set(NUMBERS)  # as a server reads them
    loaded = tf.saved_model.load(str(path / "saved_model"))
    return loaded.serve(rows)


def serve_litert(path: Path, rows: dict[str, Any]) -> Any:
    interpreter = importlib.import_module("ai_edge_litert.interpreter")
    runner = interpreter.Interpreter(model_path=str(path / "model.tflite")).get_signature_runner()
    rows["self_"] = rows.pop("self")  # a parameter of the runner itself
    return next(iter(runner(**rows).values()))


def serve_onnx(path: Path, rows: dict[str, Any]) -> Any:
    session = importlib.import_module("onnxruntime").InferenceSession(str(path / "model.onnx"))
    return session.run(None, {f"{name}:0": values for name, values in rows.items()})[0]


@pytest.mark.parametrize(
    ("format", "module", "serve"),
    [
        ("saved_model", None, serve_saved_model),
        ("keras", None, None),  # the clean process of the command has loaded it
        ("litert", "ai_edge_litert", serve_litert),
        ("onnx", "tf2onnx", serve_onnx),
    ],
)
def test_columns_of_any_name_are_exported(format: str, module: str | None, serve: Any, run: Path) -> None:
    if module:
        pytest.importorskip(module, reason=f"the extra {format} isn't installed")
    assert cli.main(["export", str(run), f"format={format}"]) == 0
    if serve is None:
        return
    with open(run.parents[2] / "rows.csv", newline="") as file:
        rows = list(csv.DictReader(file))[:3]
    arrays = {name: np.array([[float(row[name])] for row in rows], "float32") for name in NUMBERS}
    out = run.parents[2] / f"{format}.parquet"  # with all digits
    assert cli.main(["predict", str(run), f"out={out}"]) == 0
    predicted = parquet.read_table(out).column(0).to_numpy()[:3]
    np.testing.assert_allclose(np.asarray(serve(run / "export", arrays))[:, 0], predicted, rtol=1e-4, atol=1e-5)


def test_columns_of_words_may_have_the_names_of_inputs(trained: Callable[..., Path]) -> None:
    text = "data.text={numbers: {name: tokens, length: 3}, categories: {name: tokens, length: 3}}"
    run = trained(["numbers", "categories", "numbers_", "y"], "data.target=y", "model=wide_deep", text)
    assert cli.main(["predict", str(run), f"out={run.parents[2]}/out.csv"]) == 0
    assert cli.main(["export", str(run), "format=saved_model"]) == 0


def test_targets_of_any_name_are_exported(trained: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    targets = ",".join(f"'{name}'" for name in TARGETS)
    small = ("model.hidden_units=[2]", "model.task_units=[2]", "metric=mae", "loss=mse")
    run = trained(["x", *TARGETS], f"data.target=[{targets}]", "model=multi_task", *small)
    assert cli.main(["predict", str(run), f"out={run.parents[2]}/out.csv"]) == 0
    with open(run.parents[2] / "out.csv", newline="") as file:
        assert next(csv.reader(file)) == TARGETS
    monkeypatch.setattr(
        clean_process, "largest_difference", lambda *_, **__: 0.0
    )  # a process of its own: the model is loaded below
    assert cli.main(["export", str(run), "format=saved_model"]) == 0
    loaded = tf.saved_model.load(str(run / "export" / "saved_model"))
    outputs = loaded.serve({"x": tf.zeros([1, 1])})
    assert set(outputs) == {"output", "y_1", "output_", "größe/y", "-y", "y", "shared_1"}  # the first is the main one
