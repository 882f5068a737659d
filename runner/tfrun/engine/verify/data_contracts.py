"""The contracts of components that are something only with data: data sets, models, algorithms.

`tfrun check model=mlp data=csv …` puts those that its words choose through them, with the config's data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfrun.data import preprocessing
from tfrun.data.table import Table
from tfrun.engine.training.step import Step, main_output
from tfrun.engine.verify.contracts import CLOSE, Finding, compiled, made_again, near, saved
from tfrun.protocols import AlgorithmOffer

SEED = 1


def of_dataset(load: Callable[[], Table]) -> Iterator[Finding]:
    """Puts a data set through its contract.

    Args:
        load: reads it anew.
    """
    table, again = load(), load()
    rows = {name: len(column) for name, column in table.columns.items()}
    told = f"{len(table.target)} targets; {', '.join(f'{name}: {count}' for name, count in rows.items())}"
    yield Finding("every column has a cell for each target", set(rows.values()) == {len(table.target)}, told)
    wrong = [name for name, column in table.columns.items() if not _is_column(column)]
    yield Finding(
        "columns are float64 without infinity, str objects, or arrays of numbers", not wrong, ", ".join(wrong)
    )
    wanted = "object" if table.task == "classification" else "float64"
    is_right = table.target.ndim == 1 and table.target.dtype == wanted
    yield Finding(f"the target is (N,) {wanted}", is_right, f"{table.target.shape} {table.target.dtype}")
    yield Finding("read again it is the same", preprocessing.fingerprint(table) == preprocessing.fingerprint(again))


def _is_column(column: Any) -> bool:
    if column.ndim > 1:
        return bool(column.dtype.kind in "biuf")
    if column.dtype == object:
        return all(isinstance(cell, str) for cell in column)
    return bool(column.dtype == np.float64 and not np.isinf(column).any())


def of_model(make: Callable[[], keras.Model], inputs: Any, num_outputs: int | None) -> Iterator[Finding]:
    """Puts a model through its contract.

    Args:
        make: makes it anew.
        inputs: a few encoded examples.
        num_outputs: how many outputs the data's target needs; None where the algorithm doesn't learn it.
    """

    def made_from(seed: int) -> keras.Model:
        keras.utils.set_random_seed(seed)
        model = make()
        model(inputs)
        return model

    model, x = made_from(SEED), tf.nest.map_structure(tf.convert_to_tensor, inputs)
    outputs = tf.convert_to_tensor(main_output(model(x, training=False)))
    rows = len(tf.nest.flatten(x)[0])
    if num_outputs is not None:
        shapes = f"{tuple(outputs.shape)}, wanted {(rows, num_outputs)}"
        yield Finding("gives each example its outputs", tuple(outputs.shape) == (rows, num_outputs), shapes)
    yield Finding("outputs are finite", bool(np.isfinite(outputs).all()))
    twin = [np.array_equal(a, b) for a, b in zip(model.get_weights(), made_from(SEED).get_weights(), strict=True)]
    yield Finding("a seed gives the same first weights again", all(twin))
    yield near("outside of training it always gives the same", main_output(model(x, training=False)), outputs, 0.0)
    changed = tf.nest.map_structure(lambda part: tf.concat([part[:-1], part[:1]], axis=0), x)
    other = tf.convert_to_tensor(main_output(model(changed, training=False)))
    yield near("an example's output depends on its own row only", other[:-1], outputs[:-1], CLOSE)
    yield from compiled(lambda given: main_output(model(given, training=False)), x)
    if not type(model).__module__.startswith("keras."):  # a functional model's config is Keras' own
        yield from made_again(model)
    yield saved(model, x, outputs)


def of_algorithm(step: Step, batch: Any) -> Iterator[Finding]:
    """Puts an algorithm through its contract.

    Args:
        step: the run's, with its model, loss and groups.
        batch: a few encoded examples, (inputs, targets, weights).
    """
    model, algorithm, trained = step.model, step.algorithm, [v for group in step.active for v in group.variables]
    x, y, _ = tf.nest.map_structure(tf.convert_to_tensor, batch)
    others = [*model.non_trainable_variables, *AlgorithmOffer.of(algorithm).variables]

    def forward() -> Any:
        with tf.GradientTape(persistent=True) as tape:
            total, _ = algorithm.forward(model, step.loss, x, y)
        totals = total if isinstance(total, dict) else {"": total}
        slopes = [
            tape.gradient(own, [v.value for v in (_variables_of(step, name) if name else trained)])
            for name, own in totals.items()
        ]
        used.extend(slope is not None for own in slopes for slope in own)
        return totals

    used: list[bool] = []
    before = [variable.numpy() for variable in trained]
    state = [variable.numpy() for variable in others]
    run = tf.function(forward, autograph=False)
    totals = run()
    scalars = all(value.shape == () and np.isfinite(value) for value in totals.values())
    told = ", ".join(f"{name or 'loss'} {np.asarray(value)}" for name, value in totals.items())
    yield Finding("forward gives a finite scalar", scalars, told)
    if "" not in totals:
        groups = {group.name for group in step.active}
        yield Finding(
            "or one for each optimizer group", totals.keys() == groups, f"groups: {', '.join(sorted(groups))}"
        )
    yield Finding("every trained weight gets a gradient", all(used), f"{sum(used)} of {len(used)}")
    same = all(np.array_equal(a, b.numpy()) for a, b in zip(before, trained, strict=True))
    yield Finding("forward leaves the trained weights as they are", same)
    for variable, value in zip(others, state, strict=True):
        variable.assign(value)
    yield near("from the same state it gives the same again", run(), totals, 0.0)
    evaluate = tf.function(lambda: step.evaluate(step.loss, x, y)[0], autograph=False)
    losses = evaluate()
    yield Finding("evaluate gives each example a loss", losses.shape == (len(y),), f"{tuple(losses.shape)}")
    yield near("evaluate always gives the same", evaluate(), losses, 0.0)


def _variables_of(step: Step, name: str) -> list[Any]:
    return next((group.variables for group in step.active if group.name == name), [])
