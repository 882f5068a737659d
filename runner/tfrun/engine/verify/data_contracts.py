"""The contracts of components that can only be checked with data: data sets, models, algorithms.

`tfrun check model=mlp data=csv …` checks those that its words choose, with the config's data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfrun.data.fingerprint import fingerprint
from tfrun.data.lazy_texts import LazyTexts
from tfrun.data.table import Table
from tfrun.data.targets import main_output
from tfrun.engine.training.rows import numbers as numbers_of
from tfrun.engine.training.step import Step
from tfrun.engine.verify.findings import (
    CLOSE,
    Finding,
    check_compiled,
    check_config,
    check_saved,
    compare,
    describe,
    shapes,
)
from tfrun.errors import DataError

SEED = 1


def check_dataset(load: Callable[[], Table]) -> Iterator[Finding]:
    """Checks a data set.

    Args:
        load: reads it anew.
    """
    try:
        table = load()
    except DataError as error:
        yield Finding("returns a table that can be trained on", False, describe(error))
        return
    again = load()
    num_rows = {name: len(column) for name, column in table.columns.items()}
    counts = ", ".join(f"{name}: {count}" for name, count in num_rows.items())
    is_complete = set(num_rows.values()) == {len(table.target)}
    yield Finding("every column has a row for each target", is_complete, f"{len(table.target)} targets; {counts}")
    wrong = [name for name, column in table.columns.items() if not _is_column(column)]
    promise = "columns are float64 without infinity, str objects, or arrays of numbers"
    yield Finding(promise, not wrong, ", ".join(wrong))
    dtype = "object" if table.task == "classification" else "float64"
    is_right = table.target.ndim == 1 and table.target.dtype == dtype
    yield Finding(f"the target is (N,) {dtype}", is_right, f"{table.target.shape} {table.target.dtype}")
    is_complete = not (table.target.dtype.kind == "f" and np.isnan(table.target).any())
    yield Finding("every row has a target", bool(is_complete))
    is_same = fingerprint(table) == fingerprint(again)
    yield Finding("read again, it is the same", is_same)


def _is_column(column: Any) -> bool:
    if column.ndim > 1:
        return bool(column.dtype.kind in "biuf")
    if isinstance(column, LazyTexts):
        return True  # it holds nothing else
    if column.dtype == object:
        return all(isinstance(cell, str) for cell in column)
    return bool(column.dtype == np.float64 and not np.isinf(column).any())


def check_model(make: Callable[[], keras.Model], inputs: Any, *, num_outputs: int | None) -> Iterator[Finding]:
    """Checks a model.

    Args:
        make: makes it anew.
        inputs: a few encoded examples.
        num_outputs: how many outputs the data's target needs; None if the algorithm doesn't learn it.
    """

    def seeded_model() -> keras.Model:
        keras.utils.set_random_seed(SEED)
        model = make()
        model(inputs)
        return model

    model = seeded_model()
    x = tf.nest.map_structure(tf.convert_to_tensor, inputs)

    def infer(x: Any) -> tf.Tensor:
        return main_output(model(x, training=False))

    outputs = tf.convert_to_tensor(infer(x))
    num_rows = len(tf.nest.flatten(x)[0])
    if outputs.shape[:1] != (num_rows,):
        yield Finding("returns an output for each example", False, f"{shapes(outputs)} for {num_rows} examples")
        return  # all other promises are about the outputs of examples
    if num_outputs is not None:
        shape = tuple(outputs.shape)
        needed = (num_rows, num_outputs)
        yield Finding("returns the outputs that the target needs", shape == needed, f"{shape}, needed {needed}")
    yield Finding("outputs are finite", bool(np.isfinite(outputs).all()))
    pairs = zip(model.get_weights(), seeded_model().get_weights(), strict=True)
    yield Finding("the same seed gives the same initial weights", all(np.array_equal(a, b) for a, b in pairs))
    promise = "outside training, the same inputs always give the same outputs"
    # twice, since the second of the two models above has set the seed once more
    yield compare(promise, [infer(x), infer(x)], expected=[outputs, outputs], tolerance=0.0)
    changed = tf.nest.map_structure(lambda part: tf.concat([part[:-1], part[:1]], axis=0), x)
    promise = "an example's output depends only on its own row"
    yield compare(promise, tf.convert_to_tensor(infer(changed))[:-1], expected=outputs[:-1], tolerance=CLOSE)
    yield from check_compiled(infer, x)
    if not type(model).__module__.startswith("keras."):  # a functional model's config is Keras' own
        yield from check_config(model)
    yield check_saved(model, x, outputs=outputs)


def check_algorithm(step: Step, batch: Any) -> Iterator[Finding]:
    """Checks an algorithm.

    Args:
        step: the run's, with its model, loss and groups.
        batch: a few encoded examples, (inputs, targets, weights).
    """
    trained = [variable for group in step.active for variable in group.variables]
    others = [*step.model.non_trainable_variables, *step.algorithm.variables]
    x, y, _ = tf.nest.map_structure(tf.convert_to_tensor, batch)
    has_gradient: list[bool] = []
    forward = partial(_forward, step, x=x, y=y, has_gradient=has_gradient)

    trained_before = [variable.numpy() for variable in trained]
    others_before = [variable.numpy() for variable in others]

    def restore() -> None:
        for variable, before in zip(others, others_before, strict=True):
            variable.assign(before)

    run = tf.function(lambda: forward(step.loss), autograph=False)
    totals = run()
    is_scalar = all(value.shape == () and np.isfinite(value) for value in totals.values())
    numbers = ", ".join(f"{name or 'loss'} {np.asarray(value)}" for name, value in totals.items())
    yield Finding("forward returns a finite scalar", is_scalar, numbers)
    if "" not in totals:
        groups = {group.name for group in step.active}
        promise = "or one for each optimizer group"
        yield Finding(promise, totals.keys() == groups, f"groups: {', '.join(sorted(groups))}")
    numbers = f"{sum(has_gradient)} of {len(has_gradient)}"
    yield Finding("every trained weight gets a gradient", all(has_gradient), numbers)
    pairs = zip(trained_before, trained, strict=True)
    is_unchanged = all(np.array_equal(before, variable.numpy()) for before, variable in pairs)
    yield Finding("forward doesn't change the trained weights", is_unchanged)
    restore()
    yield compare("from the same state, forward returns the same again", run(), expected=totals, tolerance=0.0)
    if step.learns_targets:
        restore()
        twice = tf.function(lambda: forward(lambda y, y_pred: 2.0 * step.loss(y, y_pred)), autograph=False)()
        is_used = any(not np.array_equal(twice[name], value) for name, value in totals.items())
        yield Finding("forward minimizes the loss of the config: twice the loss is another total", is_used)
    restore()
    yield _check_step(step, batch, moves_each_group="" not in totals)
    yield from _check_evaluate(step, x, y)


def _forward(step: Step, loss: Any, *, x: Any, y: Any, has_gradient: list[bool]) -> dict[str, tf.Tensor]:
    """Returns the scalars to minimize; while it is traced, adds to `has_gradient` which weights get one."""
    with tf.GradientTape(persistent=True) as tape:
        total, _ = step.algorithm.forward(step.model, loss, x, y)
    totals = total if isinstance(total, dict) else {"": total}
    trained = [variable for group in step.active for variable in group.variables]
    for name, value in totals.items():
        variables = _group_variables(step, name) if name else trained
        gradients = tape.gradient(value, [variable.value for variable in variables])
        has_gradient.extend(gradient is not None for gradient in gradients)
    return totals


def _check_evaluate(step: Step, x: Any, y: Any) -> Iterator[Finding]:
    """Checks an algorithm's evaluation of a few examples."""
    evaluate = tf.function(lambda: step.evaluate(step.loss, x, y)[0], autograph=False)
    losses = evaluate()
    yield Finding("evaluate returns a loss for each example", losses.shape == (len(y),), f"{tuple(losses.shape)}")
    yield compare("evaluate always returns the same", evaluate(), expected=losses, tolerance=0.0)


