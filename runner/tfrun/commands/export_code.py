"""Code that loads an export, for a person to copy."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfrun.commands.serving_commands import serving_commands
from tfrun.data.kinds import ArrayColumn, BooleanColumn, Column, DateColumn, NumberColumn, TokensColumn
from tfrun.data.preprocessing import Preprocessing
from tfrun.files.runs import EXPORTS
from tfrun.protocols import MAIN_OUTPUT
from tfrun.reports.markdown import escaped


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
        return {"litert": "ai-edge-litert", "onnx": "onnxruntime"}[format]
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
    file = repr(file or EXPORTS[format])
    is_saved_model = format in ("saved_model", "serving")
    needs_text = is_saved_model and any(column.tokenizer is not None for column in fitted.tokens)
    if is_saved_model:
        imports = ["import tensorflow as tf", *(["import tensorflow_text"] if needs_text else [])]
        load, predict = f"model = tf.saved_model.load({file})", "model.serve(rows)"
        if format == "serving" and not fitted.others:  # whose single output has a name
            predict = f"{predict}[{MAIN_OUTPUT!r}]"
    elif format == "keras":
        imports = ["import keras", "import tensorflow as tf", *(f"import {name}" for name in modules)]
        load, predict = f"model = keras.saving.load_model({file})", "model(rows, training=False)"
    elif format == "litert":
        imports = ["import numpy as np", "from ai_edge_litert.interpreter import Interpreter"]
        load = f"predict = Interpreter(model_path={file}).get_signature_runner()"
        predict = "predict(**rows)" if fitted.others else "next(iter(predict(**rows).values()))"
    else:
        imports = ["import numpy as np", "import onnxruntime"]
        load, predict = f"session = onnxruntime.InferenceSession({file})", "session.run(None, rows)[0]"
    rows = [
        f"    {_key(column.name, format)!r}: {_cells(column, fitted, format=format, floatx=floatx)},"
        for column in fitted.columns
    ]
    return "\n".join([*imports, "", load, "rows = {", *rows, "}", f"print({predict})"])


def _key(name: str, format: str) -> str:
    """Returns the name of a column's tensor in a format."""
    if format == "onnx":
        return f"{name}:0"
    return "self_" if format == "litert" and name == "self" else name


def _cells(column: Column, fitted: Preprocessing, *, format: str, floatx: str) -> str:
    """Returns code for a column's cells in one example."""
    dtype = column.raw_dtype(floatx)
    length = 1 if fitted.window is None else fitted.window.length
    array, module = ("np.array", "np") if format in ("litert", "onnx") else ("tf.constant", "tf")
    if isinstance(column, ArrayColumn):
        return f"{module}.zeros({(1, *column.raw_shape)}, {dtype!r})"
    value = _example(column, dtype)
    cells = repr([[value] * length]) if length <= 3 else f"[[{value!r}] * {length}]"
    return f"{array}({cells})" if dtype == "string" else f"{array}({cells}, {dtype!r})"


def _example(column: Column, dtype: str) -> Any:
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
