"""Findings: whether a component keeps a promise. The checks here are those that contracts of several kinds share."""

from __future__ import annotations

import inspect
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfrun.config import registry
from tfrun.engine import private
from tfrun.errors import ConfigError, TfrunError
from tfrun.files import strict_json
from tfrun.protocols import RESERVED, SavedOffer

SAME = 1e-6  # tolerance: the same sums in another order
CLOSE = 1e-5  # tolerance: other kernels
HALF_TOLERANCES = {"float16": 4e-3, "bfloat16": 3e-2}  # a few units of the last place of these types
DIFFERENCE = 1e-6  # the distance to either side in finite differences, float64
DIRECTIONS = 8  # along which they are taken
NOT_BUILT = "cannot be built automatically"  # Keras' warning
HOW_TO_BUILD = (
    "Keras couldn't create the weights, so those in the file were left out: define build(self, input_shape), or "
    "build_from_config(self, config) if the inputs aren't floats"
)
MAX_MESSAGE = 300  # characters of other people's error messages
Make = Callable[..., Any]  # makes a component anew
STARRED = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
ROWS = 8  # in the small inputs that contracts use
FAR = 1e4  # at this distance from 0 formulas overflow that are right near it

# Run in a new process, which has only the saved model and the modules of the registered components.
LOADER = """
import contextlib, importlib, json, sys
import keras, numpy as np
folder, *modules = sys.argv[1:]
for module in modules:
    with contextlib.suppress(Exception, SystemExit):
        importlib.import_module(module)
model = keras.saving.load_model(f"{folder}/model.keras", safe_mode=SAFE_MODE)
with np.load(f"{folder}/inputs.npz") as arrays:
    inputs = [arrays[key] for key in arrays.files]
with open(f"{folder}/names.json") as file:
    names = json.load(file)
outputs = model(dict(zip(names, inputs)) if names else inputs[0], training=False)
np.save(f"{folder}/outputs.npy", outputs["output"] if isinstance(outputs, dict) else outputs)
"""


class ContractError(ConfigError):
    """A component doesn't keep a promise of its kind."""


@dataclass(frozen=True)
class Finding:
    """Whether a promise is kept, and the numbers that show it."""

    promise: str
    kept: bool
    numbers: str = ""


def collect(contract: Iterator[Finding]) -> list[Finding]:
    """Returns the findings of a contract; an exception counts as a promise that isn't kept."""
    findings: list[Finding] = []
    try:
        findings.extend(contract)
    except Exception as error:  # whatever a person's code raises
        findings.append(Finding("runs without an error", False, describe(error)))
    return findings


def describe(error: Exception) -> str:
    """Returns an error in one line; tfrun's own ones speak for themselves, others get the line that raised them."""
    message = " ".join(str(error).split())[:MAX_MESSAGE]
    if isinstance(error, TfrunError):
        return message
    where = "".join(f", {frame.filename}:{frame.lineno}" for frame in registry.plugin_frames(error)[-1:])
    return f"{type(error).__name__}: {message}{where}"


def compare(promise: str, actual: Any, *, expected: Any, tolerance: float = SAME) -> Finding:
    """Checks that two results agree.

    Args:
        promise: the promise that is kept if they do.
        actual, expected: tensors, or nested structures of them.
        tolerance: relative to the largest expected value, or absolute if that is below 1. Unless it is 0, values in
            half precision get a larger one.
    """
    pairs = [
        (np.asarray(a), np.asarray(b)) for a, b in zip(tf.nest.flatten(actual), tf.nest.flatten(expected), strict=True)
    ]
    if any(a.shape != b.shape for a, b in pairs):
        of_shapes = ", ".join(f"{a.shape} instead of {b.shape}" for a, b in pairs if a.shape != b.shape)
        return Finding(promise, False, f"the shape is {of_shapes}")
    if tolerance:
        tolerance = max([tolerance, *(HALF_TOLERANCES.get(array.dtype.name, 0.0) for pair in pairs for array in pair)])
    doubles = [(a.astype("float64"), b.astype("float64")) for a, b in pairs]
    off = max(float(np.max(np.abs(a - b), initial=0.0)) for a, b in doubles)
    size = max(float(np.max(np.abs(b), initial=1.0)) for _, b in doubles)
    return Finding(promise, off <= tolerance * size, f"off by {off:.2g}, allowed {tolerance * size:.2g}")


def check_compiled(run: Callable[[Any], Any], inputs: Any) -> Iterator[Finding]:
    """Checks that a function returns the same in Python, as a graph and compiled by XLA."""
    expected = run(inputs)
    for how, jit_compile in (("as a graph", False), ("compiled by XLA", True)):
        program = tf.function(run, jit_compile=jit_compile, autograph=False)
        promise = f"{how}, it returns the same as in Python"
        yield compare(promise, program(inputs), expected=expected, tolerance=CLOSE)


