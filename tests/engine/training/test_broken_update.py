"""Which variables the update of a step would break, with gradients worked out by hand."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import tensorflow as tf

from tfrun.engine.training.broken_update import broken_by_update
from tfrun.engine.training.step import Step

BINS = 2500
GROUPS = [
    "optimizer=for_linear",
    "optimizer.groups.all=null",
    "+optimizer.groups.tables={match: table, name: sgd, every: 2}",
    "+optimizer.groups.rest={match: bias, name: adagrad}",
]


@pytest.fixture
def pieces(small: Any, tmp_path: Path) -> Any:
    """A table of one weight for each user, and a bias: y = w[user] + b; all weights are 0."""
    path = tmp_path / "rows.csv"
    path.write_text("user,y\n" + "".join(f"u{k % 97},{k % 7 - 3}\n" for k in range(200)))
    text = f"data.text={{user: {{name: hash, bins: {BINS}}}}}"
    data = ["data=csv", f"data.path={path}", "data.target=y", text, "data.batch_size=32", "loss=mse"]
    return small.pieces("model=wide_deep", "model.deep=false", "model.crosses=[]", *data, *GROUPS)


@pytest.mark.parametrize(
    ("rates", "step_number", "expected"),
    [
        ({}, 1, []),
        # 3e38 times the gradient by a user's weight: the 2e4 of the bias, divided among the users of the batch
        ({"tables": 3e38}, 1, ["wide/table (optimizer.groups.tables)"]),
        ({"tables": 3e38}, 0, []),  # a group that updates at every second step
        ({"rest": float("inf")}, 1, ["wide/bias (optimizer.groups.rest)"]),
        (
            {"tables": 3e38, "rest": float("inf")},
            1,
            ["wide/table (optimizer.groups.tables)", "wide/bias (optimizer.groups.rest)"],
        ),
    ],
)
def test_the_variables_are_named_and_nothing_changes(
    pieces: Any, rates: dict[str, float], step_number: int, expected: list[str]
) -> None:
    step = pieces.parts.step
    bias = next(variable for variable in step.model.variables if variable.path == "wide/bias")
    bias.assign([1e4])  # then its gradient is 2e4
    for group in step.active:
        group.base_learning_rate.assign(rates.get(group.name, 0.01))
    before = pieces.state().read()
    selection = pieces.make_feed(streams=False).batches(step_number, 1, length=32)
    assert broken_by_update(step, selection.data, selection.rows[:32], step_number=step_number) == expected
    for slot, values in pieces.state().read().items():
        np.testing.assert_array_equal(values, before[slot], err_msg=slot)


def test_several_replicas_are_left_alone() -> None:
    step = cast(Step, SimpleNamespace(strategy=SimpleNamespace(num_replicas_in_sync=2)))
    assert broken_by_update(step, None, tf.zeros([2], tf.int32), step_number=0) == []
