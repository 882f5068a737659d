"""Finds the tables of a model that its optimizers update by rows, and says of the others why they aren't.

A table is a variable from which a batch reads rows by their ids. Updating those rows alone is the same as updating the
whole table if a gradient of 0 changes nothing:

    SGD without momentum      w ← w − lr·g
    AdaGrad                   a ← a + g²; w ← w − lr·g / √a
    FTRL                      w is worked out anew from sums that g adds to: the same as long as the rate is constant,
                              and w = 0 before the first step, as the formula gives for sums of 0

With other optimizers it is another algorithm, as TensorFlow Addons' LazyAdam and PyTorch's SparseAdam are: what a row
remembers stands still while no batch reads it. That needs `rows: lazy`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfrun.config.settings import GroupSettings
from tfrun.engine.building.structure import Structure
from tfrun.engine.training.groups import Group
from tfrun.engine.training.step import Step
from tfrun.engine.training.table import Table
from tfrun.errors import ConfigError

MIN_ROWS = 2048  # a smaller table is updated as a whole in microseconds, and so are runs that are trained together
SLOW_ROWS = 100_000
WHOLE_VARIABLES = ("Lamb", "Muon", "Adafactor")  # their step of a row depends on all rows


@dataclass(frozen=True)
class WholeTable:
    """A table that is updated as a whole at every step.

    Attributes:
        variable: its path.
        rows: how many it has.
        why: why, and what would change it.
    """

    variable: str
    rows: int
    why: str

    @property
    def is_slow(self) -> bool:
        """Whether these updates take most of a step's time."""
        return self.rows >= SLOW_ROWS

    def __str__(self) -> str:
        return f"{self.variable}: a step updates all {self.rows:,} rows, since {self.why}"


def find_tables(
    step: Step, settings: Mapping[str, GroupSettings], *, sample: tuple[Any, ...], batch_size: int
) -> tuple[list[Table], list[WholeTable]]:
    """Returns the tables that are updated by rows, and those that aren't.

    Args:
        step: the training step; it isn't changed.
        settings: the optimizer groups, by name.
        sample: a few encoded examples (inputs, targets, weights).
        batch_size: rows of a step.

    Raises:
        ConfigError: a group's `rows` is "lazy", and its optimizer can't update rows by themselves.
    """
    candidates = [variable for group in step.active for variable in group.variables if _may_be_table(variable)]
    if not candidates:
        return [], []
    reads = _reads(step, candidates, sample=sample, batch_size=batch_size)
    last_places = _LastPlaces(step)
    tables: list[Table] = []
    whole: list[WholeTable] = []
    for number, group in enumerate(step.active):
        rows, where = settings[group.name].rows, settings[group.name].where
        for variable in filter(lambda variable: id(variable) in reads and rows != "dense", group.variables):
            num_ids = reads[id(variable)].num_ids
            reasons = _reasons(step, group, variable, num_ids=num_ids, is_lazy=rows == "lazy", where=where)
            why = next(filter(None, reasons), "")
            if why:
                whole.append(WholeTable(variable.path, variable.shape[0], why))
            elif num_ids * 2 <= variable.shape[0]:
                last_place = last_places.of(variable, reads[id(variable)])
                tables.append(Table.of(variable, group, number, num_ids=num_ids, last_place=last_place, where=where))
    return tables, whole


class _Read(NamedTuple):
    """How a batch reads a table.

    Attributes:
        num_ids: the rows that its gradient has; 0 for all rows.
        ids: the same for tables that are read by the same ids.
    """

    num_ids: int
    ids: Hashable = None


class _LastPlaces:
    """Makes the `last_place` of tables: one for all that are read by the same ids, in two parts of a model for example.

    Args:
        step: the training step.
    """

    def __init__(self, step: Step):
        # on a GPU it isn't fixed which of several writes to a place is the last one
        self._is_used = step.strategy.num_replicas_in_sync == 1 and not tf.config.list_logical_devices("GPU")
        self._by_ids: dict[Hashable, tf.Variable] = {}

    def of(self, variable: keras.Variable, read: _Read) -> tf.Variable | None:
        """Returns the variable of a table, or None if its ids are sorted."""
        if not self._is_used:
            return None
        key = (variable.shape[0], read.ids)
        if key not in self._by_ids:
            self._by_ids[key] = tf.Variable(tf.zeros(variable.shape[:1], tf.int32), trainable=False)
        return self._by_ids[key]


def _may_be_table(variable: keras.Variable) -> bool:
    return len(variable.shape) == 2 and variable.shape[0] >= MIN_ROWS