def check_rows_apart(run: Callable[[tf.Tensor], Any], x: tf.Tensor, *, result: str) -> Finding:
    """Checks that changing the last row of x changes no other row's result.

    Args:
        run: the function.
        x: its argument, (B, …).
        result: what it returns for an example, for the promise.
    """
    last = x[-1:] + 0.5 if x.dtype.is_floating else x[:1]
    changed = tf.convert_to_tensor(run(tf.concat([x[:-1], last], axis=0)))
    unchanged = tf.convert_to_tensor(run(x))
    promise = f"an example's {result} depends only on its own row"
    if unchanged.shape[:1] != x.shape[:1]:
        return Finding(promise, False, f"{shapes(x)} give {shapes(unchanged)}")
    return compare(promise, changed[:-1], expected=unchanged[:-1], tolerance=CLOSE)


def gradient(run: Callable[[tf.Tensor], Any], x: tf.Tensor) -> np.ndarray:
    """Returns the gradient of the sum of a function's values, by autodiff; 0 if they don't depend on x."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(run(x))
    slopes = tape.gradient(total, x, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return tf.convert_to_tensor(slopes).numpy()


def check_gradient(run: Callable[[tf.Tensor], Any], x: tf.Tensor) -> Finding:
    """Checks that autodiff agrees with central differences along some random directions, x in float64."""
    slopes = gradient(run, x)
    random = np.random.default_rng(2)
    actual, expected = [], []
    for _ in range(DIRECTIONS):  # a wrong element shows in any of them; each element by itself would take long
        direction = random.standard_normal(x.shape)
        above, below = (float(tf.reduce_sum(run(x + sign * DIFFERENCE * direction))) for sign in (1.0, -1.0))
        actual.append(np.sum(slopes * direction))
        expected.append((above - below) / (2 * DIFFERENCE))
    return compare("gradients agree with finite differences", actual, expected=expected, tolerance=CLOSE)


def check_config(component: Any, outputs: Callable[[Any], Any] | None = None) -> Iterator[Finding]:
    """Checks that a component can be made again from its config, as Keras does when it loads a model.

    Args:
        component: an object; one without `get_config` promises nothing here.
        outputs: returns what to compare of the object and of the one made again; None compares only their configs.
    """
    get_config = SavedOffer.of(component).get_config
    if get_config is None:
        return
    config = get_config()
    if not type(component).__module__.startswith("keras."):
        yield _check_config_is_complete(component, config)
    promise = "from_config(get_config()) makes an object with the same config"
    try:
        copy = type(component).from_config(config)
    except TypeError as error:  # a parameter that __init__ doesn't accept
        yield Finding(promise, False, str(error))
        return
    yield Finding(promise, copy.get_config() == config)
    if outputs is not None:
        yield compare("made again from its config, it returns the same", outputs(copy), expected=outputs(component))
    if isinstance(component, keras.optimizers.Optimizer):
        return  # a saved model has none
    registered = keras.saving.get_registered_object(keras.saving.get_registered_name(type(component)))
    is_found = registered is type(component)
    advice = "" if is_found else "put @keras.saving.register_keras_serializable() above the class"
    yield Finding("Keras finds its class when it loads a model", is_found, advice)


def _check_config_is_complete(component: Any, config: dict[str, Any]) -> Finding:
    """Checks that each parameter is in the config: what it lacks, is made again with its default."""
    parameters = inspect.signature(type(component)).parameters.values()
    named = [parameter.name for parameter in parameters if parameter.kind not in STARRED]
    missing = [name for name in named if name not in config and name not in RESERVED]
    return Finding("get_config has every parameter", not missing, ", ".join(missing))


def check_saved(model: keras.Model, inputs: Any, *, outputs: tf.Tensor) -> Finding:
    """Checks that a model returns the same once a new process has loaded it.

    Args:
        model: the model.
        inputs: a tensor, or a mapping of them.
        outputs: the model's outputs for them.
    """
    promise = "saved and loaded in a new process, it returns the same"
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder, "model.keras"))
        np.savez(Path(folder, "inputs.npz"), *tf.nest.flatten(inputs))
        Path(folder, "names.json").write_text(strict_json.dumps(sorted(inputs) if isinstance(inputs, dict) else []))
        search = [path for path in sys.path if path]
        # a SavedModel's function is a part of a model that only a person who trusts it loads
        is_safe = not any(isinstance(layer, keras.layers.TFSMLayer) for layer in private.layers_of(model))
        code = f"import sys; sys.path[:] = {search!r}\nSAFE_MODE = {is_safe}\n{LOADER}"
        command = [sys.executable, "-c", code, folder, *registry.modules()]
        process = subprocess.run(command, capture_output=True, text=True)
        if process.returncode:
            return Finding(promise, False, process.stderr.strip().splitlines()[-1][:MAX_MESSAGE])
        finding = compare(promise, np.load(Path(folder, "outputs.npy")), expected=outputs, tolerance=CLOSE)
        if not finding.kept and NOT_BUILT in process.stderr:
            return replace(finding, numbers=f"{finding.numbers}. {HOW_TO_BUILD}")
        return finding


def normal(*shape: int, dtype: str | None = None) -> tf.Tensor:
    """Returns the same normally distributed numbers at each call, as floats of the config's precision by default."""
    return tf.constant(np.random.default_rng(0).standard_normal(shape), dtype or keras.config.floatx())


def shapes(tensors: Any) -> str:
    """Returns the shapes of tensors, for the numbers of a finding."""
    return str(tf.nest.map_structure(lambda tensor: tuple(tensor.shape), tensors))
