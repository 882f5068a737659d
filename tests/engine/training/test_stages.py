"""Which groups a step trains, and whose layers it calls as in inference."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrun.engine.training.groups import Group
from tfrun.engine.training.rows import Tracing
from tfrun.engine.training.stages import Stage, Stages

X = np.array([[1.0, 2.0], [3.0, -4.0], [0.5, 0.0], [-1.0, 6.0]], np.float32)


@keras.saving.register_keras_serializable("test_stages")
class Positional(keras.layers.Layer):
    """Calls its dropout by hand, with `training` by position."""

    def __init__(self) -> None:
        super().__init__(name="positional")
        self.dropout = keras.layers.Dropout(0.5, seed=0)

    def build(self, input_shape: Any) -> None:
        self.scale = self.add_weight(shape=(), initializer="ones", name="scale")

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return self.dropout.call(inputs * self.scale, training)


@pytest.fixture
def model() -> keras.Model:
    """Returns a backbone with normalization and dropout, and a head with dropout."""
    backbone = keras.Sequential(
        [
            keras.layers.Dense(3, name="dense"),
            keras.layers.BatchNormalization(center=False, scale=False, name="norm"),
            keras.layers.Dropout(0.5, seed=1),
            Positional(),
        ],
        name="backbone",
    )
    head = keras.Sequential([keras.layers.Dropout(0.5, seed=2), keras.layers.Dense(1)], name="head")
    model = keras.Sequential([keras.Input((2,)), backbone, head], name="net")
    return model


def groups_of(model: keras.Model, **of_backbone: Any) -> list[Group]:
    def variables(name: str) -> list[keras.Variable]:
        return [variable for variable in model.trainable_variables if name in variable.path]

    def optimizer() -> Any:
        return keras.optimizers.SGD(0.1)

    settings = {"optimizer": optimizer(), **of_backbone}
    return [
        Group("backbone", variables("backbone"), match="backbone/", **settings),
        Group("head", variables("head"), match="head/", optimizer=optimizer()),
    ]


def stages(model: keras.Model, **of_backbone: Any) -> Stages:
    return Stages(model, groups_of(model, **of_backbone))


def test_stages_follow_the_steps_between_which_groups_are_trained(model: keras.Model) -> None:
    found = stages(model, first_step=10, end_step=30)
    outside, inside = Stage(frozenset({"backbone"}), frozenset({"backbone"})), Stage()
    assert [found.at(step) for step in (0, 9, 10, 29, 30)] == [outside, outside, inside, inside, outside]
    assert [found.end_of(step) for step in (0, 9, 10, 29, 30)] == [10, 10, 30, 30, math.inf]
    assert found.are_several
    assert (str(outside), str(inside)) == ("without backbone", "")


@pytest.mark.parametrize(
    ("of_backbone", "idle", "at_rest"),
    [
        ({"optimizer": None}, {"backbone"}, {"backbone"}),
        ({"optimizer": None, "statistics": "moving"}, set(), set()),
        ({"statistics": "frozen"}, set(), {"backbone"}),
        ({}, set(), set()),
    ],
)
def test_statistics_of_a_group(model: keras.Model, of_backbone: Any, idle: set[str], at_rest: set[str]) -> None:
    found = stages(model, **of_backbone)
    assert found.at(5) == Stage(frozenset(idle), frozenset(at_rest))
    assert not found.are_several


def test_moving_statistics_have_no_stages(model: keras.Model) -> None:
    found = stages(model, first_step=10, statistics="moving")
    assert (found.at(0), found.end_of(0)) == (Stage(), math.inf)


def test_the_layers_of_a_group_are_those_whose_variables_are_all_in_it(model: keras.Model) -> None:
    found = stages(model, optimizer=None)
    names = {layer.name for layer in found.layers_at_rest(found.at(0))}
    assert {"backbone", "dense", "norm", "positional"} <= names
    assert not {"net", "head"} & names
    dropouts = [layer for layer in found.layers_at_rest(found.at(0)) if isinstance(layer, keras.layers.Dropout)]
    assert len(dropouts) == 2  # that between the layers, and that inside of one


def test_a_layer_without_trainable_variables_belongs_to_the_group_that_its_other_variables_match() -> None:
    model = keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.BatchNormalization(center=False, scale=False, name="backbone_norm"),
            keras.layers.Dense(1, name="head_dense"),
        ]
    )
    found = stages(model, optimizer=None)
    found._groups[0].match = "backbone_"
    assert [layer.name for layer in found.layers_at_rest(found.at(0))] == ["backbone_norm"]


def test_layers_at_rest_run_as_in_inference_and_only_inside_the_context(model: keras.Model) -> None:
    found = stages(model, optimizer=None)
    backbone, _ = model.layers
    norm = backbone.get_layer("norm")
    expected = backbone(X, training=False).numpy()
    for _ in range(2):  # and a second time, when methods have been replaced before
        before = [variable.numpy() for variable in norm.variables]
        with found.entered(found.at(0)):
            np.testing.assert_array_equal(backbone(X, training=True), expected)
            outputs = [model(X, training=True).numpy() for _ in range(4)]
        assert len({output.tobytes() for output in outputs}) > 1  # the head's dropout draws
        for variable, value in zip(norm.variables, before, strict=True):
            np.testing.assert_array_equal(variable, value)
    trained = backbone(X, training=True).numpy()
    assert not np.array_equal(trained, expected)
    assert not np.array_equal(norm.moving_mean, np.zeros(3))


def test_an_idle_group_gets_no_gradient(build: Any) -> None:
    """y = w·x + b with w idle: dL/db = mean 2·e = -6, which is the norm; nothing is differentiated for w."""
    model = build.linear([0.0], 0.0)
    kernel, bias = model.trainable_variables
    groups = [build.group([kernel], 0.1, "kernel", first_step=5), build.group([bias], 0.1, "bias")]
    step = build.step(model, groups)
    data = tf.nest.map_structure(
        tf.constant, (np.array([[1.0], [2.0]], np.float32), np.array([[2.0], [4.0]], np.float32), ())
    )
    tracing = Tracing(stage=step.stages.at(0))
    loss, norm, _, _ = step(data, tf.constant([0, 1]), tf.constant(0, tf.int64), tracing=tracing)
    np.testing.assert_allclose([loss, norm], [10.0, 6.0], rtol=1e-6)
    np.testing.assert_allclose([kernel.numpy().item(), bias.numpy().item()], [0.0, 0.6], rtol=1e-6)
