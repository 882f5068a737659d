"""Every format that can hold a model gives its predictions."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrun import cli
from tfrun.config.column_kinds import BooleanKind, ColumnKind, ImageKind, NumberKind
from tfrun.data.encode import encode
from tfrun.data.examples import prepare_evaluation
from tfrun.data.kinds import RawColumn, TokensColumn, fit_column
from tfrun.data.preprocessing import Preprocessing
from tfrun.data.table import Table
from tfrun.data.targets import FittedTarget
from tfrun.engine.building import devices
from tfrun.engine.inference.ensemble import averaged
from tfrun.engine.inference.exporting import clean_process, formats, ids, javascript
from tfrun.engine.inference.exporting.format import ExportError
from tfrun.engine.inference.exporting.portable import portable, raw_rows
from tfrun.engine.inference.outputs import outputs_of, predictions_of, sizes
from tfrun.engine.verify import checks, data_contracts
from tfrun.engine.verify.findings import Finding
from tfrun.errors import ConfigError, ResourceError
from tfrun.files.presets import TokenizerFacts

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


MORE = ["city", "street", "note", "hashed", "flag", "size", "day", "far", "kind"]  # beside numbers


def columns(*names: str) -> str:
    """Returns the option that leaves out all columns but numbers, the target and the given ones."""
    return f"data.exclude=[{','.join(name for name in MORE if name not in names)}]"


LINEAR = ("model=linear", "data.target=y")
HASH = "data.kinds={street: {name: hashed, bins: 8}}"
WORDS = "data.kinds={note: {name: tokens, length: 3}}"
HASHED_WORDS = "data.kinds={hashed: {name: tokens, bins: 9, length: 3}}"
ORDER = "data.kinds={size: {name: ordered, values: [low, mid, high]}}"
SMALL = ("model.hidden_units=[2]", "model.task_units=[2]")
BOTH = ("loss=per_output", "loss.losses={output: huber, kind: sparse_categorical_crossentropy}", "metric=none")
FEATURES: dict[str, tuple[str, ...]] = {  # a row of the table in docs/export.md -> a model that needs it
    "numbers": (*LINEAR, columns()),
    "arrays, images among them": (*DIGITS[:1], "loss=sparse_categorical_crossentropy", "metric=none", "model=linear"),
    "categories, ordered texts": (*LINEAR, columns("city", "size"), ORDER),
    "yes or no as texts": (*LINEAR, columns("flag"), "data.kinds={flag: boolean}"),
    "hashed texts": ("model=wide_deep", "data.target=y", columns("street"), HASH),
    "words": ("model=wide_deep", "data.target=y", columns("note"), WORDS),
    "hashed words": ("model=wide_deep", "data.target=y", columns("hashed"), HASHED_WORDS),
    "dates": (*LINEAR, columns("day")),
    "several targets": ("model=multi_task", "data.target=[y,kind]", columns("kind"), *SMALL, *BOTH),
    "numbers far from 0": (*LINEAR, columns("far")),
    "`trainer.precision=float64`": (*LINEAR, columns(), "trainer.precision=float64"),
    "half precision": ("model=mlp", "data.target=y", columns("city"), "trainer.precision=mixed_bfloat16"),
    "recurrent layers": (*DIGITS[:1], "loss=sparse_categorical_crossentropy", "metric=none", "model=sequence",
                         "model.units=3"),
    "other loops": ("model=fixed_point", "model.units=3", "data.target=y", columns()),
    "windows of a series": (*LINEAR, columns(), "data.window={length: 6, horizon: 2}", "data.batch_size=8"),
}  # fmt: skip


def test_a_word_that_is_repeated_counts_as_often(untrained: Any, checks_here: None, tmp_path: Path, root: Path) -> None:
    """Of a model whose inputs are counts of words; some converters let ScatterNd keep one of two."""
    model = untrained("model=linear", "data.target=y", columns("note"), WORDS)
    for format in formats.FORMATS:
        if documented(root)["words", format]:
            assert model.export(format, tmp_path) <= 1e-4 * max(sizes(model.expected, model.fitted).values())


@pytest.mark.parametrize("error", [errno.ENOSPC, None])
def test_a_full_disk_is_no_fault_of_the_model(
    error: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorFlow and OpenVINO write with errors of their own, the latter's without the reason."""

    def allocate(descriptor: int, start: int, size: int) -> None:
        assert (start, size) == (0, 2**20)
        if error is not None:
            raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "posix_fallocate", allocate)
    expected = ExportError if error is None else ResourceError
    with pytest.raises(expected) as refused, formats.converting(tmp_path / "openvino", "openvino"):
        raise RuntimeError("basic_ios::clear: iostream error")
    assert ("No space left on device" in str(refused.value)) == (error is not None)
    error_of_disk = pytest.raises(ResourceError, match=r"/saved_model: can't be written: No space left on device$")
    with error_of_disk, formats.converting(tmp_path / "saved_model", "saved_model"):
        raise tf.errors.ResourceExhaustedError(None, None, f"{tmp_path}/x; No space left on device [Op:SaveV2]")
    assert list(tmp_path.iterdir()) == []


