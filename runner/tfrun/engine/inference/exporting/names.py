"""Names of an exported model's inputs: the columns' own, which TensorFlow's tensors can't always have."""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

MAX_LETTERS = 100
# TensorFlow.js keeps its nodes in objects, by name, and these are in every object
OF_EVERY_OBJECT = frozenset(
    ("constructor", "hasOwnProperty", "isPrototypeOf", "propertyIsEnumerable", "toLocaleString", "toString", "valueOf")
)


def tensor_names(columns: Iterable[str]) -> dict[str, str]:
    """Returns a name for the tensor of each column: its own where TensorFlow accepts it, or one like it.

    TensorFlow takes ASCII alone, makes parameters of Python out of the names, and ignores the case of letters.
    TensorFlow.js can't have a node with the name of what every object of JavaScript has.
    """
    columns = list(columns)
    likes = {column: _like(column) for column in columns}
    result: dict[str, str] = {}
    taken: set[str] = set()
    for column in sorted(columns, key=lambda column: likes[column] != column):  # own names first
        name, count = likes[column], 1
        while _parameter(name) in taken:
            count += 1
            name = f"{likes[column]}_{count}"
        taken.add(_parameter(name))
        result[column] = name
    return {column: result[column] for column in columns}


def _like(column: str) -> str:
    """Returns the nearest name that TensorFlow accepts."""
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", column)[:MAX_LETTERS]
    if not re.match(r"[A-Za-z0-9.]", name):
        name = f"column{name}"
    is_taken = keyword.iskeyword(name) or name == "self" or name in OF_EVERY_OBJECT
    return f"{name}_" if is_taken else name


def _parameter(name: str) -> str:
    """Returns the parameter that TensorFlow makes of a name, without case."""
    parameter = re.sub(r"\W", "_", name)
    return (parameter if parameter[0].isalpha() else f"arg_{parameter}").lower()


def rename(change: Callable[[Path, Mapping[str, str]], None], path: Path, *, names: Mapping[str, str]) -> None:
    """Calls `rename_signature` or `rename_litert` if a column's tensor has another name than the column."""
    if any(column != name for column, name in names.items()):
        change(path, names)


def rename_signature(path: Path, names: Mapping[str, str]) -> None:
    """Gives the inputs of a SavedModel's signature the columns' own names, as TensorFlow Serving reads them.

    Args:
        path: the folder of the SavedModel.
        names: column -> its tensor's name.
    """
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((path / "saved_model.pb").read_bytes())
    inputs = saved.meta_graphs[0].signature_def["serving_default"].inputs
    tensors = {name: type(tensor).FromString(tensor.SerializeToString()) for name, tensor in inputs.items()}
    inputs.clear()
    for column, name in names.items():
        inputs[column].CopyFrom(tensors[name])
    (path / "saved_model.pb").write_bytes(saved.SerializeToString())


def rename_litert(path: Path, names: Mapping[str, str]) -> None:
    """Gives the inputs of a LiteRT file's signature the columns' own names.

    A column `self` is called `self_`: a signature takes its inputs as keyword arguments of a method.
    """
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model(str(path))
    columns = {name.encode(): ("self_" if column == "self" else column).encode() for column, name in names.items()}
    for tensor in model.signatureDefs[0].inputs:
        tensor.name = columns[tensor.name]
    flatbuffer_utils.write_model(model, str(path))
