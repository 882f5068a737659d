"""A trained run as a model that takes raw rows, written in a portable format and checked in a clean process."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfrun.config import registry
from tfrun.data import layers as column_layers
from tfrun.data.kinds import Column
from tfrun.data.preprocessing import Preprocessing
from tfrun.data.targets import FittedTarget, TargetScale, main_output, of_output
from tfrun.engine import private
from tfrun.engine.inference.names import rename, rename_litert, rename_onnx, rename_signature, tensor_names
from tfrun.errors import ConfigError, LibraryChangedError, ResourceError
from tfrun.files import strict_json
from tfrun.files.runs import EXPORTS

TOLERANCE = 1e-4  # relative to the size of the predictions
NEEDS = {"litert": ["ai_edge_litert"], "onnx": ["tf2onnx", "onnxruntime"]}  # format -> modules, the extra's own
WITHOUT_TEXT = WITHOUT_NAMES = ("litert", "onnx")  # they have no look-up of strings, and number their outputs
WITHOUT_FLOAT64 = ("litert",)  # it can hold such numbers, but hardly computes with them

# What a person would write to use the artefact; only Keras' own format needs this project's code.
LOADERS = {
    "keras": """
import contextlib, importlib, keras
import tensorflow as tf
for module in modules:
    with contextlib.suppress(Exception, SystemExit):
        importlib.import_module(module)
model = keras.saving.load_model(path)
outputs = model({name: tf.constant(values) for name, values in rows.items()}, training=False)
""",
    "saved_model": """
import importlib
import tensorflow as tf
for module in modules:
    importlib.import_module(module)
model = tf.saved_model.load(path)
outputs = model.serve({name: tf.constant(values) for name, values in rows.items()})
""",
    "litert": """
from ai_edge_litert.interpreter import Interpreter
rows = {"self_" if name == "self" else name: values for name, values in rows.items()}
outputs = next(iter(Interpreter(model_path=path).get_signature_runner()(**rows).values()))
""",
    "onnx": """
import onnxruntime
session = onnxruntime.InferenceSession(path)
outputs = session.run(None, {name + ":0": values for name, values in rows.items()})[0]
""",
}
CHECK = """
import json, sys
import numpy as np
path, folder, *modules = sys.argv[1:]
with np.load(folder + "/rows.npz") as saved:
    rows = {{name: saved[key] for key, name in json.load(open(folder + "/names.json")).items()}}
{loader}
if {alone}:
    assert not any(name.partition(".")[0] == "tfrun" for name in sys.modules), "tfrun was imported"
outputs = outputs if isinstance(outputs, dict) else {{"output": outputs}}
np.savez(folder + "/outputs.npz", *(np.asarray(outputs[name]) for name in sorted(outputs)))
"""


class ExportError(ConfigError):
    """The artefact can't be written, or gives other predictions than the run."""


def check_format(format: str, preprocessing: Preprocessing) -> None:
    """Refuses what can't be exported. Raises ConfigError."""
    missing = [module for module in NEEDS.get(format, []) if find_spec(module) is None]
    if missing:
        raise ConfigError(f"format={format}: needs {', '.join(missing)}. Install with: pip install 'tfrun[{format}]'")
    if format in WITHOUT_TEXT and preprocessing.text_names:
        text = ", ".join(preprocessing.text_names)
        raise ConfigError(
            f"format={format}: can't look up text. Received text columns: {text}. Use saved_model or keras"
        )
    if format in WITHOUT_NAMES and preprocessing.others:
        raise ConfigError(f"format={format}: outputs lose their names in it. Use saved_model or keras")


def modules_of(preprocessing: Preprocessing, format: str) -> list[str]:
    """Returns the modules that a person has to import before an artefact can be loaded: what its operations are in."""
    has_tokenizer = any(column.tokenizer is not None for column in preprocessing.tokens)
    return ["tensorflow_text"] if format == "saved_model" and has_tokenizer else []


