"""What a component of each kind must do, whoever wrote it; `tfrun check loss=huber` says whether it does.

A contract is a function that yields findings. It gets `make`, which makes the component anew, as a config would. Inputs
are small and random, from a fixed seed.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfrun.config import registry
from tfrun.engine.building import devices
from tfrun.errors import ConfigError
from tfrun.protocols import ABSENT, InitializerOffer, LayerOffer, LossOffer, MetricOffer, SavedOffer

ROWS = 8
FAR = 1e4  # where formulas overflow that are right near 0
DRAWS = (400, 600)  # a weight large enough to tell its variance
SAME, CLOSE, NEAR = 1e-6, 1e-5, 0.05  # tolerances: another order of the same sums, other kernels, a random draw
DIFFERENCE = 1e-6  # of a float64, to either side

Make = Callable[[], Any]


@dataclass(frozen=True)
class Finding:
    """Whether one promise is kept, and the numbers that say so."""

    promise: str
    kept: bool
    numbers: str = ""


def findings(kind: str, make: Make) -> list[Finding]:
    """Puts a component through its kind's contract.

    Args:
        kind: one of CONTRACTS.
        make: makes the component.

    Raises:
        ConfigError: the component refuses its parameters.
    """
    make()
    return collected(CONTRACTS[kind](make))


def collected(contract: Iterator[Finding]) -> list[Finding]:
    """Returns what a contract found; an exception on the way is a promise that isn't kept."""
    found: list[Finding] = []
    try:
        found.extend(contract)
    except Exception as error:  # whatever a person's code raises
        found.append(Finding("runs", False, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"))
    return found


def _loss(make: Make) -> Iterator[Finding]:
    made = make()
    call = made.call if isinstance(made, keras.losses.Loss) else made
    for y, y_pred in _accepted(call, LossOffer.of(made).task or "regression"):
        values = tf.convert_to_tensor(call(y, y_pred))
        given = f"{_shapes(y)} and {_shapes(y_pred)} give {_shapes(values)}"
        yield Finding("gives each example a value", values.shape in ((ROWS,), y_pred.shape), given)

        def of(y_pred: tf.Tensor, y: tf.Tensor = y) -> tf.Tensor:
            return call(tf.cast(y, y_pred.dtype) if y.dtype.is_floating else y, y_pred)

        turned = tf.roll(call(tf.roll(y, 1, axis=0), tf.roll(y_pred, 1, axis=0)), -1, axis=0)
        yield near("an example's value moves with its row", turned, values, CLOSE)
        yield _by_row("an example's value depends on its own row only", of, y_pred)
        yield from compiled(of, y_pred)
        yield _differentiable(of, tf.cast(y_pred, tf.float64))
        finite = np.isfinite(_gradient(of, FAR * y_pred)).all()
        yield Finding("gradients are finite where errors are huge", bool(finite), f"predictions × {FAR:g}")
        if isinstance(made, keras.losses.Loss):
            each = np.asarray(values).reshape(ROWS, -1).mean(axis=1)
            weights = np.linspace(0.0, 2.0, ROWS, dtype="float32")
            yield near("as a whole it is the examples' mean", made(y, y_pred), each.mean())
            weighed = made(y, y_pred, sample_weight=tf.constant(weights))
            yield near("a weight multiplies its example's value", weighed, (weights * each).mean())
            yield from made_again(made, partial(_call, y=y, y_pred=y_pred))


def _metric(make: Make) -> Iterator[Finding]:
    def fresh() -> keras.metrics.Metric:
        made = make()
        return made if isinstance(made, keras.metrics.Metric) else keras.metrics.MeanMetricWrapper(made)

    def value(*batches: tuple[Any, ...]) -> float:
        own = fresh()
        for y, y_pred, weights in batches:
            own.update_state(y, y_pred, sample_weight=weights)
        return float(own.result())

    task = MetricOffer.of(make()).task or "regression"
    for y, y_pred in _accepted(lambda y, y_pred: fresh().update_state(y, y_pred), task):
        whole = value((y, y_pred, None))
        cut = value(*[(y[a:b], y_pred[a:b], None) for a, b in ((0, 1), (1, 4), (4, ROWS))])
        yield near("the result doesn't depend on how rows fall into batches", cut, whole)
        yield near("weights of 1 change nothing", value((y, y_pred, tf.ones([ROWS]))), whole)
        weights = tf.constant([2.0, 0.0] + [1.0] * (ROWS - 2))
        rows = [0, 0, *range(2, ROWS)]
        repeated = value((tf.gather(y, rows), tf.gather(y_pred, rows), None))
        yield near("a weight of 2 counts a row twice, 0 leaves it out", value((y, y_pred, weights)), repeated)
        own = fresh()
        own.update_state(y[:4], y_pred[:4])
        own.reset_state()
        own.update_state(y, y_pred)
        yield near("a reset leaves nothing behind", own.result(), whole)
        own = fresh()
        tf.function(own.update_state, jit_compile=True, autograph=False)(y, y_pred)
        yield near("as XLA's program it gives the same as in Python", own.result(), whole, CLOSE)
    if isinstance(make(), keras.metrics.Metric):
        yield from made_again(make())


def _layer(make: Make) -> Iterator[Finding]:
    made = make()
    inputs = _inputs_of(made, make)
    made(inputs)  # builds it
    outputs = made(inputs, training=False)
    finite = all(np.isfinite(np.asarray(part, "float64")).all() for part in tf.nest.flatten(outputs))
    yield Finding("outputs are finite", finite, f"{_shapes(inputs)} give {_shapes(outputs)}")
    if type(made).compute_output_shape is not keras.layers.Layer.compute_output_shape:
        told = made.compute_output_shape(tf.nest.map_structure(lambda part: tuple(part.shape), inputs))
        kept = tuple(told) == tuple(outputs.shape)
        yield Finding("compute_output_shape tells their shape", kept, f"it tells {tuple(told)}")
    yield near("outside of training it always gives the same", made(inputs, training=False), outputs, 0.0)
    yield from compiled(lambda x: made(x, training=False), inputs)
    if tf.is_tensor(inputs) and outputs.dtype.is_floating:
        yield _by_row("an example's output depends on its own row only", lambda x: made(x, training=False), inputs)
    if tf.is_tensor(inputs) and inputs.dtype.is_floating and outputs.dtype.is_floating:
        with devices.dtype_policy("float64"):
            exact = make()
            wide = tf.cast(inputs, tf.float64)
            exact(wide)
            yield _differentiable(lambda x: exact(x, training=False), wide)
    if made.trainable_variables:
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(tf.square(made(inputs, training=True)))
        gradients = tape.gradient(total, [variable.value for variable in made.trainable_variables])
        unused = [v.path for v, own in zip(made.trainable_variables, gradients, strict=True) if own is None]
        yield Finding("every trainable weight gets a gradient", not unused, ", ".join(unused))

    def with_weights(one: Any) -> Any:
        one(inputs)
        one.set_weights(made.get_weights())
        return one(inputs, training=False)

    yield from made_again(made, with_weights)
    if tf.is_tensor(inputs):
        symbolic = keras.Input(inputs.shape[1:], dtype=inputs.dtype.name)
        yield saved(keras.Model(symbolic, made(symbolic)), inputs, outputs)


def _activation(make: Make) -> Iterator[Finding]:
    made, x = make(), _normal(ROWS, 6)
    y = tf.convert_to_tensor(made(x))
    yield Finding("keeps shape and dtype", (y.shape, y.dtype) == (x.shape, x.dtype), f"{y.dtype.name} {_shapes(y)}")
    yield from compiled(made, x)
    yield _differentiable(made, tf.cast(x, tf.float64))
    far = tf.constant([-FAR, -100.0, -1.0, 0.0, 1.0, 100.0, FAR])
    finite = np.isfinite([made(far), _gradient(made, far)]).all()
    yield Finding(f"values and gradients are finite from −{FAR:g} to {FAR:g}", bool(finite))
    yield from made_again(made, lambda one: one(x))


def _initializer(make: Make) -> Iterator[Finding]:
    made = make()
    for dtype in ("float32", "float64"):
        drawn = tf.convert_to_tensor(made(DRAWS, dtype=dtype))
        right = (drawn.dtype.name, tuple(drawn.shape)) == (dtype, DRAWS)
        yield Finding(f"gives the shape asked for, in {dtype}", right, f"{drawn.dtype.name} {_shapes(drawn)}")
    values = np.asarray(made(DRAWS), "float64")
    spread = f"mean {values.mean():.2g}, variance {values.var():.4g} for {DRAWS}"
    yield Finding("values are finite", bool(np.isfinite(values).all()), spread)
    offer = InitializerOffer.of(made)
    if offer.variance is not None:
        claimed = offer.variance(*DRAWS)
        kept = abs(values.var() / claimed - 1) < NEAR and abs(values.mean()) < 5 * math.sqrt(claimed / values.size)
        yield Finding("has mean 0 and the variance it claims", kept, f"{values.var():.4g}, claimed {claimed:.4g}")
    if values.std() > 0 and offer.seed is not ABSENT:
        again = np.array_equal(values, np.asarray(made(DRAWS), "float64"))
        promise = "each call draws anew" if offer.seed is None else "its seed gives the same values again"
        yield Finding(promise, again == (offer.seed is not None))
    yield from made_again(made)


def _regularizer(make: Make) -> Iterator[Finding]:
    made, w = make(), _normal(6, 4)
    value = tf.convert_to_tensor(made(w))
    yield Finding("gives a scalar, at least 0", value.shape == () and float(value) >= 0, f"{float(value):.4g}")
    yield from compiled(made, w)
    yield _differentiable(made, tf.cast(w, tf.float64))
    yield from made_again(made, lambda one: one(w))


def _constraint(make: Make) -> Iterator[Finding]:
    made, w = make(), 3.0 * _normal(6, 4)
    held = tf.convert_to_tensor(made(w))
    yield Finding("keeps shape and dtype", (held.shape, held.dtype) == (w.shape, w.dtype), _shapes(held))
    yield near("leaves alone what it has held", made(held), held)
    yield from compiled(made, w)
    yield from made_again(made, lambda one: one(w))


def _optimizer(make: Make) -> Iterator[Finding]:
    def trained(compile: Callable[[Any], Any]) -> tuple[list[float], np.ndarray]:
        own, w = make(), keras.Variable([[3.0, -2.0], [1.0, 0.5]], name="w")
        own.build([w])

        def step() -> tf.Tensor:
            with tf.GradientTape() as tape:
                total = tf.reduce_sum(tf.square(w.value))
            own.apply([tape.gradient(total, w.value)], [w])
            return total

        run = compile(step)
        return [float(run()) for _ in range(20)], w.numpy()

    losses, weights = trained(lambda step: step)
    yield Finding("20 steps bring ‖w‖² down", losses[-1] < losses[0], f"{losses[0]:.6g} to {losses[-1]:.6g}")
    _, by_xla = trained(lambda step: tf.function(step, jit_compile=True, autograph=False))
    yield near("as XLA's program it takes the same steps as in Python", by_xla, weights, CLOSE)
    made = make()
    made.learning_rate = 0.123
    yield near("its learning rate can be set", made.learning_rate, 0.123)
    yield from made_again(made)


def _schedule(make: Make) -> Iterator[Finding]:
    made, total = make(), 1000
    offered = {"total_steps": total, "steps_per_epoch": total // 10}
    given = {name: value for name, value in offered.items() if name in inspect.signature(made).parameters}
    factor = tf.function(lambda step: tf.convert_to_tensor(made(step=step, **given)), autograph=False)
    values = {step: factor(tf.constant(step, tf.int64)) for step in (0, 1, total // 2, total - 1, total, 2 * total)}
    good = all(value.shape == () and np.isfinite(value) and value >= 0 for value in values.values())
    shown = ", ".join(f"{step}: {float(value):.4g}" for step, value in values.items())
    yield Finding("gives a finite factor, at least 0, at every step", good, shown)


CONTRACTS: dict[str, Callable[[Make], Iterator[Finding]]] = {
    "activation": _activation,
    "constraint": _constraint,
    "initializer": _initializer,
    "layer": _layer,
    "loss": _loss,
    "metric": _metric,
    "optimizer": _optimizer,
    "regularizer": _regularizer,
    "schedule": _schedule,
}


def _normal(*shape: int) -> tf.Tensor:
    return tf.constant(np.random.default_rng(0).standard_normal(shape), "float32")


def _accepted(call: Callable[..., Any], task: str) -> list[tuple[tf.Tensor, tf.Tensor]]:
    """Returns the targets and predictions of the task that a loss or a metric is for."""
    random = np.random.default_rng(1)
    classes = [tf.constant(random.permutation(np.arange(ROWS)[:, None] % k)) for k in (2, 3)]
    offers = {
        "regression": [(tf.constant(random.standard_normal((ROWS, 1)), "float32"), _normal(ROWS, 1))],
        "classification": [
            (tf.cast(classes[0], "float32"), _normal(ROWS, 1)),
            (tf.cast(classes[1], "int32"), _normal(ROWS, 3)),
        ],
    }[task]
    accepted = []
    for y, y_pred in offers:
        with contextlib.suppress(ConfigError):  # it is for another number of classes
            call(y, y_pred)
            accepted.append((y, y_pred))
    return accepted or offers


def _call(made: Any, y: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
    return made.call(y, y_pred)


def _inputs_of(made: Any, make: Make) -> Any:
    """Returns what the layer gives as an example itself, or else rows or sequences, whichever it takes."""
    example_inputs = LayerOffer.of(made).example_inputs
    if example_inputs is not None:
        return example_inputs()
    rows = _normal(ROWS, 6)
    try:
        make()(rows)
        return rows
    except (ValueError, TypeError, IndexError, tf.errors.InvalidArgumentError):
        return _normal(ROWS, 5, 6)


def _shapes(tensors: Any) -> str:
    return str(tf.nest.map_structure(lambda part: tuple(part.shape), tensors))


def near(promise: str, actual: Any, expected: Any, tolerance: float = SAME) -> Finding:
    """Whether two results agree, relative to the largest value where that is above 1."""
    pairs = zip(tf.nest.flatten(actual), tf.nest.flatten(expected), strict=True)
    arrays = [(np.asarray(a, "float64"), np.asarray(b, "float64")) for a, b in pairs]
    off = max(float(np.max(np.abs(a - b), initial=0.0)) for a, b in arrays)
    size = max(float(np.max(np.abs(b), initial=1.0)) for _, b in arrays)
    return Finding(promise, off <= tolerance * size, f"off by {off:.2g}, allowed {tolerance * size:.2g}")


def compiled(run: Callable[[Any], Any], inputs: Any) -> Iterator[Finding]:
    """Whether a graph and XLA's program give what Python gives."""
    expected = run(inputs)
    for what, jit in (("a graph", False), ("XLA's program", True)):
        program = tf.function(run, jit_compile=jit, autograph=False)
        yield near(f"as {what} it gives the same as in Python", program(inputs), expected, CLOSE)


def _by_row(promise: str, run: Callable[[tf.Tensor], Any], x: tf.Tensor) -> Finding:
    changed = tf.concat([x[:-1], x[-1:] + 0.5 if x.dtype.is_floating else x[:1]], axis=0)
    return near(promise, tf.convert_to_tensor(run(changed))[:-1], tf.convert_to_tensor(run(x))[:-1], CLOSE)


def _gradient(run: Callable[[tf.Tensor], Any], x: tf.Tensor) -> np.ndarray:
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(run(x))
    return tf.convert_to_tensor(tape.gradient(total, x)).numpy()


def _differentiable(run: Callable[[tf.Tensor], Any], x: tf.Tensor) -> Finding:
    """Whether autodiff agrees with central differences along each element of x, float64."""
    differences = np.zeros(x.shape)
    for place in np.ndindex(*x.shape):
        offset = np.zeros(x.shape)
        offset[place] = DIFFERENCE
        above, below = (float(tf.reduce_sum(run(x + sign * offset))) for sign in (1.0, -1.0))
        differences[place] = (above - below) / (2 * DIFFERENCE)
    return near("gradients agree with finite differences", _gradient(run, x), differences, CLOSE)


def made_again(made: Any, outputs: Callable[[Any], Any] | None = None) -> Iterator[Finding]:
    """Whether an object made again from its config is the same, as it is when a model is loaded."""
    get_config = SavedOffer.of(made).get_config
    if get_config is None:
        return
    config, promise = get_config(), "from_config(get_config()) makes the same again"
    try:
        again = type(made).from_config(config)
    except TypeError as error:  # a parameter that __init__ doesn't take
        yield Finding(promise, False, str(error))
        return
    yield Finding(promise, again.get_config() == config)
    if outputs is not None:
        yield near("made again it gives the same", outputs(again), outputs(made))
    if isinstance(made, keras.optimizers.Optimizer):
        return
    found = keras.saving.get_registered_object(keras.saving.get_registered_name(type(made))) is type(made)
    advice = "" if found else "put @keras.saving.register_keras_serializable() above the class"
    yield Finding("Keras finds it when it loads a model", found, advice)


LOADER = """
import contextlib, importlib, json, sys
import keras, numpy as np
folder, *modules = sys.argv[1:]
for module in modules:
    with contextlib.suppress(Exception, SystemExit):
        importlib.import_module(module)
model = keras.saving.load_model(f"{folder}/model.keras")
with np.load(f"{folder}/inputs.npz") as arrays:
    inputs = [arrays[key] for key in arrays.files]
with open(f"{folder}/names.json") as file:
    names = json.load(file)
outputs = model(dict(zip(names, inputs)) if names else inputs[0], training=False)
np.save(f"{folder}/outputs.npy", outputs["output"] if isinstance(outputs, dict) else outputs)
"""


def saved(model: keras.Model, inputs: Any, outputs: tf.Tensor) -> Finding:
    """Whether a model gives the same for a tensor, or a mapping of them, when another process has loaded it."""
    promise = "saved, and loaded in a fresh process, it gives the same"
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder, "model.keras"))
        np.savez(Path(folder, "inputs.npz"), *tf.nest.flatten(inputs))
        Path(folder, "names.json").write_text(json.dumps(sorted(inputs) if isinstance(inputs, dict) else []))
        search = [path for path in sys.path if path]
        code = f"import sys; sys.path[:] = {search!r}\n{LOADER}"
        command = [sys.executable, "-c", code, folder, *registry.modules()]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            return Finding(promise, False, done.stderr.strip().splitlines()[-1][:300])
        return near(promise, np.load(Path(folder, "outputs.npy")), outputs, CLOSE)


class ContractError(ConfigError):
    """A component doesn't keep what its kind promises."""
