"""Builds the augmentations of a run, and refuses those that don't fit its inputs before the first step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from tfrun.config.catalog import Catalog
from tfrun.config.data_settings import AugmentationSettings
from tfrun.config.settings import Settings
from tfrun.data.kinds import ImageColumn
from tfrun.data.preprocessing import Preprocessing
from tfrun.engine.building.components import build_component
from tfrun.engine.building.kinds import Named, checked_augmentation, named
from tfrun.engine.training.augmentation import Augmentation, Augmenter, Draws
from tfrun.engine.training.hyperparameters import Hyperparameters
from tfrun.errors import ConfigError, near_miss
from tfrun.protocols import AugmentationOffer

NUMBERS = "numbers"  # the input that holds all columns of numbers
TRIED_ROWS = 4


def build_augmenter(
    settings: Settings, catalog: Catalog, *, preprocessing: Preprocessing, x: Any, inputs: Hyperparameters
) -> Augmenter | None:
    """Returns what changes the training batches, or None if nothing does.

    Args:
        settings: the config.
        catalog: the components that exist.
        preprocessing: describes the inputs.
        x: the encoded inputs of a few rows.
        inputs: collects the augmentations' floats as inputs of the program.

    Raises:
        ConfigError: an augmentation doesn't fit the inputs, or returns something wrong.
    """
    if not settings.data.augment:
        return None
    augmentations: list[Augmentation] = []
    for k, chosen in enumerate(settings.data.augment):
        where = f"data.augment.{k}"
        built = build_component("augmentation", chosen, catalog=catalog, where=where, inputs=inputs)
        offer = AugmentationOffer.of(built)
        component = named("augmentation", chosen, catalog, where=where)
        names = _inputs_of(chosen, offer, preprocessing=preprocessing, x=x, where=where)
        change = checked_augmentation(built, component, mixes=offer.mixes)
        augmentations.append(Augmentation(change, offer.mixes, names))
        with inputs.without_recording():
            _try(augmentations[-1], x, component)
    seed = keras.Variable(
        settings.seed, dtype="int64", trainable=False, aggregation="only_first_replica", name="augmentation_seed"
    )
    return Augmenter(augmentations, seed)


def _inputs_of(
    chosen: AugmentationSettings, offer: AugmentationOffer, *, preprocessing: Preprocessing, x: Any, where: str
) -> tuple[str, ...] | None:
    """Returns the names of the inputs that an augmentation changes; None if the inputs are a single array."""
    columns = preprocessing.arrays
    if offer.takes == "images":  # those of the kind `image`; if there are none, those that could be images
        columns = [column for column in columns if isinstance(column, ImageColumn)] or columns
        columns = [column for column in columns if len(column.shape) in (2, 3)]
    arrays = {column.name: preprocessing.input_name(column) for column in columns}
    known = dict(arrays)
    if offer.takes == "values" and preprocessing.numbers:
        known[NUMBERS] = NUMBERS
    received = ", ".join(column.name for column in preprocessing.columns)
    if not known:
        needed = (
            "columns of numbers or arrays"
            if offer.takes == "values"
            else "images, arrays of the shape (height, width) or (height, width, channels)"
        )
        raise ConfigError(f"{where}: {chosen.name} needs {needed}. Received: {received}")
    if chosen.column is not None and chosen.column not in known:
        raise ConfigError(
            f"{where}.column: {chosen.name} can't change such a column. Received: {chosen.column!r}. "
            f"Known: {', '.join(known)}.{near_miss(chosen.column, known)}"
        )
    names = tuple(known.values()) if chosen.column is None else (known[chosen.column],)
    if not isinstance(x, Mapping):
        return None
    left_out = [name for name in x if name not in names]
    if offer.mixes and left_out:
        raise ConfigError(
            f"{where}: {chosen.name} must mix all of a row, and can't mix some of its inputs. "
            f"Received: {', '.join(left_out)}"
        )
    return names


def _try(augmentation: Augmentation, x: Any, component: Named) -> None:
    """Raises ConfigError if an augmentation refuses the inputs, or returns something else than its kind must."""
    rows = tf.nest.map_structure(lambda array: tf.convert_to_tensor(array[:TRIED_ROWS]), x)
    (count,) = {array.shape[0] for array in tf.nest.flatten(rows)}
    try:
        augmentation(rows, lambda: Draws(tf.zeros([2], tf.uint32), count, share=lambda tensor: tensor))
    except ValueError as error:  # ConfigError is none
        reason = " ".join(str(error).split())
        raise ConfigError(f"{component.where}: {component.name} refuses the inputs: {reason}") from error
