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
    assert {id(variable) for own in groups.values() for variable in own} == {id(variable) for variable in variables}


def test_patterns_are_searched_not_matched_from_the_start(variables: list[keras.Variable]) -> None:
    groups = assign_groups({"bias": "bias$|beta$", "rest": "kernel|gamma"}, variables)
    assert [path.rpartition("/")[2] for path in paths(groups["bias"])] == ["bias", "beta", "bias"]


@pytest.mark.parametrize(
    ("patterns", "told"),
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
def test_anything_but_one_group_for_each_is_an_error(
    variables: list[keras.Variable], patterns: dict[str, str], told: list[str]
) -> None:
    with pytest.raises(ConfigError) as error:
        assign_groups(patterns, variables)
    for text in [*told, *paths(variables)]:
        assert text in str(error.value)


def test_an_optional_group_may_match_nothing_if_the_others_cover_all(variables: list[keras.Variable]) -> None:
    patterns = {"all": ".", "wide": "^wide/"}
    assert list(assign_groups(patterns, variables, optional=["wide"])) == ["all"]
    with pytest.raises(ConfigError, match="wide.*matches no variable.*output/kernel is matched by no group"):
        assign_groups({"some": "hidden/|norm/", "wide": "^wide/"}, variables, optional=["wide"])


def test_description_of_groups(variables: list[keras.Variable]) -> None:
    hidden, output = variables[:2], variables[4:]
    optimizer = keras.optimizers.SGD(0.5, name="sgd")
    rate = tf.Variable(0.5, trainable=False)
    described = describe_groups([Group("fixed", hidden), Group("head", output, optimizer, None, 2.0, 3, rate)])
    assert described == [
        {
            "name": "fixed",
            "optimizer": "frozen",
            "learning_rate": None,
            "every": 1,
            "clip_norm": None,
            "parameters": 3 * 2 + 2,
            "variables": paths(hidden),
        },
        {
            "name": "head",
            "optimizer": "sgd",
            "learning_rate": 0.5,
            "every": 3,
            "clip_norm": 2.0,
            "parameters": 2 * 1 + 1,
            "variables": paths(output),
        },
    ]


def test_learning_rate_is_base_times_factor() -> None:
    constant = Group("a", [], base_learning_rate=tf.Variable(0.25))
    halving = Group(
        "b", [], schedule=lambda step: 0.5 ** tf.cast(step, tf.float32), base_learning_rate=tf.Variable(8.0)
    )
    steps = [tf.constant(step, tf.int64) for step in (0, 1, 3)]
    assert [float(constant.learning_rate(step)) for step in steps] == [0.25, 0.25, 0.25]
    assert [float(halving.learning_rate(step)) for step in steps] == [8.0, 4.0, 1.0]
