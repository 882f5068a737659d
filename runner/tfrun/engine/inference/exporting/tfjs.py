"""The format `tfjs`: a graph model of TensorFlow.js, for browsers and Node."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from google.protobuf.json_format import MessageToDict

from tfrun.data.preprocessing import Preprocessing
from tfrun.engine.inference.exporting import ids, tfjs_graph
from tfrun.engine.inference.exporting.format import Format, refuse_float64, refuse_half_precision
from tfrun.engine.inference.exporting.frozen_graph import FrozenGraph
from tfrun.files import strict_json
from tfrun.version import __version__

SHARD_BYTES = 2**22  # of weights in a file, as TensorFlow.js' own converter has it
PAGE = Path(__file__).with_name("page")  # the files that every export has beside the model
KINDS = ("category", "hashed", "words", "hashed_words", "numbers")

# Reads the files back into a graph, for a check where there is no JavaScript.
LOADER = """
import json
import tensorflow as tf
from google.protobuf.json_format import ParseDict
model = json.load(open(path + "/model.json"))
(group,) = model["weightsManifest"]
data = b"".join(open(path + "/" + name, "rb").read() for name in group["paths"])
weights, start = {}, 0
for weight in group["weights"]:
    size = int(np.prod(weight["shape"], dtype=int)) * np.dtype(weight["dtype"]).itemsize
    weights[weight["name"]] = np.frombuffer(data[start : start + size], weight["dtype"]).reshape(weight["shape"])
    start += size
assert start == len(data)
graph = ParseDict(model["modelTopology"], tf.compat.v1.GraphDef())
for nodes in [graph.node, *(function.node_def for function in graph.library.function)]:
    for node in nodes:
        if node.op == "Const":
            value = tf.make_tensor_proto(weights[node.name], dtype=tf.as_dtype(node.attr["dtype"].type))
            node.attr["value"].tensor.CopyFrom(value)
ends = {key: [end["name"] for end in model["signature"][key].values()] for key in ("inputs", "outputs")}
function = tf.compat.v1.wrap_function(lambda: tf.graph_util.import_graph_def(graph, name=""), [])
pruned = function.prune(*(tf.nest.map_structure(function.graph.as_graph_element, ends[key]) for key in ends))
texts = model["userDefinedMetadata"]["text"]

def words_of(text, count):
    return [word.decode() for word in text.encode().split()][:count]

def encoded(encoding, cells):
    if encoding["kind"] == "numbers":
        numbers = encoding["values"]
        lower = str.lower if encoding["lower"] else str
        return np.array([[numbers.get(lower(text), np.nan) for text in row] for row in cells.tolist()], "float32")
    if encoding["kind"] == "category":
        places = {text: k for k, text in enumerate(encoding["values"], start=1)}
        return np.array([[places.get(text, 0) for text in row] for row in cells.tolist()], "int32")
    if encoding["kind"] == "hashed":
        hashed = tf.strings.to_hash_bucket_fast(cells, encoding["bins"]).numpy() + 1
        return np.where(cells == "", 0, hashed).astype("int32")
    ids = np.zeros((len(cells), encoding["length"]), "int32")
    places = {text: k for k, text in enumerate(encoding.get("values", ()), start=2)}
    for row, (text,) in zip(ids, cells.tolist()):
        words = words_of(text, len(row))
        if not words:
            continue
        hashed = encoding["kind"] == "hashed_words"
        row[: len(words)] = (
            tf.strings.to_hash_bucket_fast(words, encoding["bins"]).numpy() + 1
            if hashed else [places.get(word, 1) for word in words]
        )
    return ids

def predict(rows):
    rows = {name: encoded(texts[name], cells) if name in texts else cells for name, cells in rows.items()}
    outputs = pruned(*(tf.constant(rows[name]) for name in model["signature"]["inputs"]))
    return dict(zip(model["signature"]["outputs"], outputs))
"""


def write(model: keras.Model, path: Path, metadata: Mapping[str, Any]) -> None:
    """Writes a folder with `model.json`, its weights, and a page that predicts with it.

    Args:
        model: of ids in place of texts.
        path: the folder.
        metadata: see `ids.metadata`, for `userDefinedMetadata`.

    Raises:
        ExportError: TensorFlow.js lacks an operation or a type of numbers.
    """
    refuse_float64("tfjs", model)
    refuse_half_precision("tfjs", model)
    frozen = FrozenGraph.of(model, "tfjs", lowers_loops=False)
    graph = tfjs_graph.rewritten(frozen)
    weights = tfjs_graph.take_weights(graph)
    shutil.copytree(PAGE, path)
    paths = _write_shards(path, b"".join(_little_endian(value) for value in weights.values()))
    specs = [{"name": name, "shape": list(value.shape), "dtype": value.dtype.name} for name, value in weights.items()]
    written = {
        "format": "graph-model",
        "generatedBy": f"TensorFlow {tf.__version__}",
        "convertedBy": f"tfrun {__version__}",
        "signature": {
            "inputs": _signature({column: frozen.inputs[column] for column in model.input}),  # in the data's order
            "outputs": _signature(frozen.outputs),
        },
        "userDefinedMetadata": {**metadata, "isAsynchronous": tfjs_graph.is_asynchronous(graph)},
        "modelTopology": _topology(graph),
        "weightsManifest": [{"paths": paths, "weights": specs}],
    }
    (path / "model.json").write_text(strict_json.dumps(written))


def _write_shards(path: Path, data: bytes) -> list[str]:
    """Writes the weights into files of at most `SHARD_BYTES`, and returns their names."""
    shards = [data[start : start + SHARD_BYTES] for start in range(0, len(data), SHARD_BYTES)] or [b""]
    names = [f"weights-{k}-of-{len(shards)}.bin" for k in range(1, len(shards) + 1)]
    for name, shard in zip(names, shards, strict=True):
        (path / name).write_bytes(shard)
    return names


def _little_endian(value: np.ndarray) -> bytes:
    name = value.dtype.name.replace("bool", "uint8")
    return value.astype(np.dtype(name).newbyteorder("<")).tobytes()


def _topology(graph: Any) -> dict[str, Any]:
    """Returns a GraphDef as JSON."""
    topology: dict[str, Any] = MessageToDict(graph)
    topology["versions"] = {"producer": graph.versions.producer, "minConsumer": graph.versions.min_consumer}
    return topology


def _signature(tensors: Mapping[str, tf.Tensor]) -> dict[str, Any]:
    """Returns the name, the type and the shape of each tensor, as a SavedModel's signature has them in JSON."""
    return {
        name: {
            "name": tensor.name,
            "dtype": f"DT_{'FLOAT' if tensor.dtype == tf.float32 else tensor.dtype.name.upper()}",
            "tensorShape": MessageToDict(tensor.shape.as_proto()),
        }
        for name, tensor in tensors.items()
    }


def refuse(preprocessing: Preprocessing) -> None:
    """Raises ConfigError if there are columns of dates, or of tokens of a preset."""
    ids.refuse_all_but("tfjs", preprocessing, kinds=KINDS, others="dates or the tokens of presets")


FORMAT = Format("tfjs", write, LOADER, refuse=refuse, of_ids=True, in_javascript=True)