def portable(
    model: keras.Model, preprocessing: Preprocessing, *, has_targets: bool = True, name: str = "portable"
) -> keras.Model:
    """Returns a model of raw rows.

    Its inputs are the data's columns by name: numbers (B, 1) float32 with nan for empty, text (B, 1) strings with ""
    for empty, arrays (B, …) float32; for windows of a series the numbers of each, (B, length). It gives predictions in
    the target's own unit, (B, 1) or (B, horizon), or the probability of each class, (B, K); for several targets a
    mapping of such outputs.

    Args:
        model: trained.
        preprocessing: fitted on the run's training rows.
        has_targets: whether the model predicts the data's target.
        name: the name of the model.
    """
    with column_layers.dtype_policy(keras.config.floatx()):  # raw numbers have more digits than half precision holds
        names = tensor_names(column.name for column in preprocessing.columns)
        try:
            return _portable(model, preprocessing, names, has_targets=has_targets, name=name)
        except ValueError as error:
            if "names should be unique" not in str(error):
                raise
        # a column has the name of a layer, for example `concatenate`
        numbered = {name: f"in_{k}" for k, name in enumerate(names)}
        return _portable(model, preprocessing, numbered, has_targets=has_targets, name=name)


def _portable(
    model: keras.Model, preprocessing: Preprocessing, names: Mapping[str, str], *, has_targets: bool, name: str
) -> keras.Model:
    rows = {
        column.name: keras.Input(
            _raw_shape(column, preprocessing), dtype=column.raw_dtype(keras.config.floatx()), name=names[column.name]
        )
        for column in preprocessing.columns
    }
    outputs = model(column_layers.encode_tensors(rows, preprocessing), training=False)
    y = {
        output: _in_unit(of_output(outputs, output), target) if has_targets else of_output(outputs, output)
        for output, target in preprocessing.targets.items()
    }
    with warnings.catch_warnings():
        # not every column's name may be a tensor's
        warnings.filterwarnings("ignore", "When providing `inputs` as a dict, all keys")
        return keras.Model(rows, y if len(y) > 1 else main_output(y), name=name)


def _raw_shape(column: Column, preprocessing: Preprocessing) -> tuple[int, ...]:
    """Returns the shape of a column's cells in one example."""
    return column.raw_shape if preprocessing.window is None else (preprocessing.window.length,)


def _in_unit(y: Any, target: FittedTarget) -> Any:
    """Returns a Keras tensor of predictions or probabilities."""
    if target.task == "regression":
        # of a run of an earlier version too: its metrics are float32, but what it predicts is not
        dtype = "float64" if target.scale.is_far else keras.config.floatx()
        # arrays, since Keras makes a float32 of a Python number before it becomes a float64. They have an axis: one
        # without any is a Python number again once it has been saved and loaded
        scale, offset = (np.array([value], dtype) for value in (target.standard_deviation, target.mean))
        return keras.layers.Rescaling(scale, offset, dtype=dtype)(y)
    if target.num_outputs > 1:
        return keras.layers.Softmax()(y)
    p = keras.layers.Activation("sigmoid")(y)
    return keras.layers.Concatenate(axis=1)([1.0 - p, p])


def outputs_of(model: keras.Model, inputs: Any, format: str) -> Any:
    """Returns the outputs of a run's model, computed as an artefact of the format computes them.

    Keras calls one operation after the other; the others are graphs, in which TensorFlow fuses operations. In half
    precision that is a difference of up to a hundredth, as fewer results are rounded.
    """
    if format == "keras":
        return model(inputs, training=False)
    return tf.function(lambda inputs: model(inputs, training=False), autograph=False)(inputs)


