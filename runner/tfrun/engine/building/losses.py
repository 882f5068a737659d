"""Builds the loss and the metrics, and checks that they suit the targets and the model's outputs."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import tensorflow as tf

from tfrun.config.catalog import Catalog
from tfrun.config.component_settings import ComponentSettings
from tfrun.config.settings import MetricSettings
from tfrun.data.targets import FittedTarget, TargetScale, main_output, of_output
from tfrun.engine import private
from tfrun.engine.building.autograph import convertible
from tfrun.engine.building.components import build_function
from tfrun.engine.building.kinds import ONE_VALUE_EACH, checked_values, named, to_scalar, to_tensor
from tfrun.engine.training.class_weights import ClassWeights
from tfrun.engine.training.epoch_metrics import EpochMetrics, restore
from tfrun.engine.training.hyperparameters import Hyperparameters
from tfrun.engine.training.target_unit import TargetUnit
from tfrun.errors import ConfigError, unknown
from tfrun.protocols import MAIN_OUTPUT, LossOffer, MetricOffer, label

Loss = Callable[[Any, Any], tf.Tensor]


def build_loss(
    settings: ComponentSettings,
    catalog: Catalog,
    *,
    inputs: Hyperparameters | None = None,
    output_weights: Mapping[str, float] | None = None,
    tasks: Mapping[str, str] | None = None,
    class_weights: ClassWeights | None = None,
) -> Loss:
    """Returns a function (y_true, y_pred) → loss of each example, (B,); the engine averages it.

    Args:
        settings: the loss' name and parameters.
        catalog: the components that exist.
        inputs: collects its floats as inputs of the program.
        output_weights: the factors of the losses of a model's several outputs; 1 for an output without one.
        tasks: of the targets, by output.
        class_weights: of the rows' classes, in training.

    Raises:
        ConfigError: the loss can't be weighed by the classes of each output, or is for another task than a target's.
    """
    loss = build_function("loss", settings, catalog=catalog, where="loss", inputs=inputs)
    offer = LossOffer.of(loss)
    weights = output_weights or {}
    tasks = tasks or {}
    if offer.takes_all_outputs:
        for name, part in offer.losses.items():
            target_task = tasks.get(name, tasks.get(MAIN_OUTPUT))
            _check_task(f"loss.losses.{name}", part, task=LossOffer.of(part).task, target_task=target_task)
        if class_weights is not None:
            _weigh_parts(settings.name, offer, class_weights, tasks=tasks)
    else:
        for name, target_task in tasks.items():
            where = "loss" if name == MAIN_OUTPUT else f"loss: of target {name!r}"
            _check_task(where, loss, task=offer.task, target_task=target_task)
    per_example = convertible(loss.call if isinstance(loss, keras.losses.Loss) else loss)
    component = named("loss", settings, catalog, where="loss")

    def values(y_true: tf.Tensor, y_pred: Any, output: str = MAIN_OUTPUT) -> tf.Tensor:
        losses = to_tensor(per_example(y_true, y_pred), component, expected=ONE_VALUE_EACH)
        losses = tf.reduce_mean(losses, axis=list(range(1, losses.shape.rank))) if losses.shape.rank > 1 else losses
        if class_weights is None or offer.takes_all_outputs:
            return losses
        return class_weights.weigh(losses, y_true, target=output if output in tasks else MAIN_OUTPUT)

    def call(y_true: tf.Tensor, y_pred: Any) -> tf.Tensor:
        # mixed precision ends at the model's output
        y_pred = tf.nest.map_structure(lambda part: tf.cast(part, keras.config.floatx()), y_pred)
        if not isinstance(y_pred, dict) or offer.takes_all_outputs:
            return values(y_true, y_pred)
        return tf.add_n(
            [weights.get(name, 1.0) * values(of_output(y_true, name), part, name) for name, part in y_pred.items()]
        )

    return call


def _weigh_parts(name: str, offer: LossOffer, class_weights: ClassWeights, *, tasks: Mapping[str, str]) -> None:
    """Weighs each loss that a loss of all outputs consists of. Raises ConfigError if it doesn't say which these are."""
    if not isinstance(offer.losses, dict) or not offer.losses:
        raise ConfigError(
            f"data.class_weight: can't weigh the classes of each output in loss={name}, which takes all outputs at "
            "once. Use a loss for one output, or per_output"
        )

    def weighed(part: Any, output: str) -> Loss:
        per_example = part.call if isinstance(part, keras.losses.Loss) else part
        target = output if output in tasks else MAIN_OUTPUT
        return lambda y_true, y_pred: class_weights.weigh(per_example(y_true, y_pred), y_true, target=target)

    offer.losses.update({output: weighed(part, output) for output, part in offer.losses.items()})


