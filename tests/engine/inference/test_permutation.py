"""Permutation importance of columns of which it is known whether the model uses them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tfrun.engine.building.pieces import Pieces
from tfrun.engine.inference import permutation
from tfrun.engine.inference.permutation import importance
from tfrun.engine.training.program import Program


def pieces_of_linear(small: Any, *words: str, **weights: float) -> tuple[Pieces, Program]:
    """Returns the pieces of a linear model of the diabetes whose kernel is 0 but for some columns."""
    pieces = small.pieces(*words)
    program = pieces.make_program()
    names = [number.name for number in pieces.examples.preprocessing.number_inputs]
    for variable in pieces.parts.model.trainable_variables:
        values = np.zeros(variable.shape)
        if variable.path.endswith("kernel"):
            values[[names.index(name) for name in weights], 0] = list(weights.values())
        variable.assign(values)
    return pieces, program


def test_a_column_without_a_weight_has_no_importance(small: Any) -> None:
    pieces, program = pieces_of_linear(small, bmi=0.5, s5=-0.25)
    rows = pieces.examples.splits["test"]
    loss = program.evaluate(rows)["loss"]
    found = importance(pieces, program, rows)
    assert not isinstance(found, str)
    assert (found.metric, found.num_rows, found.repeats) == ("loss", 44, 5)
    assert found.value == pytest.approx(loss, rel=1e-6)
    means = {name: mean for name, mean, _ in found.columns}
    assert set(means) == {"age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6"}
    assert {name for name, mean in means.items() if abs(mean) > 1e-6} == {"bmi", "s5"}
    assert [mean for _, mean, _ in found.columns] == sorted(means.values(), reverse=True)


def test_it_is_what_the_metric_loses_and_the_same_each_time(small: Any) -> None:
    """mae, worked out with NumPy from the same permutations."""
    pieces, program = pieces_of_linear(small, "checkpoint.monitor=val/mae", bmi=0.5)
    rows = pieces.examples.splits["test"]
    found = importance(pieces, program, rows)
    assert not isinstance(found, str) and found.metric == "mae"
    fitted = pieces.examples.preprocessing
    target = fitted.targets["output"]
    bmi = pieces.examples.inputs["numbers"][rows][:, [n.name for n in fitted.number_inputs].index("bmi")]
    true = pieces.table.target[rows]

    def mae(cells: np.ndarray) -> float:
        return float(np.abs(0.5 * cells * target.standard_deviation + target.mean - true).mean())

    draws = np.random.default_rng(permutation.SEED)
    expected = {}
    for name in [column.name for column in (*fitted.numbers, *fitted.categories)]:
        orders = [draws.permutation(len(rows)) for _ in range(5)]
        expected[name] = [mae(bmi[order]) - mae(bmi) for order in orders]
    _, mean, spread = next(entry for entry in found.columns if entry[0] == "bmi")
    assert found.value == pytest.approx(mae(bmi), rel=1e-5)
    assert mean == pytest.approx(np.mean(expected["bmi"]), rel=1e-3)
    assert spread == pytest.approx(np.std(expected["bmi"]), rel=1e-3)


def test_of_a_metric_that_should_be_great_a_loss_counts(small: Any) -> None:
    words = ("checkpoint.monitor=val/r2", "metric=null", "+metric.r2.name=r2")
    pieces, program = pieces_of_linear(small, *words, bmi=0.5)
    found = importance(pieces, program, pieces.examples.splits["test"])
    assert (
        not isinstance(found, str) and found.metric == "r2" and found.columns[0][0] == "bmi" and found.columns[0][1] > 0
    )


def test_many_rows_are_selected_and_many_columns_permuted_less_often(
    small: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(permutation, "MAX_ROWS", 30)
    monkeypatch.setattr(permutation, "MAX_EVALUATIONS", 20)
    pieces, program = pieces_of_linear(small, bmi=0.5)
    found = importance(pieces, program, pieces.examples.splits["test"])
    assert not isinstance(found, str) and (found.num_rows, found.repeats) == (30, 2)


def test_what_has_no_importance(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pieces, program = pieces_of_linear(small, bmi=0.5)
    assert importance(pieces, program, np.arange(1)) == "There is a single row."
    for variable in pieces.parts.model.trainable_variables:
        variable.assign(np.full(variable.shape, np.nan))
    rows = pieces.examples.splits["test"]
    assert importance(pieces, program, rows) == "Undefined, since loss isn't defined on these rows."
    monkeypatch.setattr(permutation, "MAX_COLUMNS", 9)
    assert importance(pieces, program, rows) == "Left out, since there are 10 columns, more than 9."