def _check_step(step: Step, batch: Any, *, moves_each_group: bool) -> Finding:
    """Checks the gradients that a step computes, with the algorithm's own `gradients` if it has this method."""
    data = tf.nest.map_structure(tf.convert_to_tensor, batch)
    batch_rows = tf.range(len(tf.nest.flatten(data)[0]))
    options = step.options
    # the loss is scaled so that gradients only just fit into float16, and microbatches may not divide a few rows
    step.options = replace(options, loss_scale=None, microbatches=1)
    try:
        first = tf.constant(0, tf.int64)
        compute = tf.function(lambda: step.strategy.run(step.compute, args=(data, batch_rows, first)), autograph=False)
        computed = compute()
    finally:
        step.options = options
    by_group = [[numbers_of(gradient) for gradient in of_group] for of_group in computed.by_group]
    by_replica = tf.nest.map_structure(step.strategy.experimental_local_results, by_group)
    norms = [float(tf.linalg.global_norm([values[0] for values in of_group])) for of_group in by_replica]
    is_moved = all(norms) if moves_each_group else any(norms)
    numbers = ", ".join(f"{group.name} {norm:.3g}" for group, norm in zip(step.active, norms, strict=True))
    return Finding("a step's gradients are finite and not all 0", bool(np.isfinite(norms).all() and is_moved), numbers)


def _group_variables(step: Step, name: str) -> list[Any]:
    return next((group.variables for group in step.active if group.name == name), [])
