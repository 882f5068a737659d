"""The code of a card, line by line; `tests/end_to_end/test_model_card.py` runs it."""

from __future__ import annotations

import ast
from typing import Any

import numpy as np
import pytest

from tfrun.commands import export_code_tfjs
from tfrun.commands.export_code import loading_code, needed
from tfrun.config.column_kinds import (
    ArrayKind,
    BooleanKind,
    CategoryKind,
    ColumnKind,
    DateKind,
    HashedKind,
    NumberKind,
    OrderedKind,
    TokensKind,
)
from tfrun.data.kinds import RawColumn, fit_column
from tfrun.data.preprocessing import Preprocessing
from tfrun.data.targets import FittedTarget
from tfrun.data.windows import Window


def fitted(name: str, cells: Any, kind: ColumnKind, *, window: Window | None = None) -> Preprocessing:
    column = fit_column(RawColumn(name, np.array(cells), np.arange(len(cells)), "rows.csv"), kind)
    return Preprocessing(columns=(column,), targets={"output": FittedTarget("regression")}, window=window)


def code(of: Preprocessing, format: str = "saved_model", *, floatx: str = "float32", modules: Any = ()) -> list[str]:
    text = loading_code(format, of, floatx=floatx, modules=modules)
    ast.parse(text)
    return text.splitlines()


def texts(*cells: str) -> np.ndarray:
    return np.array(cells, object)


ROOMS = fitted('ro\'oms | "n"\n', [0.1, 0.2, 0.4], NumberKind())


@pytest.mark.parametrize(
    ("format", "expected"),
    [
        ("saved_model", ["import tensorflow as tf", "", "model = tf.saved_model.load('saved_model')",
                         "rows = {", """    'ro\\'oms | "n"\\n': tf.constant([[0.2]], 'float32'),""", "}",
                         "print(model.serve(rows))"]),
        ("serving", ["import tensorflow as tf", "", "model = tf.saved_model.load('serving')",
                     "rows = {", """    'ro\\'oms | "n"\\n': tf.constant([[0.2]], 'float32'),""", "}",
                     "print(model.serve(rows)['output'])"]),
        ("litert", ["import numpy as np", "from ai_edge_litert.interpreter import Interpreter", "",
                    "predict = Interpreter(model_path='model.tflite').get_signature_runner()", "rows = {",
                    """    'ro\\'oms | "n"\\n': np.array([[0.2]], 'float32'),""", "}",
                    "print(next(iter(predict(**rows).values())))"]),
        ("onnx", ["import numpy as np", "import onnxruntime", "",
                  "session = onnxruntime.InferenceSession('model.onnx')", "rows = {",
                  """    'ro\\'oms | "n"\\n:0': np.array([[0.2]], 'float32'),""", "}",
                  "print(session.run(None, rows)[0])"]),
        ("openvino", ["import numpy as np", "import openvino", "",
                      "model = openvino.Core().read_model('openvino/model.xml')",
                      "predict = openvino.compile_model(model, 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'})",
                      "rows = {", """    'ro\\'oms | "n"\\n': np.array([[0.2]], 'float32'),""", "}",
                      "print(predict(rows)['output'])"]),
        ("keras", ["import keras", "import tensorflow as tf", "import mine", "",
                   "model = keras.saving.load_model('model.keras')", "rows = {",
                   """    'ro\\'oms | "n"\\n': tf.constant([[0.2]], 'float32'),""", "}",
                   "print(model(rows, training=False))"]),
    ],
)  # fmt: skip
def test_each_format_is_loaded_its_way(format: str, expected: list[str]) -> None:
    assert code(ROOMS, format, modules=["mine"]) == expected


@pytest.mark.parametrize(
    ("cells", "kind", "expected"),
    [
        ([155.36849999999998] * 3, NumberKind(), "tf.constant([[155.3685]], 'float32')"),
        ([1e9, 1e9 + 1.25, 1e9 + 2], NumberKind(), "tf.constant([[1000000001.25]], 'float64')"),  # float32: 1e9
        (texts("b", "a", "b"), CategoryKind(), "tf.constant([['b']])"),
        (texts("red", "big red"), TokensKind(), "tf.constant([['red']])"),
        (texts("a", "b"), HashedKind(), "tf.constant([['']])"),
        (texts("yes", "no"), BooleanKind(), "tf.constant([['']])"),
        ([1.0, 1.0, 0.0], BooleanKind(), "tf.constant([[1.0]], 'float32')"),
        (texts("2024-01-31", "2024-02-02", "2024-02-03"), DateKind(), "tf.constant([['2024-02-02']])"),
        (texts("31.01.24", "2.2.24", "3.2.24"), DateKind(format="%d.%m.%y"), "tf.constant([['02.02.24']])"),
        (texts("1/1/24 1:00 am", "1/1/24 3:00 pm", "1/1/24 4:00 pm"), DateKind(format="%d/%m/%y %I:%M %p"),
         "tf.constant([['01/01/24 03:00 PM']])"),
        (texts("2024-01-31T08:00:00", "2024-01-31T09:30:00", "2024-01-31T10:00:00"), DateKind(),
         "tf.constant([['2024-01-31T09:30:00']])"),
        (np.zeros((2, 2, 3), "float32"), ArrayKind(), "tf.zeros((1, 2, 3), 'float32')"),
    ],
)  # fmt: skip
def test_the_cells_are_those_that_training_rows_have(cells: Any, kind: ColumnKind, expected: str) -> None:
    assert f"    'c': {expected}," in code(fitted("c", cells, kind))


