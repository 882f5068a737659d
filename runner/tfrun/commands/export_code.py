"""Code that loads an export, for a person to copy."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfrun.commands.serving_commands import serving_commands
from tfrun.data.kinds import (
    ArrayColumn,
    BooleanColumn,
    Column,
    DateColumn,
    NumberColumn,
    OrderedColumn,
    TokensColumn,
)
from tfrun.data.preprocessing import Preprocessing
from tfrun.files.runs import EXPORTS
from tfrun.protocols import MAIN_OUTPUT
from tfrun.reports.markdown import escaped

OTHERS = {  # what has to be installed for formats that need neither TensorFlow nor tfrun
    "litert": "ai-edge-litert",
    "onnx": "onnxruntime",
    "openvino": "openvino",
    "tfjs": "Node with @tensorflow/tfjs",
}


def needed(format: str, fitted: Preprocessing, *, modules: Sequence[str], file: str = "") -> str:
    """Returns what a person has to install to load an export, as Markdown; see `loading_code`."""
    has_tokenizer = any(column.tokenizer is not None for column in fitted.tokens)
    if format == "serving":
        commands = ", then ".join(f"`{command}`" for command in serving_commands(file, folder='"$PWD"'))
        return f"TensorFlow Serving: {commands}. In Python, without a server, " + needed(
            "saved_model", fitted, modules=modules
        )
    if format == "saved_model":
        return "TensorFlow and TensorFlow Text" if has_tokenizer else "TensorFlow"
    if format != "keras":
        return OTHERS[format]
    tfrun = "tfrun with its extra hub" if has_tokenizer else "tfrun"
    plugins = [module for module in modules if not module.startswith("tfrun.")]
    if not plugins:
        return f"Keras with TensorFlow, and {tfrun}"
    names = ", ".join(escaped(name) for name in plugins)
    return f"Keras with TensorFlow, {tfrun}, and where Python looks for modules (PYTHONPATH, for example): {names}"


def loading_code(format: str, fitted: Preprocessing, *, floatx: str, modules: Sequence[str], file: str = "") -> str:
    """Returns Python code that loads an export from the current folder and predicts one row.

    Args:
        format: of the export.
        fitted: the run's preprocessing.
        floatx: the type of the model's numbers.
        modules: those of the model's components, which Keras needs to find their classes.
        file: the path of the export below the card's folder; by default that of the format in `EXPORTS`.
    """
    imports, load, predict = _parts(format, fitted, modules=modules, file=file or EXPORTS[format])
    rows = [
        f"    {_key(column.name, format)!r}: {_cells(column, fitted, format=format, floatx=floatx)}"
        for column in fitted.columns
    ]
    return "\n".join([*imports, "", *load, "rows = {", *rows, "}", f"print({predict})"])


def _parts(
    format: str, fitted: Preprocessing, *, modules: Sequence[str], file: str
) -> tuple[list[str], list[str], str]:
    """Returns the lines that import, those that load, and the expression that predicts `rows`."""
    path = repr(file)
    if format in ("saved_model", "serving"):
        needs_text = any(column.tokenizer is not None for column in fitted.tokens)
        imports = ["import tensorflow as tf", *(["import tensorflow_text"] if needs_text else [])]
        has_name = format == "serving" and not fitted.others  # of a single output
        predict = f"model.serve(rows)[{MAIN_OUTPUT!r}]" if has_name else "model.serve(rows)"
        return imports, [f"model = tf.saved_model.load({path})"], predict
    if format == "keras":
        imports = ["import keras", "import tensorflow as tf", *(f"import {name}" for name in modules)]
        return imports, [f"model = keras.saving.load_model({path})"], "model(rows, training=False)"
    if format == "litert":
        load = f"predict = Interpreter(model_path={path}).get_signature_runner()"
        imports = ["import numpy as np", "from ai_edge_litert.interpreter import Interpreter"]
        return imports, [load], "predict(**rows)" if fitted.others else "next(iter(predict(**rows).values()))"
    if format == "onnx":
        load = f"session = onnxruntime.InferenceSession({path})"
        names = "[output.name for output in session.get_outputs()]"
        predict = f"dict(zip({names}, session.run(None, rows)))" if fitted.others else "session.run(None, rows)[0]"
        return ["import numpy as np", "import onnxruntime"], [load], predict
    compile = "predict = openvino.compile_model(model, 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'})"
    load_all = [f"model = openvino.Core().read_model('{file}/model.xml')", compile]
    if fitted.text_names:
        load_all.append("# how texts become ids: model.get_rt_info(['tfrun', 'text'])")
    predict = "predict(rows)" if fitted.others else "predict(rows)['output']"
    return ["import numpy as np", "import openvino"], load_all, predict


def _key(name: str, format: str) -> str:
    """Returns the name of a column's tensor in a format."""
    if format == "onnx":
        return f"{name}:0"
    return "self_" if format == "litert" and name == "self" else name


