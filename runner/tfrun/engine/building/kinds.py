"""Validates what components are and what they return: a wrong one ends the run with a line that names it.

A component is validated when it is built. What it returns is validated where the engine calls it, which is while a step
is traced, so that training takes no longer. An exception that a person's code raises itself is left as it is.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Any

import keras
import tensorflow as tf

from tfrun.config.catalog import Catalog
from tfrun.config.component_settings import ComponentSettings
from tfrun.data.targets import FittedTarget, main_output, of_output
from tfrun.engine.building import random_state
from tfrun.errors import ConfigError
from tfrun.protocols import AlgorithmOffer, AugmentationOffer

MAX_RECEIVED = 100  # characters of a value in a message
ONE_VALUE_EACH = "a value for each example, (B,)"


@dataclass(frozen=True)
class Named:
    """A component of a config, for messages.

    Attributes:
        where: its path in the config.
        name: its registered name.
        origin: the file and the line that define it.
        is_shipped: whether it is tfrun's own.
    """

    where: str
    name: str
    origin: str
    is_shipped: bool = False

    def refuse(self, rule: str, received: Any) -> ConfigError:
        """Returns the error for a component that breaks a rule, a sentence without its subject."""
        return ConfigError(f"{self.where}: {self.name} ({self.origin}) {rule}. Received: {_describe(received)}")


def _describe(value: Any) -> str:
    """Returns a value in a few words; a text as it is."""
    if isinstance(value, tuple | list):
        return f"{len(value)} values"
    if tf.is_tensor(value):
        return f"a tensor of the shape {tuple(value.shape)}"
    return value if isinstance(value, str) else repr(value)[:MAX_RECEIVED]


def named(kind: str, settings: ComponentSettings, catalog: Catalog, *, where: str) -> Named:
    """Returns how messages name a component."""
    component = catalog.get(kind, settings.name, where=where)
    return Named(where, settings.name, component.origin, is_shipped=component.is_shipped)


@dataclass(frozen=True)
class Kind:
    """What a component of a kind must be: an object of a class, or a function.

    Attributes:
        expected: both in words.
        base: the class, or None.
        methods: those that an object must define itself; the names of the arguments that each is called with, or None
            if these depend on who calls it. A name that ends with `=` is passed by keyword; one that ends with `?`
            too, if there is such a parameter.
        function: likewise the names of a function's arguments; None if it can't be a function.
    """

    expected: str
    base: type | None = None
    methods: Mapping[str, Sequence[str] | None] = field(default_factory=dict)
    function: Sequence[str] | None = None


Y = ("y_true", "y_pred")
KINDS = {
    "activation": Kind("a function (x)", function=("x",)),
    "constraint": Kind("a function (w)", function=("w",)),
    "initializer": Kind("a function (shape, dtype)", function=("shape", "dtype=")),
    "layer": Kind("a keras.layers.Layer", keras.layers.Layer, {"call": None}),
    "loss": Kind("a keras.losses.Loss or a function (y_true, y_pred)", keras.losses.Loss, {"call": Y}, function=Y),
    "metric": Kind(
        "a keras.metrics.Metric or a function (y_true, y_pred)",
        keras.metrics.Metric,
        {"update_state": (*Y, "sample_weight="), "result": ()},
        function=Y,
    ),
    "model": Kind("a keras.Model", keras.Model, {"call": ("inputs",)}),
    "optimizer": Kind(
        "a keras.optimizers.Optimizer",
        keras.optimizers.Optimizer,
        {"update_step": ("gradient", "variable", "learning_rate")},
    ),
    "regularizer": Kind("a function (w)", function=("w",)),
    "schedule": Kind("a function (step)", function=("step", "total_steps?", "steps_per_epoch?")),
}
CALLED_BY_KERAS = ("activation", "constraint", "initializer", "regularizer")
ALGORITHM = {
    "forward": ("model", "loss", "x", "y"),
    "evaluate": ("model", "loss", "x", "y"),
    "gradients": ("differentiate", "variables"),
}


AUGMENTATION, MIXING = ("values", "draws"), ("values", "others", "draws")


def check_built(kind: str, built: Any, component: Named) -> None:
    """Checks that an object or a function is what its kind must be, and takes the arguments that it is called with.

    Raises:
        ConfigError: it isn't, or doesn't.
    """
    if kind == "algorithm":
        _check_algorithm(built, component)
        return
    if kind == "augmentation":
        if not callable(built) or inspect.isclass(built):
            raise component.refuse("must be a class whose objects can be called with (values, draws)", built)
        _check_arguments(built, MIXING if AugmentationOffer.of(built).mixes else AUGMENTATION, component=component)
        return
    needed = KINDS[kind]
    if needed.base is not None and isinstance(built, needed.base):
        for method, names in needed.methods.items():
            if _inherits(built, method, needed.base):
                raise component.refuse(f"must have a method {method}", f"{type(built).__name__} without it")
            if names is not None:
                _check_arguments(attrgetter(method)(built), names, component=component, method=method)
    elif needed.function is not None and callable(built) and not inspect.isclass(built):
        _check_arguments(built, needed.function, component=component)
        if kind in CALLED_BY_KERAS and not component.is_shipped and _returns_nothing(kind, built):
            raise component.refuse("must return a tensor", "None")
    else:
        raise component.refuse(f"must be {needed.expected}", built)


def _returns_nothing(kind: str, function: Callable[..., Any]) -> bool:
    """Returns whether a function that Keras will call returns None. It is traced, so that it computes nothing."""
    returned = []

    def call(x: tf.Tensor) -> None:
        returned.append(function(tuple(x.shape), dtype=x.dtype.name) if kind == "initializer" else function(x))

    with contextlib.suppress(Exception), random_state.kept():  # it may need another shape
        tf.function(call, autograph=False).get_concrete_function(tf.TensorSpec([2, 2], keras.config.floatx()))
    return returned == [None]


def _inherits(built: Any, method: str, base: type) -> bool:
    """Returns whether a method is the base class' own, which raises NotImplementedError."""
    if method == "update_step" and type(built).apply is not keras.optimizers.Optimizer.apply:
        return False  # it does the whole update itself, as Keras' LossScaleOptimizer does
    return inspect.getattr_static(built, method) is inspect.getattr_static(base, method)