def _reads(
    step: Step, candidates: Sequence[keras.Variable], *, sample: tuple[Any, ...], batch_size: int
) -> dict[int, _Read]:
    """Returns how a batch reads each table, by the table's identity."""
    replicas = step.strategy.num_replicas_in_sync
    share = batch_size // replicas // step.options.microbatches
    reads: dict[int, _Read] = {}
    ids: dict[int, tf.Tensor] = {}

    def differentiate(x: Any, y: Any, weights: Any) -> None:
        _, _, gradients = step.raw_gradients(x, y, weights, ())
        trained = [variable for group in step.active for variable in group.variables]
        by_variable = {id(variable): gradient for variable, gradient in zip(trained, gradients, strict=True)}
        for variable in candidates:
            gradient = by_variable[id(variable)]
            if isinstance(gradient, tf.IndexedSlices):
                num_ids = gradient.indices.shape[0] * replicas * step.options.microbatches
                reads[id(variable)] = _Read(num_ids)
                ids[id(variable)] = gradient.indices

    specs = tf.nest.map_structure(lambda array: tf.TensorSpec([share, *array.shape[1:]], array.dtype), sample)
    traced = tf.function(lambda *batch: step.strategy.run(differentiate, args=batch), autograph=False)
    graph = traced.get_concrete_function(*specs).graph
    for variable in candidates:
        if id(variable) not in reads and replicas == 1 and _is_read_by_ids(graph, variable):
            reads[id(variable)] = _Read(0)
    if replicas == 1:
        structure = Structure(graph)
        reads |= {key: reads[key]._replace(ids=structure.key(tensor)) for key, tensor in ids.items()}
    return reads


def _is_read_by_ids(graph: Any, variable: keras.Variable) -> bool:
    """Returns whether a graph gathers rows of a variable, whatever else it does with it."""
    waiting = [inner for outer, inner in graph.captures if outer is variable.value.handle]
    while waiting:
        tensor = waiting.pop()
        for op in tensor.consumers():
            if op.type in ("ResourceGather", "GatherV2") and op.inputs[0] is tensor:
                return True
            if op.type in ("ReadVariableOp", "Identity", "Cast"):
                waiting += op.outputs
    return False


def _reasons(
    step: Step, group: Group, variable: keras.Variable, *, num_ids: int, is_lazy: bool, where: str
) -> Iterator[str]:
    """Yields what keeps a table from being updated by rows, or empty texts; `where` has the group's keys."""
    if variable.regularizer is not None:
        yield "its regularizer is a penalty on all of them. Without it the rows of a batch would do"
    if num_ids == 0:
        yield "the model uses it as a whole too, as the weights of an output for example"
    if variable.constraint is not None:
        yield "its constraint changes all of them. Without it the rows of a batch would do"
    if step.options.averages is not None:
        yield "trainer.ema_decay averages all of them. Without it the rows of a batch would do"
    if id(variable) in group.factors:
        yield f"{where}.layer_decay updates all of them by a part. A group of its own has none"
    if step.algorithm.gradients is not None and not step.algorithm.takes_rows:
        yield "the algorithm computes with whole gradients"
    kind = type(group.optimizer).__name__
    if is_lazy and kind in WHOLE_VARIABLES:
        raise ConfigError(
            f"{where}.rows: {group.optimizer.name} can't update some rows by themselves, since each depends on all. "
            "Received: lazy. Known: auto, dense, or another optimizer, such as adagrad"
        )
    if is_lazy and kind == "Ftrl" and group.schedule is not None:
        raise ConfigError(
            f"{where}.rows: the weights of ftrl follow from its rate, so rows that no batch reads need a constant one. "
            "Received: lazy, with a schedule. Known: auto, dense, or another optimizer, such as adagrad"
        )
    if not is_lazy:
        yield _not_exact(group, variable, where)


def _not_exact(group: Group, variable: keras.Variable, where: str) -> str:
    """Returns why updating rows alone is another algorithm than updating all; empty if it is the same."""
    optimizer = group.optimizer
    lazy = f"{where}.rows=lazy updates those of a batch alone"
    is_exact = EXACT.get(type(optimizer))
    if is_exact is None or optimizer.weight_decay or optimizer.use_ema or optimizer.gradient_accumulation_steps:
        exact = "optimizer=adagrad" if where == "optimizer" else f"{where}.name=adagrad"
        return f"{optimizer.name} changes rows without a gradient too. {lazy}, and so does {exact}"
    if not is_exact(group, variable):
        return f"{optimizer.name} with these parameters changes rows without a gradient too. {lazy}"
    return ""


def _sgd_is_exact(group: Group, variable: keras.Variable) -> bool:
    return bool(group.optimizer.momentum == 0)


def _adagrad_is_exact(group: Group, variable: keras.Variable) -> bool:
    return True


def _ftrl_is_exact(group: Group, variable: keras.Variable) -> bool:
    is_zero = not bool(tf.reduce_any(tf.convert_to_tensor(variable.value) != 0))
    has_shrinkage = group.optimizer.l2_shrinkage_regularization_strength != 0
    return is_zero and group.schedule is None and not has_shrinkage


EXACT: dict[type, Callable[[Group, keras.Variable], bool]] = {
    keras.optimizers.SGD: _sgd_is_exact,
    keras.optimizers.Adagrad: _adagrad_is_exact,
    keras.optimizers.Ftrl: _ftrl_is_exact,
}
