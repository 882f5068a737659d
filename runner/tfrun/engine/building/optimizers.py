"""Builds the optimizer groups and their schedules."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfrun.config.catalog import Catalog
from tfrun.config.component_settings import ComponentSettings
from tfrun.config.earlier_runs import EarlierSchedule
from tfrun.config.settings import GroupSettings
from tfrun.engine import private
from tfrun.engine.building.autograph import convertible
from tfrun.engine.building.components import INPUT_DTYPES, build_component, build_function
from tfrun.engine.building.kinds import checked_schedule, named
from tfrun.engine.training import ftrl
from tfrun.engine.training.groups import Group, assign_groups
from tfrun.engine.training.hyperparameters import Hyperparameters
from tfrun.engine.training.plan import Plan
from tfrun.engine.training.table import build_with_slots
from tfrun.errors import ConfigError
from tfrun.protocols import ScheduleOffer


def build_groups(
    settings: Mapping[str, GroupSettings],
    catalog: Catalog,
    *,
    model: keras.Model,
    plan: Plan,
    inputs: Hyperparameters,
) -> list[Group]:
    """Returns the optimizer groups, their optimizers built; every trainable variable is in exactly one of them.

    Args:
        settings: the groups by name.
        catalog: the components that exist.
        model: the model, its variables made.
        plan: the length of the run, for schedules and stages.
        inputs: collects the optimizers' floats as inputs of the program.

    Raises:
        ConfigError: a variable is in no group or in several, or every group is frozen.
    """
    patterns = {name: group.match for name, group in settings.items()}
    optional = [name for name, group in settings.items() if group.optional]
    assigned = assign_groups(patterns, model.trainable_variables, optional=optional)
    groups = [
        _build_group(name, settings[name], catalog=catalog, variables=variables, plan=plan, inputs=inputs)
        for name, variables in assigned.items()
    ]
    if not any(group.optimizer for group in groups):
        raise ConfigError("optimizer.groups: every group is frozen, so there is nothing to train")
    return groups


def _build_group(
    name: str,
    settings: GroupSettings,
    *,
    catalog: Catalog,
    variables: list[keras.Variable],
    plan: Plan,
    inputs: Hyperparameters,
) -> Group:
    if settings.frozen or settings.name is None:
        return Group(name, variables, match=settings.match, statistics=settings.statistics)
    where = f"optimizer.groups.{name}"
    chosen = ComponentSettings(settings.name, settings.params)
    # a learning rate is a variable later on, not an input of the program
    rate = {} if settings.learning_rate is None else {"learning_rate": settings.learning_rate}
    optimizer = build_component("optimizer", chosen, catalog=catalog, where=where, offered=rate, inputs=inputs)
    private.keep_gradients_unsummed(optimizer)  # the step has summed them
    optimizer.name = settings.name  # Keras numbers the names of several: adam, adam_1
    slots = build_with_slots(optimizer, variables)
    schedule, uses_epochs = build_schedule(
        settings.schedule, catalog, where=f"{where}.schedule", plan=plan, inputs=inputs
    )
    until = settings.until_epoch
    return Group(
        name,
        variables,
        optimizer=optimizer,
        schedule=schedule,
        clip_norm=inputs.wrap(where, {"clip_norm": settings.clip_norm})["clip_norm"],
        every=settings.every,
        base_learning_rate=keras.Variable(
            tf.identity(optimizer.learning_rate.value), trainable=False, name="base_learning_rate"
        ),
        first_step=settings.from_epoch * plan.steps_per_epoch,
        end_step=None if until is None else until * plan.steps_per_epoch,
        epoch_schedule=uses_epochs,
        schedule_name=settings.schedule.name if settings.schedule else None,
        slots=slots,
        factors={} if settings.layer_decay is None else layer_factors(variables, settings.layer_decay),
        match=settings.match,
        statistics=settings.statistics,
    )


def keep_weights(groups: Sequence[Group]) -> None:
    """Makes optimizers start from the weights that a run begins with, whatever they are.

    FTRL works its weights out anew from its sums, which begin at 0: it would forget the first weights at the first
    step. So the sum `linear` becomes the one that gives these weights.

    Source: McMahan et al., "Ad click prediction: a view from the trenches", 2013, algorithm 1, solved for z.
    """
    for group in groups:
        if not ftrl.has_sums(group):
            continue
        rate = group.learning_rate(tf.constant(group.first_step, tf.int64))
        if rate <= 0:
            continue
        for variable in group.variables:
            weights = tf.cast(tf.convert_to_tensor(variable), tf.float64)
            linear = ftrl.linear_sum(group, variable, weights, rate=rate)
            ftrl.sums(group, variable)["linear"].assign(tf.cast(linear, variable.dtype))


def layer_factors(variables: Sequence[keras.Variable], decay: float) -> dict[int, float]:
    """Returns by how much the learning rates of a group's layers are smaller than that of its last one, by identity.

    A layer begins with a variable of two or more dimensions, its kernel; the variables after that, biases and those of
    a normalization for example, belong to it.

    Source: Howard and Ruder, "Universal language model fine-tuning for text classification", 2018, arXiv:1801.06146,
    section 3.2 (discriminative fine-tuning).

    Args:
        variables: the group's, in the model's order.
        decay: the rate of a layer divided by that of the next one.
    """
    depth, layer = 0, None
    depths = {}
    for variable in variables:
        of_variable = variable.path.rpartition("/")[0]
        if len(variable.shape) > 1 and of_variable != layer:
            depth += layer is not None
            layer = of_variable
        depths[id(variable)] = depth
    return {key: decay ** (depth - of_layer) for key, of_layer in depths.items() if of_layer < depth}


def build_schedule(
    settings: ComponentSettings | None, catalog: Catalog, *, where: str, plan: Plan, inputs: Hyperparameters
) -> tuple[Callable[[tf.Tensor], tf.Tensor] | None, ScheduleOffer | None]:
    """Returns a schedule as a function step → factor on the learning rate, and its offer if it uses epochs' values.

    Raises:
        ConfigError: the schedule needs the run's length, and the run has none.
    """
    if settings is None:
        return None, None
    schedule = build_function("schedule", settings, catalog=catalog, where=where, inputs=inputs)
    parameters = inspect.signature(schedule).parameters
    filled_in: dict[str, Any] = {}
    if "total_steps" in parameters:
        if plan.last_step is None:
            raise ConfigError(
                f"{where}: {settings.name} needs to know the run's length: trainer.max_epochs or max_steps"
            )
        extra_steps = settings.extra_steps if isinstance(settings, EarlierSchedule) else 0
        length = {"total_steps": float(plan.last_step + extra_steps)}
        filled_in |= inputs.wrap(where, length, dtype=INPUT_DTYPES["schedule"])
    if "steps_per_epoch" in parameters:
        filled_in["steps_per_epoch"] = plan.steps_per_epoch
    component = named("schedule", settings, catalog, where=where)
    factor = checked_schedule(
        convertible(functools.partial(schedule, **filled_in) if filled_in else schedule), component
    )
    offer = ScheduleOffer.of(schedule)
    return factor, offer if offer.end_epoch is not None else None
