"""The size of a model with its optimizers, before any of its variables has memory.

The model is built without values for it. All variables together are compared with the free memory, and a message names
the largest of them and the config key that makes it smaller.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras
import tensorflow as tf

from tfrun.config.catalog import Catalog
from tfrun.config.component_settings import ComponentSettings
from tfrun.config.settings import GroupSettings, Settings
from tfrun.data.preprocessing import Preprocessing
from tfrun.engine.building import devices, random_state
from tfrun.engine.building.components import build_component
from tfrun.engine.building.memory import ADVICE, gib, sum_of_bytes
from tfrun.engine.building.size_keys import key_of
from tfrun.engine.building.work import called_without_values
from tfrun.engine.training.groups import assign_groups
from tfrun.engine.training.table import build_with_slots
from tfrun.errors import ResourceError

log = logging.getLogger("tfrun")


def check(
    free_bytes: float,
    settings: Settings,
    *,
    catalog: Catalog,
    preprocessing: Preprocessing,
    build: Callable[[], keras.Model],
    num_replicas: int = 1,
) -> None:
    """Raises ResourceError if the memory has no room for a model, its optimizers and its best weights together.

    It does nothing if the model can't be built without values. May be called while the model itself is being built.

    Args:
        free_bytes: the free memory; inf if it isn't known.
        settings: the config.
        catalog: the components that exist.
        preprocessing: describes the data set.
        build: returns the model, not called yet.
        num_replicas: each of them has all variables.
    """
    if math.isinf(free_bytes):
        return

    def measure() -> tuple[list[keras.Variable], dict[str, int]]:
        devices.set_precision(settings.trainer.precision)
        model = called_without_values(build, preprocessing.features, num_rows=settings.data.batch_size)
        return model.variables, _sizes(model, settings, catalog)

    try:
        # in another thread: Keras keeps names, scopes and the graph by thread, and a model is being built in this one
        with random_state.generators_kept(), ThreadPoolExecutor(1) as thread:
            weights, sizes = thread.submit(measure).result()
    except Exception as error:  # if it is a mistake, the model that is trained raises it again
        log.info("the model can't be built without values, so that its size isn't known before: %s", error)
        return
    needed = num_replicas * sum(sizes.values())
    if needed <= free_bytes:
        return
    largest = max(weights, key=lambda variable: sum_of_bytes([variable]))
    parts = ", ".join(f"{gib(num_replicas * size)} of {name}" for name, size in sizes.items() if size)
    key = key_of(tuple(largest.shape), settings, preprocessing)
    raise ResourceError(
        f"model: the memory has no room for it. Received: {gib(needed)} ({parts}), and {gib(free_bytes)} are free. "
        f"The largest variable is {largest.path} of the shape {tuple(largest.shape)}, {gib(sum_of_bytes([largest]))}. "
        f"{ADVICE if key is None else f'A smaller {key} makes it smaller'}"
    )


def _sizes(model: keras.Model, settings: Settings, catalog: Catalog) -> dict[str, int]:
    """Returns the bytes of what a run keeps of a model's variables, by what it is; gradients aren't among it."""
    weights, trained = sum_of_bytes(model.variables), model.trainable_variables
    return {
        "weights": weights,
        "optimizer variables": _slot_bytes(settings.groups, trained, catalog=catalog),
        "averaged weights": 0 if settings.trainer.ema_decay is None else sum_of_bytes(trained),
        "best weights": weights,
    }


def _slot_bytes(groups: Mapping[str, GroupSettings], trained: Sequence[keras.Variable], *, catalog: Catalog) -> int:
    """Returns the bytes of the optimizers' variables that are as large as the weights, (N, dim) for (N, dim)."""
    optional = [name for name, group in groups.items() if group.optional]
    assigned = assign_groups({name: group.match for name, group in groups.items()}, trained, optional=optional)
    num_bytes = 0
    for name, variables in assigned.items():
        for rank in {len(variable.shape) for variable in variables}:
            of_rank = [variable for variable in variables if len(variable.shape) == rank]
            num_bytes += _num_slots(groups[name], rank, catalog=catalog) * sum_of_bytes(of_rank)
    return num_bytes


def _num_slots(group: GroupSettings, rank: int, *, catalog: Catalog) -> int:
    """Returns how many variables an optimizer has of the shape of each one that it updates, tried with a small one."""
    if group.frozen or group.name is None:
        return 0
    chosen = ComponentSettings(group.name, group.params)
    optimizer: Any = build_component("optimizer", chosen, catalog=catalog, where=group.where)
    small = keras.Variable(tf.zeros([2] * rank))
    return sum(slot.shape == small.shape for slot in build_with_slots(optimizer, [small])[id(small)])
