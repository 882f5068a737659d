"""Config → objects. Below this module there is no config, only Keras objects, callables and plain values."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from tfrun.catalog import Catalog
from tfrun.engine.autograph import convert_layers, convertible
from tfrun.engine.data import Preprocessing
from tfrun.engine.hyperparameters import Hyperparameters
from tfrun.engine.loop import UNLIMITED
from tfrun.engine.split import Group, assign_groups
from tfrun.engine.step import Step
from tfrun.errors import ConfigError


@dataclass(frozen=True)
class Parts:
    """What a run is made of.

    Attributes:
        model: built, its variables exist.
        step: one training step over it.
        val_loss_mean, val_metrics: the evaluation's own mean of losses and metrics, in the order of the step's.
        inputs: the hyperparameters that are inputs of the program.
    """

    model: keras.Model
    step: Step
    val_loss_mean: keras.metrics.Mean
    val_metrics: list[keras.metrics.Metric]
    inputs: Hyperparameters


def build_parts(
    config: Mapping[str, Any],
    catalog: Catalog,
    strategy: tf.distribute.Strategy,
    preprocessing: Preprocessing,
    sample: tuple[Any, Any],
    total_steps: int,
) -> Parts:
    """Builds model, loss, metrics, optimizers and the step over them.

    Args:
        config: the normalized config.
        catalog: where components are looked up.
        strategy: everything with variables is made in its scope.
        preprocessing: what the data set looks like.
        sample: a few encoded examples (inputs, targets), to build and check shapes with.
        total_steps: the planned number of steps, for schedules.

    Raises:
        ConfigError: a component refuses its parameters, or shapes don't fit.
    """
    inputs = Hyperparameters()
    with strategy.scope():
        given = {"features": preprocessing.features, "num_outputs": preprocessing.num_outputs}
        model = build_component(catalog, "model", config["model"], "model", given)
        outputs = _call_model(model, sample[0])
        convert_layers(model)
        loss = build_loss(catalog, config["loss"], inputs)
        with inputs.not_noting():
            _check_outputs(loss, sample[1], outputs, preprocessing)
        groups = build_groups(config["optimizer"]["groups"], catalog, model, total_steps, inputs)
        metrics = [build_metrics(config["metric"], catalog, sample[1], outputs) for _ in range(2)]
        step = Step(
            strategy,
            model,
            build_component(catalog, "algorithm", config["algorithm"], "algorithm", inputs=inputs),
            loss,
            groups,
            keras.metrics.Mean("loss"),
            metrics[0],
            preprocessing.target,
        )
        return Parts(model, step, keras.metrics.Mean("loss"), metrics[1], inputs)


def build_component(
    catalog: Catalog,
    kind: str,
    config: Mapping[str, Any],
    where: str,
    given: Mapping[str, Any] | None = None,
    inputs: Hyperparameters | None = None,
) -> Any:
    """Calls a registered class or function with its parameters from the config.

    Args:
        catalog: where `config["name"]` is looked up.
        kind: the registry's kind.
        config: `name` and the component's own parameters.
        where: the config path, for messages.
        given: what the engine offers besides, passed on where the component has a parameter of that name.
        inputs: takes its floats as inputs of the program, where the component takes them so.
    """
    component = catalog.get(kind, config["name"], where).load()
    accepted = inspect.signature(component).parameters
    offered = {name: value for name, value in (given or {}).items() if name in accepted}
    own = {name: value for name, value in config.items() if name != "name"}
    if inputs is not None:
        try:
            return component(**inputs.wrap(where, own), **offered)
        except (ValueError, TypeError):  # Keras' SGD wants a float, for instance
            inputs.forget(where)
    try:
        return component(**own, **offered)
    except (ValueError, TypeError) as error:
        # Keras and people's own checks say what is wrong with a parameter this way
        raise ConfigError(f"{where}: {config['name']} refuses its parameters: {error}. Received: {own}") from error


def build_function(
    catalog: Catalog, kind: str, config: Mapping[str, Any], where: str, inputs: Hyperparameters | None = None
) -> Callable[..., Any]:
    """Returns a registered function with its parameters from the config filled in, or an object of a class."""
    component = catalog.get(kind, config["name"], where).load()
    if inspect.isclass(component):
        return build_component(catalog, kind, config, where, inputs=inputs)
    own = {name: value for name, value in config.items() if name != "name"}
    return functools.partial(component, **(own if inputs is None else inputs.wrap(where, own)))


def build_loss(
    catalog: Catalog, config: Mapping[str, Any], inputs: Hyperparameters | None = None
) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Returns a function (y_true, y_pred) → loss of each example, (B,); the engine averages it."""
    loss = build_function(catalog, "loss", config, "loss", inputs)
    per_example = convertible(loss.call if isinstance(loss, keras.losses.Loss) else loss)

    def call(y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        y_pred = tf.cast(y_pred, keras.config.floatx())  # mixed precision ends at the model's output
        values = tf.convert_to_tensor(per_example(y_true, y_pred))
        return tf.reduce_mean(values, axis=list(range(1, values.shape.rank))) if values.shape.rank > 1 else values

    return call


def build_metrics(
    config: Mapping[str, Mapping[str, Any]], catalog: Catalog, y_true: Any, y_pred: tf.Tensor
) -> list[keras.metrics.Metric]:
    """Returns the metrics, each named by its key, with their variables made."""
    metrics = []
    for key, own in config.items():
        where = f"metric.{key}"
        metric = build_function(catalog, "metric", own, where)
        if not isinstance(metric, keras.metrics.Metric):
            metric = keras.metrics.MeanMetricWrapper(convertible(metric))
        metric.name = key
        metric.update_state = convertible(metric.update_state)
        metric.update_state(y_true, y_pred)
        metric.reset_state()
        metrics.append(metric)
    return metrics


def build_groups(
    config: Mapping[str, Mapping[str, Any]],
    catalog: Catalog,
    model: keras.Model,
    total_steps: int,
    inputs: Hyperparameters,
) -> list[Group]:
    """Returns the optimizer groups, their optimizers built, with the proof that they cover the model."""
    patterns = {name: group["match"] for name, group in config.items()}
    optional = [name for name, group in config.items() if group["optional"]]
    groups = []
    for name, variables in assign_groups(patterns, model.trainable_variables, optional).items():
        own, where = config[name], f"optimizer.groups.{name}"
        if own["frozen"]:
            groups.append(Group(name, variables))
            continue
        rate = {} if own["learning_rate"] is None else {"learning_rate": own["learning_rate"]}  # a variable later on
        optimizer = build_component(catalog, "optimizer", {"name": own["name"], **own["params"]}, where, rate, inputs)
        # They are summed in the step already, and TensorFlow keeps every program that was traced with Keras' own sum.
        optimizer._all_reduce_sum_gradients = _as_they_are
        optimizer.name = own["name"]  # Keras numbers the names of several: adam, adam_1
        optimizer.build(variables)
        groups.append(
            Group(
                name,
                variables,
                optimizer,
                build_schedule(own["schedule"], catalog, f"{where}.schedule", total_steps, inputs),
                inputs.wrap(where, {"clip_norm": own["clip_norm"]})["clip_norm"],
                own["every"],
                tf.Variable(optimizer.learning_rate.value, trainable=False, name="base_learning_rate"),
            )
        )
    if not any(group.optimizer for group in groups):
        raise ConfigError("optimizer.groups: every group is frozen, so there is nothing to train")
    return groups


def _as_they_are(gradients: Any) -> Any:
    return gradients


def build_schedule(
    config: Mapping[str, Any] | None, catalog: Catalog, where: str, total_steps: int, inputs: Hyperparameters
) -> Callable[[tf.Tensor], tf.Tensor] | None:
    """Returns step → factor on the learning rate, or None for a constant rate."""
    if config is None:
        return None
    schedule = build_function(catalog, "schedule", config, where, inputs)
    if "total_steps" not in inspect.signature(schedule).parameters:
        return convertible(schedule)
    if total_steps == UNLIMITED:
        raise ConfigError(f"{where}: {config['name']} needs to know the run's length: trainer.max_epochs or max_steps")
    length = inputs.wrap(where, {"total_steps": float(total_steps)})
    return convertible(functools.partial(schedule, **length))


def _call_model(model: keras.Model, inputs: Any) -> tf.Tensor:
    try:
        outputs = model(inputs, training=False)
    except (ValueError, TypeError, KeyError, tf.errors.InvalidArgumentError) as error:
        shapes = tf.nest.map_structure(lambda array: tuple(array.shape), inputs)
        raise ConfigError(f"model: it can't take these inputs: {error}. Received shapes: {shapes}") from error
    return tf.convert_to_tensor(outputs)


def _check_outputs(loss: Any, y_true: Any, y_pred: tf.Tensor, preprocessing: Preprocessing) -> None:
    """Refuses shapes that would broadcast silently, (B,) against (B, 1) to (B, B) for instance."""
    batch, wanted = len(y_true), (len(y_true), preprocessing.num_outputs)
    if tuple(y_pred.shape) != wanted:
        raise ConfigError(
            f"model: its output must have the shape (batch, {preprocessing.num_outputs}) for this target. "
            f"Received: {tuple(y_pred.shape)} for a batch of {batch}"
        )
    shape = tuple(loss(tf.constant(y_true), y_pred).shape)
    if shape != (batch,):
        raise ConfigError(f"loss: it must give one value for each example, shape ({batch},). Received: {shape}")
