"""Finds the inputs of a table that no prediction of a model depends on, such as the texts for a model of the numbers.

    what an operation returns depends on all that its inputs depend on

The operations are those of the call that builds the model, so that nothing is computed or traced for it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfrun.data.kinds import ArrayColumn, TokensColumn
from tfrun.data.preprocessing import Preprocessing
from tfrun.engine import private
from tfrun.engine.building.kinds import Named
from tfrun.errors import as_typed, some

# These depend on the shape of a tensor, not on its values.
OF_SHAPES = ("OnesLike", "Rank", "Shape", "ShapeN", "Size", "ZerosLike")
# These change what a resource holds.
WRITES = ("Assign", "Scatter")
MAX_TYPED = 12  # columns in a word that can be copied


class Reads:
    """Records which inputs of a model are read while it is called eagerly.

    Args:
        inputs: a mapping of arrays, or a single one.

    Attributes:
        inputs: the same as tensors. The model must be called with them.
    """

    def __init__(self, inputs: Any):
        self.inputs = tf.nest.map_structure(tf.convert_to_tensor, inputs)
        by_name = self.inputs if isinstance(self.inputs, Mapping) else {}
        self._names = list(by_name)
        self._sources = {id(tensor): frozenset([name]) for name, tensor in by_name.items()}  # of a tensor, by identity
        self._kept: list[Any] = []  # a tensor that is freed gives its identity to another one

    @contextlib.contextmanager
    def recorded(self) -> Iterator[None]:
        """Records the reads inside the context, if there are several inputs."""
        if len(self._names) < 2:
            yield
            return
        with private.executed_operations(self._record):
            yield

    def unread(self, model: keras.Model, outputs: Any) -> list[str]:
        """Returns the inputs on which neither the outputs of a call depend nor the losses that it added.

        Returns [] if they seem to depend on none, as those of a model that computes with NumPy.
        """
        read = self._sources_of(tf.nest.flatten(outputs))
        if read and len(read) < len(self._names):  # else the penalties of all weights aren't computed
            read |= self._sources_of(model.losses)
        return [name for name in self._names if name not in read] if read else []

    def _sources_of(self, tensors: Sequence[Any]) -> frozenset[str]:
        return frozenset().union(*(self._sources.get(id(tensor), frozenset()) for tensor in tensors))

    def _record(self, kind: str, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        sources = self._sources_of(inputs)
        if not sources or kind in OF_SHAPES:
            return
        changed = list(outputs)
        if any(word in kind for word in WRITES):
            changed += [tensor for tensor in inputs if tensor.dtype == tf.resource]
        for tensor in changed:
            self._sources[id(tensor)] = self._sources.get(id(tensor), frozenset()) | sources
        self._kept += changed


def warn_of_unread(
    unread: Sequence[str],
    component: Named,
    *,
    preprocessing: Preprocessing,
    excluded: Collection[str] | None,
) -> list[str]:
    """Returns a warning for each input that a model doesn't read, with its columns and what can be done.

    Args:
        unread: the inputs.
        component: the model, for messages.
        preprocessing: describes the data set.
        excluded: data.exclude, which the advice repeats; None if the data set has no such key.
    """
    warnings = []
    excluded = None if excluded is None else list(excluded)
    for name in unread:
        columns = _columns_of(name, preprocessing)
        them = "it" if len(columns) == 1 else "them"
        advice = f"Let the model read {them}"
        if excluded is not None:
            excluded += columns
            leave_out = as_typed("data.exclude", excluded) if len(excluded) <= MAX_TYPED else "data.exclude"
            advice += f", or leave {them} out with {leave_out}"
        warnings.append(
            f"{component.where}: {component.name} ({component.origin}) doesn't read inputs[{name!r}], so no prediction "
            f"depends on the column{'' if len(columns) == 1 else 's'} {some(list(map(repr, columns)))}. {advice}"
        )
    return warnings


def _columns_of(name: str, preprocessing: Preprocessing) -> list[str]:
    """Returns the columns of the data that an input is made of."""
    if name == "numbers":
        return [column.name for column in preprocessing.numbers]
    if name == "categories":
        return [column.name for column in preprocessing.categories]
    columns: list[TokensColumn | ArrayColumn] = [*preprocessing.tokens, *preprocessing.arrays]
    return [column.name for column in columns if preprocessing.input_name(column) == name]
