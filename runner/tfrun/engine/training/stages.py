"""The stages of training: which optimizer groups a step trains, and whose layers it calls as in inference.

    steps 0 to 99     head is trained, backbone is idle: no gradient, BatchNormalization with its averages, no dropout
    steps 100 to 299  both are trained

A stage is fixed while a step is traced, since a layer's `training` is decided in Python. So a program has a block for
each of its stages, and no block crosses the end of one.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import keras

from tfrun.engine import private
from tfrun.engine.training.groups import Group


class Stage(NamedTuple):
    """The states of the optimizer groups for which a step is traced.

    Attributes:
        idle: the groups that aren't trained.
        at_rest: the groups whose layers run as in inference: they use their statistics, and draw nothing at random.
    """

    idle: frozenset[str] = frozenset()
    at_rest: frozenset[str] = frozenset()

    def __str__(self) -> str:
        """The name of the stage, empty if every group is trained."""
        parts = {"without": self.idle, "as in inference": self.at_rest - self.idle}
        return "; ".join(f"{what} {', '.join(sorted(groups))}" for what, groups in parts.items() if groups)


class Stages:
    """The stages of a run.

    A layer belongs to the groups of its trainable variables, those of the layers in it included. A layer without any
    belongs to the groups whose pattern matches one of its other variables. It rests while all of them do, and so does
    everything in it, the dropout between two layers for example.

    Args:
        model: built.
        groups: all optimizer groups, frozen ones included.
    """

    def __init__(self, model: keras.Model, groups: Sequence[Group]):
        self._model = model
        self._groups = groups
        self._staged = [group for group in groups if group.statistics != "moving" and group.has_stage]
        self._owners = {id(variable): group.name for group in groups for variable in group.variables}

    def at(self, step: int) -> Stage:
        """Returns the stage of a step, counted from 0."""
        followed = [group for group in self._groups if group.statistics != "moving"]
        idle = {group.name for group in followed if not group.is_trained_at(step)}
        return Stage(
            frozenset(idle), frozenset({group.name for group in followed if group.statistics == "frozen"} | idle)
        )

    def end_of(self, step: int) -> float:
        """Returns the first step after the stage of a step; infinity if it is the last stage."""
        bounds = [bound for group in self._staged for bound in (group.first_step, group.end_step) if bound is not None]
        return min((bound for bound in bounds if bound > step), default=float("inf"))

    @property
    def are_several(self) -> bool:
        """Whether there is more than one stage."""
        return self.end_of(0) < float("inf")

    @contextlib.contextmanager
    def entered(self, stage: Stage) -> Iterator[None]:
        """Calls the layers of the groups at rest as in inference, inside the context."""
        with contextlib.ExitStack() as replaced:
            for layer in self.layers_at_rest(stage):
                if "training" in inspect.signature(layer.call).parameters:
                    replaced.enter_context(private.method_replaced(layer, "call", method=_in_inference(layer.call)))
            yield

    def layers_at_rest(self, stage: Stage) -> list[keras.layers.Layer]:
        """Returns the layers that run as in inference."""
        if not stage.at_rest:
            return []
        resting: dict[int, keras.layers.Layer] = {}
        for layer in private.layers_of(self._model):
            owners = self._owners_of(layer)
            if owners and owners <= stage.at_rest:
                resting |= {id(inner): inner for inner in private.layers_of(layer)}
        return list(resting.values())

    def _owners_of(self, layer: keras.layers.Layer) -> set[str]:
        if layer.trainable_variables:
            return {self._owners.get(id(variable), "") for variable in layer.trainable_variables}
        paths = [variable.path for variable in layer.variables]
        return {group.name for group in self._groups if any(re.search(group.match, path) for path in paths)}


def _in_inference(call: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a layer's `call` with `training=False`, whatever it is called with."""
    signature = inspect.signature(call)

    @functools.wraps(call)
    def call_in_inference(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        bound.arguments["training"] = False
        return call(*bound.args, **bound.kwargs)

    return call_in_inference
