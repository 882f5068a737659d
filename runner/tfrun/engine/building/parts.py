"""Builds a run's model, algorithm, loss, metrics, optimizer groups and the step over them."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import tensorflow as tf

from tfrun.config.catalog import Catalog
from tfrun.config.component_settings import ComponentSettings
from tfrun.config.data_settings import DataSettings
from tfrun.config.settings import Settings, TrainerSettings
from tfrun.data.preprocessing import Preprocessing
from tfrun.data.targets import FittedTarget
from tfrun.engine.building import memory, model_size
from tfrun.engine.building.augmentations import build_augmenter
from tfrun.engine.building.autograph import convert_layers
from tfrun.engine.building.components import build_component
from tfrun.engine.building.deciles import Deciles
from tfrun.engine.building.functional_inputs import with_all_inputs
from tfrun.engine.building.id_ranges import recorded_lookups
from tfrun.engine.building.kinds import checked_algorithm, named
from tfrun.engine.building.lora import add_lora
from tfrun.engine.building.losses import build_loss, build_metrics, check_outputs
from tfrun.engine.building.mixing import warn_of_mixing
from tfrun.engine.building.optimizers import build_groups
from tfrun.engine.building.unread_inputs import Reads, warn_of_unread
from tfrun.engine.training.augmentation import Augmenter
from tfrun.engine.training.averages import AveragedWeights
from tfrun.engine.training.class_weights import ClassWeights
from tfrun.engine.training.epoch_metrics import EpochMetrics
from tfrun.engine.training.hyperparameters import Hyperparameters
from tfrun.engine.training.plan import Plan
from tfrun.engine.training.step import Step, StepOptions
from tfrun.engine.training.target_unit import TargetUnit
from tfrun.engine.training.tolerances import MAX_CONSECUTIVE_SKIPS, LossScale, Skips
from tfrun.errors import ConfigError
from tfrun.protocols import MAIN_OUTPUT, AlgorithmOffer, ModelOffer


@dataclass(frozen=True)
class Parts:
    """The objects that a run trains with.

    Attributes:
        model: built, its variables exist.
        step: one training step over it.
        val_metrics: the validation's own mean of losses and metrics.
        inputs: the hyperparameters that are inputs of the program, and what it gets of the numbers that were learnt.
        deciles: records which boundaries of the number columns the model has read.
        warnings: what is probably not as its author expects.
    """

    model: keras.Model
    step: Step
    val_metrics: EpochMetrics
    inputs: Hyperparameters
    deciles: Deciles
    warnings: tuple[str, ...] = ()


def build_parts(
    settings: Settings,
    catalog: Catalog,
    *,
    strategy: tf.distribute.Strategy,
    preprocessing: Preprocessing,
    sample: tuple[Any, Any],
    plan: Plan,
    class_weights: Mapping[str, Sequence[float]] | None = None,
) -> Parts:
    """Builds model, loss, metrics, optimizers and the step over them.

    Args:
        settings: the config.
        catalog: the components that exist.
        strategy: everything with variables is made in its scope.
        preprocessing: describes the data set.
        sample: a few encoded examples (inputs, targets), to build and check shapes with.
        plan: the run's length, for schedules and stages.
        class_weights: of the classes of targets, by output.

    Raises:
        ConfigError: a component refuses its parameters, or shapes don't fit.
    """
    inputs = Hyperparameters()
    x, y = sample[:2]
    check_size = functools.partial(
        model_size.check,
        settings=settings,
        catalog=catalog,
        preprocessing=preprocessing,
        build=functools.partial(build_model, settings.model, catalog, preprocessing=preprocessing),
        num_replicas=strategy.num_replicas_in_sync,
    )
    with strategy.scope(), memory.enough_to_build(check_size):
        deciles = Deciles(preprocessing.features.numbers)
        model = build_model(settings.model, catalog, preprocessing=preprocessing, deciles=deciles)
        y_pred, unread = _call_model(model, x)
        for metric in model.metrics:
            _check_metric_name(metric.name, settings.metric)
            metric.reset_state()
        if settings.model.lora is not None:
            add_lora(model, settings.model.lora)
        convert_layers(model)
        targets = preprocessing.targets
        algorithm = build_algorithm(settings.algorithm, catalog, targets=targets, inputs=inputs)
        tasks = {} if algorithm.own_targets else {name: target.task for name, target in targets.items()}
        weights = ModelOffer.of(model).loss_weights
        of_classes = ClassWeights(class_weights) if class_weights else None
        units = {name: TargetUnit(target.scale) for name, target in targets.items()}
        _add_learnt(inputs, units, of_classes)
        loss = build_loss(
            settings.loss, catalog, inputs=inputs, output_weights=weights, tasks=tasks, class_weights=of_classes
        )
        if not algorithm.own_targets:
            with inputs.without_recording():
                check_outputs(loss, f"loss: {settings.loss.name}", y_true=y, y_pred=y_pred, targets=targets)
        groups = build_groups(settings.groups, catalog, model=model, plan=plan, inputs=inputs)
        metrics, val_metrics = (
            build_metrics(settings.metric, catalog, y_true=y, y_pred=y_pred, targets=targets, tasks=tasks, units=units)
            for _ in range(2)
        )
        warnings: list[str] = []
        if not algorithm.own_targets:
            with inputs.without_recording():
                warnings = warn_of_mixing(settings, catalog, loss=loss, y_pred=y_pred, targets=targets)
            warnings += _warn_of_unread(settings, catalog, unread, preprocessing=preprocessing)
        augmenter = build_augmenter(settings, catalog, preprocessing=preprocessing, x=x, inputs=inputs)
        options = _step_options(
            settings.trainer, model, plan=plan, inputs=inputs, augmenter=augmenter, class_weights=of_classes
        )
        step = Step(strategy, model, algorithm=algorithm, loss=loss, groups=groups, metrics=metrics, options=options)
        return Parts(model, step, val_metrics, inputs, deciles, tuple(warnings))


def _add_learnt(inputs: Hyperparameters, units: Mapping[str, TargetUnit], class_weights: ClassWeights | None) -> None:
    """Adds to the inputs of the program the numbers of the training rows that it computes with."""
    for output, unit in units.items():
        for name, learnt in unit.inputs.items():
            inputs.add(f"data.target_scaling.{output}.{name}", learnt)
    for output, learnt in class_weights.inputs.items() if class_weights else ():
        inputs.add(f"data.class_weight.{output}", learnt)


def build_model(
    settings: ComponentSettings, catalog: Catalog, *, preprocessing: Preprocessing, deciles: Deciles | None = None
) -> keras.Model:
    """Returns a model for a data set; its variables are made by its first call.

    Args:
        settings: its name and parameters.
        catalog: the components that exist.
        preprocessing: describes the data set.
        deciles: those of the data set, if reads of them are to be recorded.
    """
    outputs = {name: target.num_outputs for name, target in preprocessing.targets.items()}
    features = preprocessing.features
    offered = {
        "features": features if deciles is None else replace(features, numbers=deciles),
        "num_outputs": outputs.pop(MAIN_OUTPUT),
        "more_outputs": outputs,
    }
    model = build_component("model", settings, catalog=catalog, where="model", offered=offered)
    return with_all_inputs(model, features, named("model", settings, catalog, where="model"))


def build_algorithm(
    settings: ComponentSettings, catalog: Catalog, *, targets: Mapping[str, FittedTarget], inputs: Hyperparameters
) -> AlgorithmOffer:
    """Returns the algorithm, which checks what its methods return while a step is traced."""
    algorithm = build_component("algorithm", settings, catalog=catalog, where="algorithm", inputs=inputs)
    component = named("algorithm", settings, catalog, where="algorithm")
    return checked_algorithm(AlgorithmOffer.of(algorithm), component, targets=targets)


def _step_options(
    settings: TrainerSettings,
    model: keras.Model,
    *,
    plan: Plan,
    inputs: Hyperparameters,
    augmenter: Augmenter | None,
    class_weights: ClassWeights | None,
) -> StepOptions:
    decay = inputs.wrap("trainer", {"ema_decay": settings.ema_decay})["ema_decay"]
    return StepOptions(
        microbatches=settings.microbatches,
        loss_scale=LossScale() if settings.precision == "mixed_float16" else None,
        averages=None if decay is None else AveragedWeights(model.trainable_variables, decay),
        skips=Skips(min(MAX_CONSECUTIVE_SKIPS, plan.steps_per_epoch)) if settings.on_divergence == "skip" else None,
        augmenter=augmenter,
        class_weights=class_weights,
    )


def _check_metric_name(name: str, taken: Collection[str]) -> None:
    if name == "loss" or name in taken:
        raise ConfigError(f"model: its own metric has a name that is taken. Received: {name!r}")


def _warn_of_unread(
    settings: Settings, catalog: Catalog, unread: Sequence[str], *, preprocessing: Preprocessing
) -> list[str]:
    """Returns a warning for each input that the model doesn't read."""
    component = named("model", settings.model, catalog, where="model")
    excluded = _excluded(settings.data, catalog)
    return warn_of_unread(unread, component, preprocessing=preprocessing, excluded=excluded)


