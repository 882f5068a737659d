"""Gives functional models the inputs of the data that they lack, so that they can be called with all of them.

Keras passes the values of a mapping to a functional model's inputs in the order of the keys, without comparing these:
a model of `numbers` alone would get `categories` in their place.
"""

from __future__ import annotations

import dataclasses
import warnings

import keras

from tfrun.data.table import Features
from tfrun.engine.building.kinds import Named
from tfrun.engine.building.work import input_shapes
from tfrun.protocols import ModelOffer


def with_all_inputs(model: keras.Model, features: Features, component: Named) -> keras.Model:
    """Returns a functional model of a mapping with further inputs, which it ignores; other models as they are.

    Args:
        model: not called yet.
        features: describe the data.
        component: the model, for messages.

    Raises:
        ConfigError: the model has an input that the data lacks.
    """
    try:
        inputs = model.input
    except (AttributeError, ValueError):  # it has none until it is called
        return model
    if not isinstance(inputs, dict):
        return model
    shapes = input_shapes(features)
    unknown = [name for name in inputs if name not in shapes]
    if unknown:
        raise component.refuse(f"has inputs that the data lacks: {', '.join(unknown)}", ", ".join(shapes))
    missing = [name for name in shapes if name not in inputs]
    if not missing:
        return model
    further = {name: keras.Input(shapes[name][1], dtype=shapes[name][0]) for name in missing}
    with warnings.catch_warnings():
        # not every column's name may be a tensor's
        warnings.filterwarnings("ignore", "When providing `inputs` as a dict, all keys")
        complete = keras.Model({**inputs, **further}, model.output, name=model.name)
    if type(model).call is not type(complete).call:  # it chooses its inputs itself
        return model
    if type(model) is not type(complete):
        raise component.refuse(f"needs a keras.Input for each input of the data, also for {', '.join(missing)}", None)
    for field in dataclasses.fields(ModelOffer):
        if field.name in vars(model):
            setattr(complete, field.name, getattr(model, field.name))
    return complete