def _check_algorithm(built: Any, component: Named) -> None:
    try:
        offer = AlgorithmOffer.of(built)
    except ConfigError:
        received = "None" if built is None else f"a {type(built).__name__} without it"
        raise component.refuse("must have a method forward(model, loss, x, y)", received) from None
    methods = {"forward": offer.forward, "evaluate": offer.evaluate, "gradients": offer.gradients}
    for method, call in methods.items():
        if call is not None:
            _check_arguments(call, ALGORITHM[method], component=component, method=method)


def _check_arguments(
    function: Callable[..., Any], names: Sequence[str], *, component: Named, method: str | None = None
) -> None:
    """Checks that a function can be called with arguments; `Kind` explains their names."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # a function of C may have none
        return
    by_position = [name for name in names if name[-1] not in "=?"]
    by_keyword = [
        name[:-1] for name in names if name[-1] == "=" or name[-1] == "?" and name[:-1] in signature.parameters
    ]
    listed = ", ".join((*by_position, *by_keyword))
    rule = f"must take the arguments ({listed})" if method is None else f"must have a method {method}({listed})"
    received = f"({', '.join(signature.parameters)})"
    try:
        bound = signature.bind(*by_position, **dict.fromkeys(by_keyword)).arguments
    except TypeError:
        raise component.refuse(rule, received) from None
    if any(name in by_position and value not in (name, None) for name, value in bound.items()):
        raise component.refuse(f"{rule}, in this order", received)


def to_tensor(value: Any, component: Named, *, expected: str) -> tf.Tensor:
    """Returns as a tensor of numbers what a component has returned.

    Args:
        value: what it has returned.
        component: for the message.
        expected: what it must return, in words.

    Raises:
        ConfigError: it is none.
    """
    try:
        tensor = tf.convert_to_tensor(value)
    except (ValueError, TypeError):
        raise component.refuse(f"must return {expected}", value) from None
    if tensor.dtype in (tf.string, tf.bool):
        raise component.refuse(f"must return {expected}", f"{tensor.dtype.name} {tuple(tensor.shape)}")
    return tensor


def to_scalar(value: Any, component: Named, *, expected: str) -> tf.Tensor:
    """Returns as a scalar tensor what a component has returned. Raises ConfigError if it is none."""
    tensor = to_tensor(value, component, expected=expected)
    if tensor.shape.rank != 0:
        raise component.refuse(f"must return {expected}", f"the shape {tuple(tensor.shape)}")
    return tensor


def checked_schedule(schedule: Callable[[tf.Tensor], Any], component: Named) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns a schedule whose factors are checked while the step is traced."""

    def factor(step: tf.Tensor) -> tf.Tensor:
        return to_scalar(schedule(step), component, expected="a factor, a scalar")

    return factor


def checked_values(function: Callable[..., Any], component: Named) -> Callable[..., tf.Tensor]:
    """Returns a metric's function whose values are checked while the step is traced."""

    @functools.wraps(function)
    def values(y_true: Any, y_pred: Any) -> tf.Tensor:
        return to_tensor(function(y_true, y_pred), component, expected=ONE_VALUE_EACH)

    return values