def build_metrics(
    settings: Mapping[str, MetricSettings],
    catalog: Catalog,
    *,
    y_true: Any,
    y_pred: Any,
    targets: Mapping[str, FittedTarget],
    tasks: Mapping[str, str],
    units: Mapping[str, TargetUnit] | None = None,
) -> EpochMetrics:
    """Returns the metrics, each named by its key, with their variables made.

    Args:
        settings: the metrics by key.
        catalog: the components that exist.
        y_true, y_pred: a few targets and outputs of the model, to make the variables with.
        targets: the targets by output.
        tasks: their tasks by output; empty if the algorithm doesn't learn the data's targets.
        units: their units by output, as inputs of the program; None makes them constants.

    Raises:
        ConfigError: no such output, or a metric is for another task than its target's.
    """
    metrics: list[Any] = []
    rounding: list[str] = []
    scales = {name: target.scale for name, target in targets.items()}
    outputs = list(y_pred) if isinstance(y_pred, dict) else [MAIN_OUTPUT]
    for key, chosen in settings.items():
        if chosen.output not in outputs:
            raise unknown(f"metric.{key}.output", "output of the model", name=chosen.output, known=outputs)
        target_task = tasks.get(chosen.output, tasks.get(MAIN_OUTPUT))
        pair = of_output(y_true, chosen.output), of_output(y_pred, chosen.output)
        scale = scales.get(chosen.output, scales[MAIN_OUTPUT])
        build = functools.partial(_build_metric, key, chosen, catalog=catalog, target_task=target_task)
        metric = _in_float64(build, pair, scale=scale) if scale.needs_float64 else build(pair)
        if scale.needs_float64 and metric.dtype != "float64":
            rounding.append(key)
        metrics.append(metric)
    outputs = [chosen.output for chosen in settings.values()]
    return EpochMetrics(metrics, units or scales, outputs=outputs, rounding=rounding)


def _build_metric(
    key: str, chosen: MetricSettings, pair: tuple[Any, Any], *, catalog: Catalog, target_task: str | None
) -> keras.metrics.Metric:
    """Returns a metric whose variables are made, by a pair of (y_true, y_pred)."""
    where = f"metric.{key}"
    metric = build_function("metric", chosen, catalog=catalog, where=where)
    _check_task(where, metric, task=MetricOffer.of(metric).task, target_task=target_task)
    component = named("metric", chosen, catalog, where=where)
    if not isinstance(metric, keras.metrics.Metric):
        metric = keras.metrics.MeanMetricWrapper(checked_values(convertible(metric), component))
    metric.name = key
    private.replace_method(metric, "update_state", method=convertible(metric.update_state))
    with naming(f"{where}: {chosen.name}"):
        metric.update_state(*pair)
    if not component.is_shipped:
        to_scalar(metric.result(), component, expected="from result a scalar")
    metric.reset_state()
    return metric


def _in_float64(
    build: Callable[[tuple[Any, Any]], keras.metrics.Metric], pair: tuple[Any, Any], *, scale: TargetScale
) -> keras.metrics.Metric:
    """Returns a metric that computes in float64, or one in float32 if it can't."""
    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    try:
        return build((restore(scale, pair[0]), restore(scale, pair[1])))
    except (ConfigError, ValueError, TypeError, tf.errors.InvalidArgumentError):
        keras.config.set_floatx(before)
        return build(pair)
    finally:
        keras.config.set_floatx(before)


def check_outputs(loss: Loss, where: str, *, y_true: Any, y_pred: Any, targets: Mapping[str, FittedTarget]) -> None:
    """Refuses shapes that would broadcast silently, (B,) against (B, 1) to (B, B) for instance.

    Args:
        loss: the loss.
        where: its path and name, for messages.
        y_true, y_pred: a few targets and outputs of the model.
        targets: the targets by output.

    Raises:
        ConfigError: the shapes of the outputs or of the loss are wrong.
    """
    batch = len(main_output(y_true))
    outputs = y_pred if isinstance(y_pred, dict) else {MAIN_OUTPUT: y_pred}
    missing = [name for name in targets if name != MAIN_OUTPUT and name not in outputs]
    if missing:
        raise ConfigError(
            f"model: it must have an output for each of data.target, and has none for {', '.join(missing)}. "
            f"Received outputs: {', '.join(outputs)}. Use model=multi_task"
        )
    for name, output in outputs.items():
        wanted = of_output(dict(targets), name).num_outputs
        if tuple(output.shape) != (batch, wanted):
            raise ConfigError(
                f"model: its {name} must have the shape (batch, {wanted}) for this target. "
                f"Received: {tuple(output.shape)} for a batch of {batch}"
            )
    with naming(where):
        values = loss(tf.nest.map_structure(tf.constant, y_true), y_pred)
    if values.dtype.name != keras.config.floatx():
        raise ConfigError(f"{where} must give {keras.config.floatx()}. Received: {values.dtype.name}")
    shape = tuple(values.shape)
    if shape != (batch,):
        raise ConfigError(f"loss: it must give one value for each example, shape ({batch},). Received: {shape}")


@contextlib.contextmanager
def naming(component: str) -> Iterator[None]:
    """Adds the component's name to TensorFlow's dtype and shape errors."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        reason = " ".join(str(error.message).split())[:300]
        raise ConfigError(f"{component} mixes what can't be computed together: {reason}") from error


def _check_task(where: str, component: Any, *, task: str | None, target_task: str | None) -> None:
    if task and target_task and task != target_task:
        raise ConfigError(f"{where}: {label(component)} is for {task}, and its target for {target_task}")
