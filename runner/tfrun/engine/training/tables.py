"""The tables of a step: their gradients by rows, and their updates, which are made outside of every `tf.cond`.

Step.compute   the gradients of the tables; the rows of an id are added up
propose        the new rows; changes nothing
...            the step updates all other variables if every number is finite
write          the new rows if every number is finite; if not, the rows stay as they are
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfrun.engine.training import replicas
from tfrun.engine.training.groups import Group
from tfrun.engine.training.rows import Places, RowGradient, Tracing, is_by_rows, summed
from tfrun.engine.training.table import RowUpdate, Table


class Tables:
    """The tables of a step; there may be none.

    Args:
        tables: those that are updated by rows.
        groups: the active optimizer groups.
        strategy: the devices.
    """

    def __init__(self, tables: Sequence[Table], groups: Sequence[Group], strategy: tf.distribute.Strategy):
        self._tables = list(tables)
        self._groups = groups
        self._strategy = strategy
        self._by_variable = {id(table.variable): table for table in tables}

    def __bool__(self) -> bool:
        return bool(self._tables)

    def __iter__(self) -> Iterator[Table]:
        return iter(self._tables)

    def __contains__(self, variable: keras.Variable) -> bool:
        return id(variable) in self._by_variable

    @property
    def variables(self) -> list[keras.Variable]:
        """The tables and their slots."""
        return [variable for table in self._tables for variable in (table.variable, *table.slots)]

    def summed(self, gradients: Sequence[Any], variables: Sequence[keras.Variable], tracing: Tracing) -> list[Any]:
        """Returns the same gradients, those of tables with one row for each id.

        Args:
            gradients: tensors, or tf.IndexedSlices where the variable is a table.
            variables: whose they are.
            tracing: how the step is traced.
        """
        noted: dict[int, Places] = {}  # of the tables that are read by the same ids

        def with_sums(gradient: Any, variable: keras.Variable) -> Any:
            if variable not in self:
                return gradient
            last_place = self._by_variable[id(variable)].last_place
            if last_place is None or not tracing.in_xla:
                return summed(gradient, places=None, in_xla=tracing.in_xla)
            if id(last_place) not in noted:
                noted[id(last_place)] = Places.noted(tf.cast(gradient.indices, tf.int32), last_place)
            return summed(gradient, places=noted[id(last_place)], in_xla=True)

        return [with_sums(gradient, variable) for gradient, variable in zip(gradients, variables, strict=True)]

    def with_sums(
        self, differentiate: Callable[[], tuple[Any, ...]], variables: Sequence[keras.Variable], tracing: Tracing
    ) -> tuple[Any, ...]:
        """Returns what an algorithm gets of a pass: the loss, y_pred and the gradients.

        Those of tables are `tf.IndexedSlices` in which an id's rows are added up, so that their norms are right.
        """
        loss, y_pred, gradients = differentiate()
        sums = self.summed(gradients, variables, tracing)
        return loss, y_pred, [g.as_slices() if isinstance(g, RowGradient) else g for g in sums]

    def kept_by_rows(self, gradients: Sequence[Any], variables: Sequence[keras.Variable]) -> list[Any]:
        """Returns the gradients as whole tensors, except those of tables."""
        return [
            gradient if is_by_rows(gradient) and variable in self else tf.convert_to_tensor(gradient)
            for gradient, variable in zip(gradients, variables, strict=True)
        ]

    def whole(self, k: int, gradients: Sequence[Any]) -> tuple[list[Any], list[keras.Variable]]:
        """Returns the gradients and the variables of the k-th active group that are updated as a whole."""
        kept = [
            (gradient, variable)
            for gradient, variable in zip(gradients, self._groups[k].variables, strict=True)
            if variable not in self
        ]
        return [gradient for gradient, _ in kept], [variable for _, variable in kept]

    def propose(self, by_group: Sequence[Sequence[Any]], rates: tf.Tensor) -> list[RowUpdate]:
        """Returns the update of each table, on a replica.

        Args:
            by_group: the clipped gradients of each active group.
            rates: their learning rates, (num_groups,).
        """
        return [
            table.update(self._gradient(table, by_group), rates[table.group], self._strategy) for table in self._tables
        ]

    def are_finite(self, updates: Any) -> tf.Tensor:
        """Returns whether all new rows are finite, a scalar bool; `updates` are those of all replicas."""
        flags = [self._strategy.experimental_local_results(update.finite)[0] for update in updates]
        return tf.reduce_all(tf.stack(flags))

    def write(self, updates: Sequence[RowUpdate], fine: tf.Tensor, step: tf.Tensor, tracing: Tracing) -> None:
        """Writes the updates of all tables whose group updates at a step; called on a replica."""
        for table, update in zip(self._tables, updates, strict=True):
            updates_now = self._groups[table.group].updates(step)
            is_made = fine if updates_now is None else fine & updates_now
            table.write(update, is_made, self._strategy, in_xla=tracing.in_xla)

    def count_update(self, k: int, updates: Sequence[RowUpdate]) -> None:
        """Writes the variables that the optimizer of the k-th active group has once for all, such as its step count.

        Called for a group of tables alone; in any other, Keras writes them.
        """
        table, update = [pair for pair in zip(self._tables, updates, strict=True) if pair[0].group == k][-1]
        for variable, value in zip(table.others, update.others, strict=True):
            variable.assign(value)

    def _gradient(self, table: Table, by_group: Sequence[Sequence[Any]]) -> RowGradient:
        variables = self._groups[table.group].variables
        return next(
            gradient
            for gradient, variable in zip(by_group[table.group], variables, strict=True)
            if variable is table.variable
        )


class Undo:
    """Takes back a step whose update has made a variable infinite or NaN.

    A run with tables can't go back to an earlier state, since copying its state takes too long. So each step checks
    what it has written, except the rows of tables, which are checked before they are written.

    Args:
        strategy: the devices.
        changed: everything that a step changes, without tables and their slots.
        watched: those of them that must stay finite; a number that wasn't finite before may stay as it is.
        forward: those that the forward pass may have changed, with their values before it, on each replica.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        changed: Sequence[Any],
        *,
        watched: Sequence[Any],
        forward: Sequence[tuple[Any, Any]],
    ):
        before = {
            id(part): value
            for variable, values in forward
            for part, value in zip(
                replicas.components(strategy, variable), strategy.experimental_local_results(values), strict=True
            )
        }
        parts = [part for variable in changed for part in replicas.components(strategy, variable)]
        self._changed = [(part, before.get(id(part), tf.identity(part))) for part in parts]
        watched_parts = {id(part) for variable in watched for part in replicas.components(strategy, variable)}
        self._watched = [pair for pair in self._changed if id(pair[0]) in watched_parts and pair[0].dtype.is_floating]

    def unless_finite(self) -> tf.Tensor:
        """Restores the values from before if one isn't finite any more; returns whether all are, a scalar bool."""
        flags = [tf.reduce_all(tf.math.is_finite(part) | ~tf.math.is_finite(before)) for part, before in self._watched]
        finite = tf.reduce_all(tf.stack(flags)) if flags else tf.constant(True)
        for part, before in self._changed:
            part.assign(tf.where(finite, part, before))
        return finite