def checked_augmentation(augmentation: Callable[..., Any], component: Named, *, mixes: bool) -> Callable[..., Any]:
    """Returns an augmentation whose results are checked while the step is traced."""

    def like(values: tf.Tensor, changed: Any) -> tf.Tensor:
        expected = "values of the shape and dtype of those that it gets"
        tensor = to_tensor(changed, component, expected=expected)
        if (tensor.shape, tensor.dtype) != (values.shape, values.dtype):
            received = f"{tensor.dtype.name} {tuple(tensor.shape)} for {values.dtype.name} {tuple(values.shape)}"
            raise component.refuse(f"must return {expected}", received)
        return tensor

    def mix(values: tf.Tensor, others: tf.Tensor, draws: Any) -> tuple[tf.Tensor, tf.Tensor]:
        mixed, share = _unpack(augmentation(values, others, draws), ("values", "share"), component=component)
        expected = "the share of each row's own values, (B,)"
        tensor = to_tensor(share, component, expected=expected)
        if tensor.shape != values.shape[:1]:
            raise component.refuse(f"must return {expected}", f"the shape {tuple(tensor.shape)}")
        return like(values, mixed), tensor

    return mix if mixes else lambda values, draws: like(values, augmentation(values, draws))


def checked_algorithm(
    algorithm: AlgorithmOffer, component: Named, *, targets: Mapping[str, FittedTarget]
) -> AlgorithmOffer:
    """Returns an algorithm whose results are checked while the step is traced.

    Args:
        algorithm: the algorithm.
        component: for messages.
        targets: those that it learns, by the model's output; not used if it has targets of its own.
    """
    checked = _CheckedAlgorithm(algorithm, component, targets)
    return replace(
        algorithm,
        forward=checked.forward,
        evaluate=None if algorithm.evaluate is None else checked.evaluate,
        gradients=None if algorithm.gradients is None else checked.gradients,
    )


@dataclass(frozen=True)
class _CheckedAlgorithm:
    """The methods of an algorithm, each of which checks what the algorithm's own one returns."""

    algorithm: AlgorithmOffer
    component: Named
    targets: Mapping[str, FittedTarget]

    def forward(self, model: Any, loss: Any, x: Any, y: Any) -> tuple[Any, Any]:
        returned = self.algorithm.forward(model, loss, x, y)
        total, y_pred = _unpack(returned, ("total", "y_pred"), component=self.component, method="forward")
        expected = "from forward a scalar to minimize, or one for each optimizer group"
        for value in total.values() if isinstance(total, dict) else [total]:
            to_scalar(value, self.component, expected=expected)
        self._check_predictions(y, y_pred)
        return total, y_pred

    def evaluate(self, model: Any, loss: Any, x: Any, y: Any) -> tuple[Any, Any]:
        assert self.algorithm.evaluate is not None
        returned = self.algorithm.evaluate(model, loss, x, y)
        losses, y_pred = _unpack(returned, ("losses", "y_pred"), component=self.component, method="evaluate")
        expected = "from evaluate a loss for each example, (B,)"
        shape = to_tensor(losses, self.component, expected=expected).shape
        if not shape.is_compatible_with((main_output(y).shape[0],)):
            raise self.component.refuse(f"must return {expected}", f"the shape {tuple(shape)}")
        self._check_predictions(y, y_pred)
        return losses, y_pred

    def gradients(self, differentiate: Any, variables: Sequence[Any]) -> tuple[Any, Any, Any]:
        assert self.algorithm.gradients is not None
        returned = self.algorithm.gradients(differentiate, variables)
        names = ("loss", "y_pred", "gradients")
        loss, y_pred, by_variable = _unpack(returned, names, component=self.component, method="gradients")
        to_scalar(loss, self.component, expected="from gradients a scalar loss")
        if not isinstance(by_variable, list | tuple) or len(by_variable) != len(variables):
            rule = f"must return from gradients a list of {len(variables)}, one for each trained variable"
            raise self.component.refuse(rule, by_variable)
        return loss, y_pred, list(by_variable)

    def _check_predictions(self, y: Any, y_pred: Any) -> None:
        if self.algorithm.own_targets:
            return
        num_rows = main_output(y).shape[0]
        for name, output in y_pred.items() if isinstance(y_pred, dict) else [("y_pred", y_pred)]:
            tensor = to_tensor(output, self.component, expected="y_pred, a prediction for each example")
            needed = (num_rows, of_output(dict(self.targets), name).num_outputs)
            if not tensor.shape.is_compatible_with(needed):
                rule = f"must return predictions of the shape (batch, {needed[1]})"
                raise self.component.refuse(rule, f"{tuple(tensor.shape)} for a batch of {num_rows}")


def _unpack(returned: Any, names: Sequence[str], *, component: Named, method: str | None = None) -> Sequence[Any]:
    """Returns what a component, or a method of it, has returned. Raises ConfigError if the number is wrong."""
    if not isinstance(returned, list | tuple) or len(returned) != len(names):
        place = "" if method is None else f"from {method} "
        raise component.refuse(f"must return {place}({', '.join(names)})", returned)
    return returned
