"""The format `onnx`, for ONNX Runtime."""

from __future__ import annotations

import importlib
import itertools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from tfrun.data.preprocessing import Preprocessing
from tfrun.engine.inference.exporting import ids
from tfrun.engine.inference.exporting.format import Format, refuse_half_precision
from tfrun.engine.inference.exporting.frozen_graph import FrozenGraph, sum_scattered

LOADER = """
import onnxruntime
session = onnxruntime.InferenceSession(path)
names = [output.name for output in session.get_outputs()]
def predict(rows):
    return dict(zip(names, session.run(names, {name + ":0": values for name, values in rows.items()})))
"""
KINDS = ("category", "numbers")
OPSET = 16  # the first version of ONNX' operations that can add up scattered values
LABELS = ("ai.onnx.ml", 2)  # the domain and the version of ONNX' operation that looks texts up


def write(model: keras.Model, path: Path, metadata: Mapping[str, Any]) -> None:
    """Writes an ONNX file; Keras' own export makes inputs of constants too, and has no texts.

    Its inputs have the columns' names, followed by `:0`, and its outputs their own. Texts are looked up in it.

    Args:
        model: of ids in place of texts.
        path: the file.
        metadata: see `ids.metadata`.

    Raises:
        ExportError: it needs half precision.
    """
    import tf2onnx

    refuse_half_precision("onnx", model)
    frozen = FrozenGraph.of(model, "onnx", lowers_loops=True)
    sum_scattered(frozen.graph)
    onnx, _ = tf2onnx.convert.from_graph_def(
        frozen.graph,
        input_names=[tensor.name for tensor in frozen.inputs.values()],
        output_names=[tensor.name for tensor in frozen.outputs.values()],
        opset=OPSET,
    )
    names = {tensor.name: name for name, tensor in frozen.outputs.items()}
    look_ups = []
    for place, column in zip(onnx.graph.input, frozen.inputs, strict=True):
        names[place.name] = place.name = f"{column}:0"
        if column in metadata["text"]:
            names[frozen.inputs[column].name] = f"{column}:0 as ids"
            look_ups += _looked_up(place.name, f"{column}:0 as ids", metadata["text"][column])
            place.type.tensor_type.elem_type = _protos().TensorProto.STRING
    for place in onnx.graph.output:
        place.name = names[place.name]
    _rename(onnx.graph, names)
    between = list(onnx.graph.node)
    del onnx.graph.node[:]
    onnx.graph.node.extend([*look_ups, *between])
    if look_ups:
        onnx.opset_import.append(_protos().helper.make_opsetid(*LABELS))
    path.write_bytes(onnx.SerializeToString())


def _rename(graph: Any, names: Mapping[str, str]) -> None:
    """Gives tensors of a graph, a proto, and of the graphs in it, other names."""
    for node in graph.node:
        for tensors in (node.input, node.output):
            tensors[:] = [names.get(tensor, tensor) for tensor in tensors]
        for attribute in node.attribute:
            for body in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                _rename(body, names)


def _looked_up(texts: str, name: str, encoding: ids.Encoding) -> list[Any]:
    """Returns nodes that compute the tensor of ids or numbers, of the given name, of a tensor of texts."""
    helper, domain = _protos().helper, LABELS[0]
    if encoding["kind"] == "numbers":
        numbers = {
            spelling: number
            for text, number in encoding["values"].items()
            for spelling in (_spellings(text) if encoding["lower"] else [text])
        }
        pairs = {"keys_strings": list(numbers), "values_floats": list(numbers.values()), "default_float": math.nan}
        return [helper.make_node("LabelEncoder", [texts], [name], domain=domain, **pairs)]
    known = list(encoding["values"])
    pairs = {"keys_strings": known, "values_int64s": list(range(1, len(known) + 1)), "default_int64": 0}
    look_up = helper.make_node("LabelEncoder", [texts], [f"{name}/int64"], domain=domain, **pairs)
    return [look_up, helper.make_node("Cast", [look_up.output[0]], [name], to=_protos().TensorProto.INT32)]


def _spellings(text: str) -> list[str]:
    """Returns a text in all mixtures of small and capital letters; ONNX only changes the case of lists of texts."""
    return sorted({"".join(letters) for letters in itertools.product(*((c.lower(), c.upper()) for c in text))})


def _protos() -> Any:
    """Returns the module `onnx`, which tf2onnx needs too."""
    return importlib.import_module("onnx")


def refuse(preprocessing: Preprocessing) -> None:
    """Raises ConfigError if there are columns of hashed texts, words or dates."""
    ids.refuse_all_but("onnx", preprocessing, kinds=KINDS, others="hashed texts, words or dates")


FORMAT = Format("onnx", write, LOADER, modules=("tf2onnx", "onnxruntime"), refuse=refuse, of_ids=True)
