"""The format `openvino`, for OpenVINO's runtimes on CPUs, GPUs and NPUs."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from tfrun.data.preprocessing import Preprocessing
from tfrun.engine.inference.exporting import ids
from tfrun.engine.inference.exporting.format import Format, refuse_float64, refuse_half_precision
from tfrun.engine.inference.exporting.frozen_graph import FrozenGraph, sum_scattered
from tfrun.files import strict_json

# f32, since CPUs that have bfloat16 would compute in it otherwise
LOADER = """
import json
import openvino
core = openvino.Core()
model = core.read_model(path + "/model.xml")
run = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
text = json.loads(model.get_rt_info(["tfrun", "text"]).astype(str))

def encoded(encoding, cells):
    values, rows = encoding["values"], cells.tolist()
    if encoding["kind"] == "numbers":
        lower = str.lower if encoding["lower"] else str
        return np.array([[values.get(lower(text), np.nan) for text in row] for row in rows], "float32")
    if encoding["kind"] == "category":
        places = {text: k for k, text in enumerate(values, start=1)}
        return np.array([[places.get(text, 0) for text in row] for row in rows], "int32")
    places = {word.encode(): k for k, word in enumerate(values, start=2)}
    length = encoding["length"]
    ids = [[places.get(word, 1) for word in text.encode().split()[:length]] for (text,) in rows]
    return np.array([row + [0] * (length - len(row)) for row in ids], "int32")

def predict(rows):
    cells = {name: encoded(text[name], values) if name in text else values for name, values in rows.items()}
    outputs = run(cells)
    return {output.any_name: outputs[output] for output in run.outputs}
"""
KINDS = ("category", "words", "numbers")


def write(model: keras.Model, path: Path, metadata: Mapping[str, Any]) -> None:
    """Writes a folder with `model.xml`, which also says how texts become ids, and `model.bin`.

    OpenVINO's `convert_model` isn't used: it reports to its makers that it was.

    Args:
        model: of ids in place of texts.
        path: the folder.
        metadata: see `ids.metadata`.

    Raises:
        ExportError: it needs float64 or half precision.
    """
    openvino = importlib.import_module("openvino")
    refuse_float64("openvino", model)
    refuse_half_precision("openvino", model)
    frozen = FrozenGraph.of(model, "openvino", lowers_loops=False)
    graph = frozen.optimized()
    sum_scattered(graph)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "frozen.pb")
        file.write_bytes(graph.SerializeToString())
        converted = openvino.Core().read_model(file)
    _name(converted.inputs, {tensor.op.name: column for column, tensor in frozen.inputs.items()})
    _name(converted.outputs, {tensor.op.name: name for name, tensor in frozen.outputs.items()})
    converted.set_rt_info(strict_json.dumps(metadata["text"]), ["tfrun", "text"])
    path.mkdir()
    openvino.save_model(converted, path / "model.xml", compress_to_fp16=False)


def _name(ends: Any, names: Mapping[str, str]) -> None:
    """Gives inputs or outputs of a model other names."""
    for end in ends:
        (name,) = {names[known.removesuffix(":0")] for known in end.names if known.removesuffix(":0") in names}
        end.set_names({name})


def refuse(preprocessing: Preprocessing) -> None:
    """Raises ConfigError if there are columns of hashed texts, tokens of a preset, or dates."""
    ids.refuse_all_but("openvino", preprocessing, kinds=KINDS, others="hashed texts, dates or the tokens of presets")


FORMAT = Format("openvino", write, LOADER, modules=("openvino",), refuse=refuse, of_ids=True, makes_ids=False)