class AddsUp(keras.layers.Layer):
    """Adds up all values of a row in one place of two."""

    def call(self, x: Any) -> Any:
        rows = keras.ops.broadcast_to(keras.ops.arange(keras.ops.shape(x)[0])[:, None], keras.ops.shape(x))
        places = keras.ops.stack([rows, keras.ops.ones_like(rows)], axis=-1)
        return tf.scatter_nd(places, x, [keras.ops.shape(x)[0], 2])

    def compute_output_shape(self, shape: Any) -> Any:
        return (shape[0], 2)


@pytest.mark.parametrize("format", ["onnx", "openvino", "tfjs", "litert"])
def test_scattered_values_are_added_up(format: str, checks_here: None, tmp_path: Path) -> None:
    for module in formats.FORMATS[format].modules:
        pytest.importorskip(module, reason=f"the extra {format} isn't installed")
    inputs = keras.Input((3,), name="x")
    fitted = Preprocessing(columns=(), targets={"output": FittedTarget("regression")})
    rows = {"x": np.array([[1.0, 2.0, 4.0], [0.5, 0.0, 0.0]], "float32")}
    compared: dict[str, Any] = {"rows": rows, "expected": {"output": np.array([[0.0, 7.0], [0.0, 0.5]])}, "text": {}}
    model = keras.Model({"x": inputs}, AddsUp()(inputs))
    assert formats.write_checked(model, format, folder=tmp_path, preprocessing=fitted, **compared) < 1e-6