def predictions(outputs: Any, preprocessing: Preprocessing, *, has_targets: bool = True) -> dict[str, np.ndarray]:
    """Returns what a run predicts from its model's outputs, as `portable` gives it, by output."""
    predicted = {}
    for name, target in preprocessing.targets.items():
        y = predicted[name] = np.asarray(tf.cast(of_output(outputs, name), tf.float64))
        if has_targets and target.task == "regression":
            predicted[name] = y * target.standard_deviation + target.mean
        elif has_targets:
            logits = y if target.num_outputs > 1 else np.concatenate([np.zeros_like(y), y], axis=1)
            odds = np.exp(logits - logits.max(axis=1, keepdims=True))
            predicted[name] = odds / odds.sum(axis=1, keepdims=True)
    return predicted


def write(model: keras.Model, format: str, *, folder: Path) -> Path:
    """Writes a model and returns where it is. Raises ExportError."""
    if format in WITHOUT_FLOAT64:
        _refuse_float64(model, format)
    if format == "keras" and any(isinstance(layer, keras.layers.TFSMLayer) for layer in private.layers_of(model)):
        raise ExportError("format=keras: can't hold the function of a SavedModel. Use saved_model, litert or onnx")
    path = folder / EXPORTS[format]
    try:
        if format == "keras":
            model.save(path)
        elif format == "saved_model":
            _save_for_serving(model, path)
        elif format == "onnx":
            _save_as_onnx(model, path)
        else:
            model.export(path, format=format, verbose=False)
            rename(rename_litert, path, names=_tensor_names_of(model))
    except LibraryChangedError:
        raise
    except OSError as error:
        raise ResourceError(f"{path}: can't be written: {error.strerror or error}") from error
    except Exception as error:  # whatever a converter raises
        reason = " ".join(str(error).split())[:300]
        raise ExportError(f"format={format}: this model can't be converted: {reason}") from error
    return path


def _refuse_float64(model: keras.Model, format: str) -> None:
    """Raises ExportError if a model of raw rows takes or gives float64."""
    outputs = model.output if isinstance(model.output, dict) else {"the target": model.output}
    names = [name for name, tensor in (model.input | outputs).items() if tensor.dtype == "float64"]
    if names:
        raise ExportError(
            f"format={format}: can't compute in float64, which these need: {', '.join(names)}. "
            "Use saved_model, keras or onnx"
        )


def _save_for_serving(model: keras.Model, path: Path) -> None:
    """Writes a SavedModel with one function, `serve`, of the rows by column."""
    module = tf.Module()
    # what the function uses has to be named; Keras' own export leaves the tables of text columns out
    layers = private.layers_of(model)
    metrics = [metric for layer in layers for metric in private.own_metrics(layer)]
    module.parts = [variable.value for part in (model, *metrics) for variable in part.variables]
    module.tables = [layer.lookup_table for layer in layers if hasattr(layer, "lookup_table")]
    module.serve = _function_of(model)
    tf.saved_model.save(module, str(path), signatures=module.serve)
    rename(rename_signature, path, names=_tensor_names_of(model))


def _save_as_onnx(model: keras.Model, path: Path) -> None:
    """Writes an ONNX file whose inputs have the columns' names; Keras' own export makes inputs of constants too."""
    import tf2onnx

    frozen = private.freeze_variables(_function_of(model).get_concrete_function())
    inputs = [tensor.name for tensor in frozen.inputs]
    onnx, _ = tf2onnx.convert.from_graph_def(
        frozen.graph.as_graph_def(), input_names=inputs, output_names=[tensor.name for tensor in frozen.outputs]
    )
    rename_onnx(onnx, dict(zip(inputs, sorted(model.input), strict=True)))  # TensorFlow sorts the keys of mappings
    path.write_bytes(onnx.SerializeToString())


def _tensor_names_of(model: keras.Model) -> dict[str, str]:
    """Returns the name of each column's tensor in a model of raw rows."""
    return {column: tensor.name for column, tensor in model.input.items()}