@pytest.mark.parametrize(
    ("cells", "kind", "expected"),
    [
        (texts("b", "a", "b"), CategoryKind(), "np.array([[1]], 'int32'),  # 'b'"),
        (texts("red", "big red"), TokensKind(length=3), "np.array([[2] + [0] * 2], 'int32'),  # 'red'"),
        (texts("red", "red"), TokensKind(length=1), "np.array([[2]], 'int32'),  # 'red'"),
        (texts("yes", "no"), BooleanKind(), "np.full((1, 1), np.nan, 'float32'),  # ''"),
        (texts("low", "mid"), OrderedKind(values=["low", "mid"]), "np.full((1, 1), 0.0, 'float32'),  # 'low'"),
    ],
)
def test_openvino_gets_what_stands_for_texts(cells: Any, kind: ColumnKind, expected: str) -> None:
    lines = code(fitted("c", cells, kind), "openvino")
    assert f"    'c': {expected}" in lines
    assert "# how texts become ids: model.get_rt_info(['tfrun', 'text'])" in lines


def test_several_targets_are_all_shown() -> None:
    of = Preprocessing(columns=ROOMS.columns, targets={name: FittedTarget("regression") for name in ("output", "b")})
    names = "[output.name for output in session.get_outputs()]"
    assert code(of, "onnx")[-1] == f"print(dict(zip({names}, session.run(None, rows))))"
    assert code(of, "openvino")[-1] == "print(predict(rows))"


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        (ROOMS, '  "ro\'oms | \\"n\\"\\n": [0.2],'),
        (fitted("größe", texts("ß", "a", "ß"), CategoryKind()), "  'größe': ['ß'],"),
        (fitted("__proto__", texts("a"), CategoryKind()), "  ['__proto__']: ['a'],"),  # else no key of the object
        (fitted("c", texts("yes", "no"), BooleanKind()), "  'c': [''],"),
        (fitted("c", np.zeros((2, 4, 3), "float32"), ArrayKind()), "  'c': [Array(4).fill(Array(3).fill(0))],"),
        (fitted("c", [3.0, 3.0], NumberKind(), window=Window(24, 1, ("c",))), "  'c': [Array(24).fill(3.0)],"),
    ],
)
def test_the_cells_in_javascript(of: Preprocessing, expected: str) -> None:
    """`tests/end_to_end/test_model_card.py` runs such code in Node."""
    lines = export_code_tfjs.loading_code(of, floatx="float32").splitlines()
    assert lines[-4:] == ["const rows = {", expected, "};", "console.log(await predict(tf, model, rows));"]


def test_numbers_are_of_the_precision_of_the_run() -> None:
    line = "    'c': tf.constant([[155.36849999999998]], 'float64'),"
    assert line in code(fitted("c", [155.36849999999998] * 3, NumberKind()), floatx="float64")


@pytest.mark.parametrize(("length", "cells"), [(2, "[[3.0, 3.0]]"), (24, "[[3.0] * 24]")])
def test_windows_have_as_many_cells(length: int, cells: str) -> None:
    of = fitted("c", [3.0, 3.0], NumberKind(), window=Window(length, 1, ("c",)))
    assert f"    'c:0': np.array({cells}, 'float32')," in code(of, "onnx")


def test_a_column_self_has_another_name_in_litert() -> None:
    of = fitted("self", [3.0], NumberKind())
    assert "    'self_': np.array([[3.0]], 'float32')," in code(of, "litert")
    assert "    'self:0': np.array([[3.0]], 'float32')," in code(of, "onnx")


def test_what_has_to_be_installed() -> None:
    assert [needed(format, ROOMS, modules=["mine"]) for format in ("saved_model", "litert", "onnx", "tfjs")] == [
        "TensorFlow", "ai-edge-litert", "onnxruntime", "Node with @tensorflow/tfjs",
    ]  # fmt: skip
    text = needed("serving", ROOMS, modules=[], file="serving/houses/3")
    assert text.startswith("TensorFlow Serving: `tensorflow_model_server --rest_api_port=8501 --model_name=houses ")
    assert text.endswith("In Python, without a server, TensorFlow")
    assert needed("keras", ROOMS, modules=["tfrun.components.models.mlp"]) == "Keras with TensorFlow, and tfrun"
    assert needed("keras", ROOMS, modules=["my_models", "tfrun.components.models.mlp"]).endswith(r": my_models")
