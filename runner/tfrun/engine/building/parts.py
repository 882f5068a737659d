"""Config → objects. Below this module there is no config, only Keras objects, callables and plain values."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from tfrun.config.catalog import Catalog
from tfrun.config.settings import ComponentSettings, GroupSettings, MetricSettings, Settings
from tfrun.config.types import map_references
from tfrun.data.preprocessing import Preprocessing
from tfrun.data.targets import MAIN_OUTPUT, main_output, of_output
from tfrun.engine import private
from tfrun.engine.building.autograph import convert_layers, convertible
from tfrun.engine.training.averages import AveragedWeights
from tfrun.engine.training.groups import Group, assign_groups
from tfrun.engine.training.hyperparameters import Hyperparameters
from tfrun.engine.training.loop import UNLIMITED, Plan
from tfrun.engine.training.loss_scale import LossScale
from tfrun.engine.training.skips import Skips
from tfrun.engine.training.step import Step, learns_targets
from tfrun.errors import ConfigError, unknown


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
    settings: Settings,
    catalog: Catalog,
    strategy: tf.distribute.Strategy,
    preprocessing: Preprocessing,
    sample: tuple[Any, Any],
    plan: Plan,
) -> Parts:
    """Builds model, loss, metrics, optimizers and the step over them.

    Args:
        settings: the config.
        catalog: where components are looked up.
        strategy: everything with variables is made in its scope.
        preprocessing: what the data set looks like.
        sample: a few encoded examples (inputs, targets), to build and check shapes with.
        plan: the run's length, for schedules and stages.

    Raises:
        ConfigError: a component refuses its parameters, or shapes don't fit.
    """
    inputs = Hyperparameters()
    with strategy.scope():
        model = build_model(settings.model, catalog, preprocessing)
        outputs = _call_model(model, sample[0])
        for metric in model.metrics:  # the model's own
            _check_metric_name(metric.name, settings.metric)
            metric.reset_state()
        convert_layers(model)
        algorithm = build_component(catalog, "algorithm", settings.algorithm, "algorithm", inputs=inputs)
        tasks = {name: own.task for name, own in preprocessing.targets.items()} if learns_targets(algorithm) else {}
        loss = build_loss(catalog, settings.loss, inputs, getattr(model, "loss_weights", {}), tasks)
        if learns_targets(algorithm):
            with inputs.not_noting():
                _check_outputs(loss, f"loss: {settings.loss.name}", sample[1], outputs, preprocessing)
        groups = build_groups(settings.groups, catalog, model, plan, inputs)
        metrics = [build_metrics(settings.metric, catalog, sample[1], outputs, tasks) for _ in range(2)]
        decay = inputs.wrap("trainer", {"ema_decay": settings.trainer.ema_decay})["ema_decay"]
        step = Step(
            strategy,
            model,
            algorithm,
            loss,
            groups,
            keras.metrics.Mean("loss"),
            metrics[0],
            preprocessing.target,
            settings.trainer.microbatches,
            LossScale() if settings.trainer.precision == "mixed_float16" else None,
            None if decay is None else AveragedWeights(model.trainable_variables, decay),
            Skips() if settings.trainer.on_divergence == "skip" else None,
            {name: target.scale for name, target in preprocessing.others.items()},
        )
        return Parts(model, step, keras.metrics.Mean("loss"), metrics[1], inputs)


def build_model(settings: ComponentSettings, catalog: Catalog, preprocessing: Preprocessing) -> keras.Model:
    """Returns a config's model for a data set, its variables not made yet."""
    given = {
        "features": preprocessing.features,
        "num_outputs": preprocessing.num_outputs,
        "more_outputs": {name: target.num_outputs for name, target in preprocessing.others.items()},
    }
    return build_component(catalog, "model", settings, "model", given)