@pytest.fixture
def checks_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the code of a check run in this process, which spares many imports; others test that a clean one does.

    There is no JavaScript: `test_tfjs.py` runs there what is held.
    """

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        code, *arguments = command[2:]
        monkeypatch.setattr(sys, "argv", ["-c", *arguments])
        exec(code.replace("if True:\n    assert not any(", "if False:\n    assert not any("), {})
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(clean_process, "subprocess", SimpleNamespace(run=run))
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setitem(sys.modules, "keras", keras)  # which the check of `serving` takes away
    monkeypatch.setattr(javascript, "find", lambda folder: None)


@contextlib.contextmanager
def precision(name: str) -> Iterator[None]:
    """Lets the models of other runs, which may be made already, be exported in their precision."""
    devices.set_precision(name)
    try:
        yield
    finally:
        devices.set_precision("float32")


def documented(root: Path) -> dict[tuple[str, str], bool]:
    """Returns which format holds what, by row and column of the table in docs/export.md."""
    lines = (root / "docs" / "export.md").read_text().splitlines()
    start = next(k for k, line in enumerate(lines) if line.startswith("| holds |"))
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[start:]]
    names = [name.strip("`") for name in rows[0][1:]]
    end = next(k for k, row in enumerate(rows) if len(row) == 1)
    marks = {"yes": True, "no": False}
    return {(row[0], name): marks[cell] for row in rows[2:end] for name, cell in zip(names, row[1:], strict=True)}


@pytest.mark.parametrize("format", formats.FORMATS)
@pytest.mark.parametrize("feature", FEATURES)
def test_what_the_documented_table_says_is_true(
    feature: str, format: str, root: Path, untrained: Any, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if feature != "other loops":  # the functions of TensorFlow's loops can't be read back beside themselves
        request.getfixturevalue("checks_here")
    for module in formats.FORMATS[format].modules:
        pytest.importorskip(module, reason=f"the extra {format} isn't installed")
    words = dict(word.split("=", 1) for word in FEATURES[feature])
    with precision(words.get("trainer.precision", "float32")):
        model = untrained(*FEATURES[feature])
        if documented(root)[feature, format]:
            assert model.export(format, tmp_path) <= 1e-4 * max(sizes(model.expected, model.fitted).values())
        else:
            with pytest.raises(ConfigError, match=rf"^format={format}: ") as refused:
                model.export(format, tmp_path)
            assert "\n" not in str(refused.value) and "Use saved_model" in str(refused.value)


def test_the_documented_table_has_all_formats_and_rows(root: Path) -> None:
    rows = [*FEATURES, "tokens of presets", "ensembles"]
    assert list(documented(root)) == [(row, format) for row in rows for format in formats.FORMATS]


@pytest.mark.parametrize("format", formats.FORMATS)
def test_tokens_of_presets_are_held_as_documented(format: str, root: Path) -> None:
    """`tests/end_to_end/test_init.py` exports such a column as a SavedModel and as a Keras file."""
    facts = TokenizerFacts("preset", 10, "")
    column = TokensColumn("words", (), 4, tokenizer=facts)
    fitted = Preprocessing(columns=(column,), targets={"output": FittedTarget("regression")})
    for module in formats.FORMATS[format].modules:
        pytest.importorskip(module, reason=f"the extra {format} isn't installed")
    with contextlib.nullcontext() if documented(root)["tokens of presets", format] else pytest.raises(ConfigError):
        formats.check_format(format, fitted)


@pytest.mark.parametrize("format", formats.FORMATS)
def test_ensembles_are_held_as_documented(
    format: str, root: Path, untrained: Any, checks_here: None, tmp_path: Path
) -> None:
    """Two models that number the same texts in different ways, and one lacks some of them."""
    for module in formats.FORMATS[format].modules:
        pytest.importorskip(module, reason=f"the extra {format} isn't installed")
    held = documented(root)
    assert held["ensembles", format]
    texts = ["city", "size"] if held["categories, ordered texts", format] else []
    words = ["note"] if held["words", format] else []
    kinds = "data.kinds={size: {name: ordered, values: [low, mid, high]}, note: {name: tokens, length: 3}}"
    chosen = ("model=wide_deep", "data.target=y", columns(*texts, *words), *([kinds] if texts and words else []))
    one, other = untrained(*chosen), untrained(*chosen, "data.limit_rows=20", "data.split_seed=3")
    table = Table(dict(one.columns), np.zeros(len(one.expected["output"])), "y", "regression", "rows")
    inputs = prepare_evaluation(table, other.fitted).inputs
    of_other = predictions_of(outputs_of(other.model, inputs, as_graph=True), other.fitted)
    models = [
        portable(member.model, member.fitted, of_ids=formats.is_of_ids(format), name=f"member_{k}")
        for k, member in enumerate((one, other))
    ]
    text = None
    if formats.is_of_ids(format):
        models, text = ids.of_shared_ids(models, [ids.encodings(member.fitted) for member in (one, other)])
    expected = {"output": (one.expected["output"] + of_other["output"]) / 2}
    compared: dict[str, Any] = {"rows": one.rows, "expected": expected, "text": text}
    off = formats.write_checked(averaged(models), format, folder=tmp_path, preprocessing=one.fitted, **compared)
    assert off < 1e-4
