"""A table that an optimizer updates by rows: a step reads and writes the rows of its batch, and no others.

table (N, dim), and the optimizer's slots for it, (N, dim) each: a moving mean of the gradient, for example
stand-ins for them, (M, dim) each, which a copy of the optimizer updates: M is the number of ids that a batch reads

a step:   gathers the rows of the table and of its slots
          lets the copy update them, as if they were whole variables
          writes them back if every number is finite

So the arithmetic is that of Keras' own optimizer. Nothing may write to a table inside a `tf.cond`: XLA would copy the
whole table at every step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfrun.engine import private
from tfrun.engine.training import replicas
from tfrun.engine.training.groups import Group
from tfrun.engine.training.rows import RowGradient, write_rows
from tfrun.errors import ConfigError


class RowUpdate(NamedTuple):
    """What a step wants to write to a table.

    Attributes:
        ids: the rows, (M,) int32.
        is_first: which of them are written, (M,) bool.
        rows: the new rows of the table and of each of its slots, (M, …).
        others: the new values of the variables that the optimizer has once for all, such as its step count.
        finite: whether all new rows are finite, scalar bool.
    """

    ids: tf.Tensor
    is_first: tf.Tensor
    rows: list[tf.Tensor]
    others: list[tf.Tensor]
    finite: tf.Tensor


class StandIn(NamedTuple):
    """A copy of an optimizer for M rows of a table.

    Attributes:
        table: stands for the M rows of the table.
        slots: those of the copy, for it.
        optimizer: the copy.
    """

    table: keras.Variable
    slots: list[keras.Variable]
    optimizer: Any

    @classmethod
    def of(cls, table: keras.Variable, optimizer: Any, *, num_ids: int) -> StandIn:
        """Returns a copy of an optimizer for some rows of a table."""
        with private.backend_neutral_optimizers([]):
            rows = keras.Variable(tf.zeros([num_ids, *table.shape[1:]], table.dtype), dtype=table.dtype)
            copy = type(optimizer).from_config(optimizer.get_config())
            slots = build_with_slots(copy, [rows])[id(rows)]
        return cls(rows, slots, copy)


@dataclass
class Table:
    """A variable whose gradient comes by rows.

    Attributes:
        variable: the table, (N, …).
        group: the number of its optimizer group among the active ones.
        optimizer: the group's.
        slots: those of the optimizer's variables that belong to the table, each (N, …).
        others: those that it has once for all variables, except its learning rate.
        stand_in: for the M ids that a batch reads.
        last_place: (N,) int32, see `rows.Places`, which tables that are read by the same ids share; None where XLA
            sorts the ids.
    """

    variable: keras.Variable
    _: KW_ONLY
    group: int
    optimizer: Any
    slots: Sequence[keras.Variable]
    others: Sequence[keras.Variable]
    stand_in: StandIn = field(repr=False)
    last_place: tf.Variable | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls,
        variable: keras.Variable,
        group: Group,
        number: int,
        *,
        num_ids: int,
        last_place: tf.Variable | None,
        where: str,
    ) -> Table:
        """Returns a table, with the variables that a traced step can't make.

        Args:
            variable: the table, (N, …).
            group: its optimizer group.
            number: the group's among the active ones.
            num_ids: M, the ids that a batch reads.
            last_place: the variable of that name.
            where: the path of the group's keys in the config, for messages.

        Raises:
            ConfigError: the optimizer can't update some rows of a variable by themselves.
        """
        optimizer = group.optimizer
        slots = group.slots[id(variable)]
        of_variables = {id(slot) for slots in group.slots.values() for slot in slots}
        rest = [v for v in optimizer.variables if id(v) not in of_variables and v is not optimizer.learning_rate]
        if any(slot.shape != variable.shape for slot in slots) or any(len(other.shape) for other in rest):
            raise ConfigError(
                f"{where}.rows: {optimizer.name} can't update some rows of {variable.path} by "
                "themselves. Known: dense, which updates the whole table"
            )
        return cls(
            variable,
            group=number,
            optimizer=optimizer,
            slots=slots,
            others=rest,
            stand_in=StandIn.of(variable, optimizer, num_ids=num_ids),
            last_place=last_place,
        )

    def update(self, gradient: RowGradient, rate: tf.Tensor, strategy: tf.distribute.Strategy) -> RowUpdate:
        """Returns what a step wants to write; changes nothing.

        Args:
            gradient: of the table, clipped, the same on all replicas.
            rate: the learning rate, a scalar float32.
            strategy: the devices; called on one of its replicas.
        """
        stand_in = self.stand_in
        tables = [_local(variable, strategy) for variable in (self.variable, *self.slots)]
        rows = [tf.gather(table, gradient.ids) for table in tables]
        copied = _others_of(stand_in.optimizer, stand_in.slots)
        values = [tf.convert_to_tensor(_local(variable, strategy)) for variable in self.others]
        learning_rate = stand_in.optimizer.learning_rate
        known = {
            **dict(zip(map(id, (stand_in.table, *stand_in.slots)), rows, strict=True)),
            **dict(zip(map(id, copied), values, strict=True)),
            id(learning_rate): tf.cast(rate, learning_rate.dtype),
        }
        variables = [stand_in.table, *stand_in.slots, *copied, learning_rate]
        with (
            keras.StatelessScope([(variable, known[id(variable)]) for variable in variables]) as scope,
            private.backend_neutral_optimizers([stand_in.optimizer]),
        ):
            stand_in.optimizer.apply([gradient.values], [stand_in.table])
            new = [scope.get_current_value(variable) for variable in (stand_in.table, *stand_in.slots)]
            others = [scope.get_current_value(variable) for variable in copied]
        finite = tf.reduce_all(tf.stack([tf.reduce_all(tf.math.is_finite(of_rows)) for of_rows in new]))
        return RowUpdate(gradient.ids, gradient.is_first, new, others, finite)

    def write(self, update: RowUpdate, fine: tf.Tensor, strategy: tf.distribute.Strategy, *, in_xla: bool) -> None:
        """Writes an update if it is to be made; called on a replica.

        Args:
            update: what `update` returned.
            fine: whether to make it, a scalar bool.
            strategy: the devices.
            in_xla: whether the step is traced for XLA.
        """
        for variable, rows in zip((self.variable, *self.slots), update.rows, strict=True):
            table = _local(variable, strategy)
            write_rows(table, update.ids, rows, where=update.is_first & fine, in_xla=in_xla)


def build_with_slots(optimizer: Any, variables: Sequence[keras.Variable]) -> dict[int, list[keras.Variable]]:
    """Builds an optimizer, and returns the variables that it has for each of the given ones, by their identity."""
    slots: dict[int, list[keras.Variable]] = {id(variable): [] for variable in variables}
    add = optimizer.add_variable_from_reference

    def add_and_note(reference_variable: keras.Variable, *args: Any, **kwargs: Any) -> keras.Variable:
        slot = add(reference_variable, *args, **kwargs)
        slots.setdefault(id(reference_variable), []).append(slot)
        return slot

    optimizer.add_variable_from_reference = add_and_note
    try:
        optimizer.build(list(variables))
    finally:
        del optimizer.add_variable_from_reference
    return slots


def _others_of(optimizer: Any, slots: Sequence[keras.Variable]) -> list[keras.Variable]:
    known = {*map(id, slots), id(optimizer.learning_rate)}
    return [variable for variable in optimizer.variables if id(variable) not in known]


def _local(variable: keras.Variable, strategy: tf.distribute.Strategy) -> Any:
    """Returns the TensorFlow variable that this replica has of a variable."""
    if strategy.num_replicas_in_sync == 1:
        return variable.value
    number = tf.get_static_value(tf.distribute.get_replica_context().replica_id_in_sync_group)
    of_process = replicas.components(strategy, variable)  # each process has equally many, one after the other
    return of_process[int(number) % len(of_process)]