def _cells(column: Column, fitted: Preprocessing, *, format: str, floatx: str) -> str:
    """Returns code for a column's cells in one example, with a comma behind it."""
    dtype = column.raw_dtype(floatx)
    length = 1 if fitted.window is None else fitted.window.length
    array, module = ("tf.constant", "tf") if format in ("saved_model", "keras", "serving") else ("np.array", "np")
    if isinstance(column, ArrayColumn):
        return f"{module}.zeros({(1, *column.raw_shape)}, {dtype!r}),"
    value = example(column, dtype)
    if format == "openvino" and column.is_text:
        return _ids(column, value, length=length, floatx=floatx)
    cells = repr([[value] * length]) if length <= 3 else f"[[{value!r}] * {length}]"
    return f"{array}({cells})," if dtype == "string" else f"{array}({cells}, {dtype!r}),"


def _ids(column: Column, text: str, *, length: int, floatx: str) -> str:
    """Returns code for what stands for a text, the first of its column's that has an id, in a format without texts."""
    if isinstance(column, BooleanColumn | OrderedColumn):
        number = "0.0" if isinstance(column, OrderedColumn) else "np.nan"
        return f"np.full((1, {length}), {number}, {floatx!r}),  # {text!r}"
    padding = f" + [0] * {column.length - 1}" if isinstance(column, TokensColumn) and column.length > 1 else ""
    first = f"[2]{padding}" if isinstance(column, TokensColumn) else "[1]"
    return f"np.array([{first}], 'int32'),  # {text!r}"


def example(column: Column, dtype: str) -> Any:
    """Returns a cell: of texts the most frequent one if it is known, of the others what an empty one becomes."""
    if isinstance(column, NumberColumn):
        return column.median if dtype == "float64" else float(f"{column.median:.9g}")  # float32 holds no more digits
    if isinstance(column, BooleanColumn) and not column.is_text:
        return column.filled
    if isinstance(column, DateColumn):
        return _date(column)
    values = column.words if isinstance(column, TokensColumn) else getattr(column, "values", ())
    return str(values[0]) if values else ""


def _date(column: DateColumn) -> str:
    """Returns the middle of the training rows' dates as they write them; empty if Python can't write that format."""
    if column.format is None:
        return iso_date(column, column.elapsed.median)
    text = _moment(column.elapsed.median).strftime(column.format)
    return text if not column.unknown(np.array([text], object)).any() else ""


def iso_date(column: DateColumn, seconds: float) -> str:
    """Returns a time, in seconds since 1970 in UTC, as ISO 8601; a column with one time of the day lacks it."""
    moment = _moment(seconds).replace(tzinfo=None)
    return moment.isoformat(timespec="seconds") if "hour" in column.cycles else moment.date().isoformat()


def _moment(seconds: float) -> datetime.datetime:
    return datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(seconds=round(seconds))