def build_component(
    catalog: Catalog,
    kind: str,
    settings: ComponentSettings,
    where: str,
    given: Mapping[str, Any] | None = None,
    inputs: Hyperparameters | None = None,
) -> Any:
    """Calls a registered class or function with its parameters from the config.

    Args:
        catalog: where the name is looked up.
        kind: the registry's kind.
        settings: the component's name and parameters.
        where: the config path, for messages.
        given: what the engine offers besides, passed on where the component has a parameter of that name.
        inputs: takes its floats as inputs of the program, where the component takes them so.
    """
    component = catalog.get(kind, settings.name, where).load()
    accepted = inspect.signature(component).parameters
    offered = {name: value for name, value in (given or {}).items() if name in accepted}
    own = _own_parameters(catalog, kind, settings, where, inputs)
    given_params = {"name": settings.name, **settings.params}
    if inputs is not None:
        try:
            return component(**inputs.wrap(where, own), **offered)
        except (ValueError, TypeError):  # Keras' SGD wants a float, for instance
            inputs.forget(where)
    try:
        return component(**own, **offered)
    except (ValueError, TypeError, KeyError) as error:
        # Keras and people's own checks say what is wrong with a parameter this way
        raise ConfigError(
            f"{where}: {settings.name} refuses its parameters: {error}. Received: {given_params}"
        ) from error


def build_function(
    catalog: Catalog, kind: str, settings: ComponentSettings, where: str, inputs: Hyperparameters | None = None
) -> Callable[..., Any]:
    """Returns a registered function with its parameters from the config filled in, or an object of a class."""
    component = catalog.get(kind, settings.name, where).load()
    if inspect.isclass(component):
        return build_component(catalog, kind, settings, where, inputs=inputs)
    own = _own_parameters(catalog, kind, settings, where, inputs)
    if not own:
        return component  # itself, as Keras saves a function by its name
    return functools.partial(component, **(own if inputs is None else inputs.wrap(where, own)))


def _own_parameters(
    catalog: Catalog, kind: str, settings: ComponentSettings, where: str, inputs: Hyperparameters | None
) -> dict[str, Any]:
    """Returns a component's parameters; those that name another component are built."""
    types = {param.name: param.type for param in catalog.get(kind, settings.name, where).params}

    def build(its_kind: str, value: Any, path: str) -> Any:
        given = {"name": value} if isinstance(value, str) else value
        params = {key: own for key, own in given.items() if key != "name"}
        if catalog.find(its_kind, given["name"]):
            return build_function(catalog, its_kind, ComponentSettings(given["name"], params), path, inputs)
        if its_kind == "layer":
            try:
                return getattr(keras.layers, given["name"])(**params)
            except (ValueError, TypeError) as error:
                raise ConfigError(f"{path}: Keras refuses its parameters: {error}. Received: {given}") from error
        # Keras' layers take what names another of its own in the object's place
        return {"class_name": given["name"], "config": params} if params else given["name"]

    return {
        name: map_references(types.get(name), value, f"{where}.{name}", build)
        for name, value in settings.params.items()
    }


def build_loss(
    catalog: Catalog,
    settings: ComponentSettings,
    inputs: Hyperparameters | None = None,
    output_weights: Mapping[str, float] = {},  # noqa: B006 (never changed)
    tasks: Mapping[str, str] = {},  # noqa: B006
) -> Callable[[tf.Tensor, Any], tf.Tensor]:
    """Returns a function (y_true, y_pred) → loss of each example, (B,); the engine averages it.

    Args:
        catalog: where the loss is looked up.
        settings: its name and parameters.
        inputs: takes its floats as inputs of the program.
        output_weights: of a model with several outputs, what each one's loss is multiplied with, else with 1.
        tasks: of the targets, by output.

    Raises:
        ConfigError: it is for another task than a target's.
    """
    loss = build_function(catalog, "loss", settings, "loss", inputs)
    if getattr(loss, "takes_all_outputs", False):
        for name, own in getattr(loss, "losses", {}).items():
            _check_task(f"loss.losses.{name}", own, tasks.get(name, tasks.get(MAIN_OUTPUT)))
    else:
        for name, task in tasks.items():
            _check_task("loss" if name == MAIN_OUTPUT else f"loss: of target {name!r}", loss, task)
    per_example = convertible(loss.call if isinstance(loss, keras.losses.Loss) else loss)

    def values(y_true: tf.Tensor, y_pred: Any) -> tf.Tensor:
        found = tf.convert_to_tensor(per_example(y_true, y_pred))
        return tf.reduce_mean(found, axis=list(range(1, found.shape.rank))) if found.shape.rank > 1 else found

    def call(y_true: tf.Tensor, y_pred: Any) -> tf.Tensor:
        # mixed precision ends at the model's output
        y_pred = tf.nest.map_structure(lambda part: tf.cast(part, keras.config.floatx()), y_pred)
        if not isinstance(y_pred, dict) or getattr(loss, "takes_all_outputs", False):
            return values(y_true, y_pred)
        return tf.add_n(
            [output_weights.get(name, 1.0) * values(of_output(y_true, name), part) for name, part in y_pred.items()]
        )

    return call


