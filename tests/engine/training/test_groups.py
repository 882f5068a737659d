"""Which variables belong to which optimizer group, and the learning rates of groups."""

from __future__ import annotations

import keras
import pytest
import tensorflow as tf

from tfrun.engine.training.groups import Group, assign_groups, describe_groups
from tfrun.errors import ConfigError


@pytest.fixture(scope="module")
def variables() -> list[keras.Variable]:
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(2, name="hidden"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Dense(1, name="output"),
        ],
        name="net",
    )
    return model.trainable_variables


def paths(group: list[keras.Variable]) -> list[str]:
    return [variable.path for variable in group]


def test_every_variable_is_in_one_group(variables: list[keras.Variable]) -> None:
    groups = assign_groups({"out": "output/", "rest": "hidden/|norm/"}, variables)
    assert paths(groups["out"]) == ["net/output/kernel", "net/output/bias"]
    assert len(groups["rest"]) == 4
    assert {id(variable) for group in groups.values() for variable in group} == {id(variable) for variable in variables}


def test_a_pattern_may_match_anywhere_in_a_path(variables: list[keras.Variable]) -> None:
    groups = assign_groups({"bias": "bias$|beta$", "rest": "kernel|gamma"}, variables)
    assert [path.rpartition("/")[2] for path in paths(groups["bias"])] == ["bias", "beta", "bias"]


@pytest.mark.parametrize(
    ("patterns", "messages"),
    [
        ({"all": ".", "typo": "^hiden/"}, ["optimizer.groups.typo.match: '^hiden/' matches no variable"]),
        ({"a": ".", "b": "output/"}, ["output/kernel is matched by a and b", "output/bias is matched by a and b"]),
        ({"a": "hidden/|norm/"}, ["output/kernel is matched by no group", "output/bias is matched by no group"]),
        (
            {"a": "kernel", "b": "hidden/", "c": "nothing"},
            ["'nothing' matches no", "hidden/kernel is matched by a and b", "norm/gamma is matched by no group"],
        ),
    ],
)
def test_a_variable_in_no_group_or_in_two_is_an_error(
    variables: list[keras.Variable], patterns: dict[str, str], messages: list[str]
) -> None:
    with pytest.raises(ConfigError) as error:
        assign_groups(patterns, variables)
    for text in [*messages, *paths(variables)]:
        assert text in str(error.value)


def test_an_optional_group_may_match_nothing_if_the_others_cover_all(variables: list[keras.Variable]) -> None:
    patterns = {"all": ".", "wide": "^wide/"}
    assert list(assign_groups(patterns, variables, optional=["wide"])) == ["all"]
    with pytest.raises(ConfigError, match="wide.*matches no variable.*output/kernel is matched by no group"):
        assign_groups({"some": "hidden/|norm/", "wide": "^wide/"}, variables, optional=["wide"])


def test_groups_are_described_for_run_json(variables: list[keras.Variable]) -> None:
    hidden, output = variables[:2], variables[4:]
    optimizer = keras.optimizers.SGD(0.5, name="sgd")
    rate = tf.Variable(0.5, trainable=False)
    head = Group("head", output, optimizer=optimizer, clip_norm=2.0, every=3, base_learning_rate=rate)
    described = describe_groups([Group("fixed", hidden), head])
    assert described == [
        {
            "name": "fixed",
            "optimizer": "frozen",
            "learning_rate": None,
            "every": 1,
            "statistics": "auto",
            "clip_norm": None,
            "parameters": 3 * 2 + 2,
            "variables": paths(hidden),
            "tables": {},
        },
        {
            "name": "head",
            "optimizer": "sgd",
            "learning_rate": 0.5,
            "every": 3,
            "statistics": "auto",
            "clip_norm": 2.0,
            "parameters": 2 * 1 + 1,
            "variables": paths(output),
            "tables": {},
        },
    ]


def test_the_learning_rate_is_the_base_times_the_factor() -> None:
    constant = Group("a", [], base_learning_rate=tf.Variable(0.25))
    halving = Group(
        "b", [], schedule=lambda step: 0.5 ** tf.cast(step, tf.float32), base_learning_rate=tf.Variable(8.0)
    )
    steps = [tf.constant(step, tf.int64) for step in (0, 1, 3)]
    assert [float(constant.learning_rate(step)) for step in steps] == [0.25, 0.25, 0.25]
    assert [float(halving.learning_rate(step)) for step in steps] == [8.0, 4.0, 1.0]


def test_a_group_updates_at_every_nth_step_of_its_stage() -> None:
    always = Group("a", [])
    staged = Group("b", [], every=2, first_step=3, end_step=8)
    assert always.updates(tf.constant(0, tf.int64)) is None
    updates = [staged.updates(tf.constant(step, tf.int64)) for step in range(10)]
    assert [step for step, value in enumerate(updates) if value is not None and bool(value)] == [4, 6]


def test_the_learning_rate_is_0_outside_of_the_stage() -> None:
    group = Group("a", [], base_learning_rate=tf.Variable(0.5), first_step=1, end_step=3)
    assert [float(group.learning_rate(tf.constant(step, tf.int64))) for step in range(4)] == [0.0, 0.5, 0.5, 0.0]