def _function_of(model: keras.Model) -> Any:
    """Returns a function of the rows by column, to be saved."""
    rows = {name: tf.TensorSpec(tensor.shape, tensor.dtype, name=tensor.name) for name, tensor in model.input.items()}
    return tf.function(lambda rows: model(rows, training=False), [rows], autograph=False)


def sizes(
    expected: Mapping[str, np.ndarray], preprocessing: Preprocessing, *, has_targets: bool = True
) -> dict[str, float]:
    """Returns by output how large predictions are, which differences are compared with.

    That is their largest distance from the mean of a target that was scaled, or its standard deviation if that is
    larger: far from 0, the predictions themselves are no measure. Otherwise it is the largest one, or 1.
    """
    result = {}
    for name, values in expected.items():
        scale = preprocessing.targets[name].scale if has_targets else TargetScale()
        result[name] = max(scale.standard_deviation, float(np.max(np.abs(values - scale.mean), initial=0.0)))
    return result


def check(
    path: Path,
    format: str,
    *,
    rows: Mapping[str, np.ndarray],
    expected: Mapping[str, np.ndarray],
    sizes: Mapping[str, float],
    needs: Sequence[str] = (),
) -> float:
    """Returns the largest difference between the artefact's predictions, in a clean process, and the run's.

    Args:
        path: the artefact.
        format: its format.
        rows: raw rows by column.
        expected: the run's predictions for them by output.
        sizes: how large they are, see `sizes`.
        needs: the modules that have to be imported first, see `modules_of`.

    Raises:
        ExportError: it can't be loaded there, or they differ.
    """
    modules, alone = (needs, True) if format != "keras" else (registry.modules(), False)
    search = [] if alone else [path for path in sys.path if path]
    code = f"import sys\nsys.path[:0] = {search!r}\n" + CHECK.format(loader=LOADERS[format], alone=alone)
    with tempfile.TemporaryDirectory() as folder:
        names = {f"c{k}": name for k, name in enumerate(rows)}
        arrays: dict[str, Any] = {key: rows[name] for key, name in names.items()}
        np.savez(Path(folder, "rows.npz"), **arrays)
        Path(folder, "names.json").write_text(strict_json.dumps(names))
        command = [sys.executable, "-c", code, str(path), folder, *modules]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1][:300]
            raise ExportError(f"{path.name}: can't be used in a process of its own: {last}")
        if not Path(folder, "outputs.npz").exists():
            raise ExportError(f"{path.name}: can't be used in a process of its own: it ended before it had predicted")
        with np.load(Path(folder, "outputs.npz")) as saved:
            outputs = [saved[key] for key in saved.files]
    most = 0.0
    for name, output in zip(sorted(expected), outputs, strict=True):
        off = float(np.max(np.abs(output - expected[name]), initial=0.0))
        if output.shape != expected[name].shape or not off <= TOLERANCE * sizes[name]:
            raise ExportError(f"{path.name}: gives other predictions than the run, off by {off:.3g} in {name}")
        most = max(most, off)
    return most


def raw_rows(columns: Mapping[str, Any], preprocessing: Preprocessing) -> dict[str, np.ndarray]:
    """Returns the rows of a table's columns, or windows of them, as `portable` takes them."""
    floatx = keras.config.floatx()
    return {
        column.name: column.raw(columns[column.name].reshape(-1), floatx).reshape(columns[column.name].shape)
        if preprocessing.window is not None
        else column.raw(columns[column.name], floatx)
        for column in preprocessing.columns
    }


def inputs_of(preprocessing: Preprocessing) -> dict[str, str]:
    """Returns the inputs of `portable` by name: type, shape and the value of an empty cell, for a person."""
    window = preprocessing.window
    size = "(batch, 1)" if window is None else f"(batch, {window.length})"
    floatx = keras.config.floatx()
    return {column.name: column.raw_type(floatx).replace("(batch, 1)", size) for column in preprocessing.columns}