def _check_task(where: str, component: Any, task: str | None) -> None:
    own = getattr(component, "task", None)
    if own and task and own != task:
        name = getattr(component, "name", getattr(component, "__name__", component))
        raise ConfigError(f"{where}: {name} is for {own}, and its target for {task}")


def build_metrics(
    settings: Mapping[str, MetricSettings], catalog: Catalog, y_true: Any, y_pred: Any, tasks: Mapping[str, str]
) -> list[keras.metrics.Metric]:
    """Returns the metrics, each named by its key, with their variables made."""
    metrics = []
    outputs = list(y_pred) if isinstance(y_pred, dict) else [MAIN_OUTPUT]
    for key, given in settings.items():
        where, output = f"metric.{key}", given.output
        if output not in outputs:
            raise unknown(f"{where}.output", "output of the model", output, outputs)
        metric = build_function(catalog, "metric", given, where)
        _check_task(where, metric, tasks.get(output, tasks.get(MAIN_OUTPUT)))
        if not isinstance(metric, keras.metrics.Metric):
            metric = keras.metrics.MeanMetricWrapper(convertible(metric))
        metric.name = key
        private.replace_method(metric, "update_state", convertible(metric.update_state))
        metric.output = output
        with _naming(f"{where}: {given.name}"):
            metric.update_state(of_output(y_true, output), of_output(y_pred, output))
        metric.reset_state()
        metrics.append(metric)
    return metrics


def build_groups(
    settings: Mapping[str, GroupSettings],
    catalog: Catalog,
    model: keras.Model,
    plan: Plan,
    inputs: Hyperparameters,
) -> list[Group]:
    """Returns the optimizer groups, their optimizers built, with the proof that they cover the model."""
    patterns = {name: group.match for name, group in settings.items()}
    optional = [name for name, group in settings.items() if group.optional]
    groups = []
    for name, variables in assign_groups(patterns, model.trainable_variables, optional).items():
        own, where = settings[name], f"optimizer.groups.{name}"
        if own.name is None or own.frozen:
            groups.append(Group(name, variables))
            continue
        rate = {} if own.learning_rate is None else {"learning_rate": own.learning_rate}  # a variable later on
        optimizer = build_component(catalog, "optimizer", ComponentSettings(own.name, own.params), where, rate, inputs)
        private.keep_gradients_unsummed(optimizer)  # the step has summed them
        optimizer.name = own.name  # Keras numbers the names of several: adam, adam_1
        optimizer.build(variables)
        schedule, watcher = build_schedule(own.schedule, catalog, f"{where}.schedule", plan, inputs)
        until = own.until_epoch
        groups.append(
            Group(
                name,
                variables,
                optimizer,
                schedule,
                inputs.wrap(where, {"clip_norm": own.clip_norm})["clip_norm"],
                own.every,
                keras.Variable(tf.identity(optimizer.learning_rate.value), trainable=False, name="base_learning_rate"),
                own.from_epoch * plan.steps_per_epoch,
                None if until is None else until * plan.steps_per_epoch,
                watcher,
            )
        )
    if not any(group.optimizer for group in groups):
        raise ConfigError("optimizer.groups: every group is frozen, so there is nothing to train")
    return groups