def _excluded(data: DataSettings, catalog: Catalog) -> Sequence[str] | None:
    """Returns the columns that the config leaves out, or None if the data set has no key for them."""
    component = catalog.get("dataset", data.name, where="data.name")
    if all(parameter.name != "exclude" for parameter in component.params):
        return None
    return data.params.get("exclude") or ()


def _call_model(model: keras.Model, inputs: Any) -> tuple[Any, list[str]]:
    """Returns the model's outputs for a few examples, which makes its variables, and the inputs that it didn't read."""
    reads = Reads(inputs)
    try:
        # ids without a row are refused later, by their place in the data
        with recorded_lookups(model), reads.recorded():
            outputs = model(reads.inputs, training=False)
    except (ValueError, TypeError, KeyError, tf.errors.InvalidArgumentError) as error:
        shapes = tf.nest.map_structure(lambda array: tuple(array.shape), inputs)
        reason = " ".join(str(error).split())[:300]  # Keras' messages are long
        raise ConfigError(f"model: it can't take these inputs: {reason}. Received shapes: {shapes}") from error
    if any(output is None for output in tf.nest.flatten(outputs)):
        raise ConfigError("model: its call must return its outputs. Received: None")
    if isinstance(outputs, dict):
        if MAIN_OUTPUT not in outputs:
            raise ConfigError(
                f"model: one of several outputs must be called {MAIN_OUTPUT!r}. Received: {', '.join(outputs)}"
            )
        return outputs, reads.unread(model, outputs)
    return tf.convert_to_tensor(outputs), reads.unread(model, outputs)