def build_schedule(
    settings: ComponentSettings | None, catalog: Catalog, where: str, plan: Plan, inputs: Hyperparameters
) -> tuple[Callable[[tf.Tensor], tf.Tensor] | None, Any]:
    """Returns step → factor on the learning rate, or None; and what is told of each epoch's values, or None."""
    if settings is None:
        return None, None
    schedule = build_function(catalog, "schedule", settings, where, inputs)
    asked, given = inspect.signature(schedule).parameters, dict[str, Any]()
    if "total_steps" in asked:
        if plan.last_step == UNLIMITED:
            raise ConfigError(
                f"{where}: {settings.name} needs to know the run's length: trainer.max_epochs or max_steps"
            )
        given |= inputs.wrap(where, {"total_steps": float(plan.last_step)})
    if "steps_per_epoch" in asked:
        given["steps_per_epoch"] = plan.steps_per_epoch
    factor = convertible(functools.partial(schedule, **given) if given else schedule)
    return factor, schedule if hasattr(schedule, "end_epoch") else None


def _check_metric_name(name: str, taken: Collection[str]) -> None:
    if name == "loss" or name in taken:
        raise ConfigError(f"model: its own metric has a name that is taken. Received: {name!r}")


def _call_model(model: keras.Model, inputs: Any) -> Any:
    try:
        outputs = model(inputs, training=False)
    except (ValueError, TypeError, KeyError, tf.errors.InvalidArgumentError) as error:
        shapes = tf.nest.map_structure(lambda array: tuple(array.shape), inputs)
        reason = " ".join(str(error).split())[:300]  # Keras writes an essay
        raise ConfigError(f"model: it can't take these inputs: {reason}. Received shapes: {shapes}") from error
    if isinstance(outputs, dict):
        if MAIN_OUTPUT not in outputs:
            raise ConfigError(
                f"model: one of several outputs must be called {MAIN_OUTPUT!r}. Received: {', '.join(outputs)}"
            )
        return outputs
    return tf.convert_to_tensor(outputs)


@contextlib.contextmanager
def _naming(component: str) -> Iterator[None]:
    """Tells which component mixes dtypes, or shapes, that TensorFlow doesn't."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        reason = " ".join(str(error.message).split())[:300]
        raise ConfigError(f"{component} mixes what can't be computed together: {reason}") from error


def _check_outputs(loss: Any, where: str, y_true: Any, y_pred: Any, preprocessing: Preprocessing) -> None:
    """Refuses shapes that would broadcast silently, (B,) against (B, 1) to (B, B) for instance."""
    batch, outputs = len(main_output(y_true)), y_pred if isinstance(y_pred, dict) else {MAIN_OUTPUT: y_pred}
    missing = [name for name in preprocessing.others if name not in outputs]
    if missing:
        raise ConfigError(
            f"model: it must have an output for each of data.target, and has none for {', '.join(missing)}. "
            f"Received outputs: {', '.join(outputs)}. Use model=multi_task"
        )
    for name, output in outputs.items():
        wanted = of_output(preprocessing.targets, name).num_outputs
        if tuple(output.shape) != (batch, wanted):
            raise ConfigError(
                f"model: its {name} must have the shape (batch, {wanted}) for this target. "
                f"Received: {tuple(output.shape)} for a batch of {batch}"
            )
    with _naming(where):
        values = loss(tf.nest.map_structure(tf.constant, y_true), y_pred)
    if values.dtype.name != keras.config.floatx():
        raise ConfigError(f"{where} must give {keras.config.floatx()}. Received: {values.dtype.name}")
    shape = tuple(values.shape)
    if shape != (batch,):
        raise ConfigError(f"loss: it must give one value for each example, shape ({batch},). Received: {shape}")
