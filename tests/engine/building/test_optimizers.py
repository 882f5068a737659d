"""Optimizer groups of the config, over a small model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrun.config.catalog import load_catalog
from tfrun.config.component_settings import ComponentSettings
from tfrun.config.earlier_runs import EarlierSchedule
from tfrun.config.settings import GroupSettings
from tfrun.engine.building import optimizers
from tfrun.engine.building.optimizers import build_groups, build_schedule, layer_factors
from tfrun.engine.training.groups import Group
from tfrun.engine.training.hyperparameters import Hyperparameter, Hyperparameters
from tfrun.engine.training.plan import Plan
from tfrun.errors import ConfigError

CATALOG = load_catalog()
PLAN = Plan(steps_per_epoch=10, last_step=100)


def group(match: str = ".", **changes: Any) -> GroupSettings:
    values: dict[str, Any] = {
        "match": match, "name": "sgd", "learning_rate": 0.5, "schedule": None, "clip_norm": None, "every": 1,
        "from_epoch": 0, "until_epoch": None, "frozen": False, "optional": False, "params": {},
    }  # fmt: skip
    return GroupSettings(**values | changes)


def build(*settings: GroupSettings, inputs: Hyperparameters | None = None) -> list[Group]:
    """Returns the groups a, b, … of a model with a kernel and a bias."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="output")])
    named = dict(zip("abc", settings, strict=False))
    return build_groups(named, CATALOG, model=model, plan=PLAN, inputs=inputs or Hyperparameters())


def test_each_variable_is_in_one_group() -> None:
    kernel, bias = build(group("kernel"), group("bias", name="adam", learning_rate=0.1))
    assert [v.path.rpartition("/")[2] for v in kernel.variables + bias.variables] == ["kernel", "bias"]
    assert (kernel.optimizer.name, bias.optimizer.name) == ("sgd", "adam")
    assert float(kernel.base_learning_rate.numpy()) == 0.5
    assert float(bias.base_learning_rate.numpy()) == pytest.approx(0.1)
    assert len(bias.optimizer.variables) == 4  # built: iteration, learning rate and two moments


def test_a_frozen_group_has_no_optimizer() -> None:
    kernel, bias = build(group("kernel"), group("bias", frozen=True))
    assert kernel.optimizer is not None and bias.optimizer is None
    with pytest.raises(ConfigError, match="every group is frozen, so there is nothing to train"):
        build(group(frozen=True))


def test_an_optional_group_may_be_left_out() -> None:
    assert [group.name for group in build(group(), group("^wide/", optional=True))] == ["a"]


def test_stages_are_counted_in_steps() -> None:
    (built,) = build(group(from_epoch=2, until_epoch=5, every=3))
    assert (built.first_step, built.end_step, built.every) == (20, 50, 3)


def test_floats_are_inputs_of_the_program_except_the_learning_rate() -> None:
    inputs = Hyperparameters()
    (built,) = build(group(name="adam", clip_norm=2.0, params={"beta_1": 0.8}), inputs=inputs)
    assert isinstance(built.clip_norm, Hyperparameter)
    assert inputs.read() == {"optimizer.groups.a.beta_1": 0.8, "optimizer.groups.a.clip_norm": 2.0}


def test_a_group_without_a_learning_rate_has_that_of_the_optimizer() -> None:
    (built,) = build(group(name="adam", learning_rate=None))
    assert float(built.base_learning_rate.numpy()) == pytest.approx(0.001)


def schedule(name: str, plan: Plan = PLAN, **params: Any) -> Any:
    settings, inputs = ComponentSettings(name, params), Hyperparameters()
    return build_schedule(settings, CATALOG, where="optimizer.groups.a.schedule", plan=plan, inputs=inputs)


def test_a_schedule_knows_the_length_of_the_run() -> None:
    factor, offer = schedule("linear", final=0.0)
    assert offer is None
    np.testing.assert_allclose([factor(tf.constant(step, tf.int64)) for step in (0, 33, 99)], [1.0, 2 / 3, 0.0])


EVERY_SCHEDULE: dict[str, dict[str, Any]] = {
    "cosine": {"final": 0.1, "warmup_steps": 7},
    "exponential": {"rate": 0.9, "decay_steps": 30},
    "linear": {"final": 0.1, "warmup_steps": 7},
    "one_cycle": {"start": 0.2, "rising": 0.4, "falling": 0.3, "final": 0.01},
    "piecewise": {"boundaries": [20, 60], "factors": [1.0, 0.3, 0.1]},
    "plateau": {"decay": 0.5, "patience": 1, "min_delta": 0.001, "final": 0.1},
}


@pytest.fixture
def float64() -> Iterator[None]:
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("is_set", [False, True])
def test_every_schedule_gives_a_compiled_step_its_float32_factors_in_float64(
    is_set: bool, build: Any, float64: None
) -> None:
    assert list(EVERY_SCHEDULE) == sorted(CATALOG.names("schedule"))
    chosen = {name: ComponentSettings(name, params if is_set else {}) for name, params in EVERY_SCHEDULE.items()}
    dense = [keras.layers.Dense(1, name=name) for name in chosen]
    model = keras.Sequential([keras.Input((2,)), *dense])
    settings = {
        name: group(f"{name}/", learning_rate=1.0, clip_norm=0.01, schedule=schedule)
        for name, schedule in chosen.items()
    }
    groups = build_groups(settings, CATALOG, model=model, plan=PLAN, inputs=Hyperparameters())
    step = build.step(model, groups)
    data = (tf.ones([2, 2], tf.float64), tf.ones([2, 1], tf.float64), ())
    compiled = tf.function(lambda number: step(data, tf.range(2), number).learning_rates, autograph=False)
    at = (0, 3, 30, 99)
    rates = [compiled(tf.constant(number, tf.int64)).numpy() for number in at]
    keras.config.set_floatx("float32")
    for k, (name, settings_of_one) in enumerate(chosen.items()):
        factor, _ = schedule(name, **settings_of_one.params)
        compute = tf.function(factor, autograph=False)
        expected = [compute(tf.constant(number, tf.int64)).numpy() for number in at]
        np.testing.assert_array_equal([rate[k] for rate in rates], expected, err_msg=name)


def test_a_schedule_of_an_earlier_run_ends_where_it_did() -> None:
    params = {"final": 0.0, "warmup_steps": 0}
    earlier = EarlierSchedule("linear", params)
    factor, _ = build_schedule(earlier, CATALOG, where="schedule", plan=PLAN, inputs=Hyperparameters())
    assert factor is not None
    np.testing.assert_allclose([factor(tf.constant(step, tf.int64)) for step in (0, 50, 100)], [1.0, 0.5, 0.0])


def test_a_schedule_may_use_the_values_of_epochs() -> None:
    factor, offer = schedule("plateau", monitor="val/loss", decay=0.5, patience=1)
    offer.end_epoch({"val/loss": tf.constant(1.0)})
    offer.end_epoch({"val/loss": tf.constant(1.0)})
    assert float(factor(tf.constant(0, tf.int64))) == 0.5


def test_a_schedule_that_uses_epochs_needs_no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    class Remembers:
        def __init__(self) -> None:
            self.losses: list[float] = []

        def __call__(self, step: tf.Tensor) -> float:
            return 0.5

        def end_epoch(self, values: dict[str, float]) -> None:
            self.losses.append(values["val/loss"])

    mine = Remembers()
    monkeypatch.setattr(optimizers, "build_function", lambda *_, **__: mine)
    factor, offer = schedule("plateau")
    offer.end_epoch({"val/loss": 3.0})
    assert (factor(tf.constant(0, tf.int64)), mine.losses, list(offer.variables)) == (0.5, [3.0], [])


def test_a_schedule_that_needs_a_length_refuses_a_run_without_one() -> None:
    message = r"optimizer\.groups\.a\.schedule: linear needs to know the run's length: trainer\.max_epochs or max_steps"
    with pytest.raises(ConfigError, match=message):
        schedule("linear", Plan(steps_per_epoch=10, last_step=None))
    for name in ("plateau", "exponential", "piecewise"):
        schedule(name, Plan(steps_per_epoch=10, last_step=None))


def test_no_schedule() -> None:
    assert build_schedule(None, CATALOG, where="", plan=PLAN, inputs=Hyperparameters()) == (None, None)


def test_rates_that_fall_with_the_distance_from_the_output() -> None:
    model = keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.Dense(3, name="first"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Dense(3, name="second"),
            keras.layers.Dense(1, name="third"),
        ]
    )
    factors = layer_factors(model.trainable_variables, 0.5)
    found = {variable.path.split("/")[-2]: factors.get(id(variable), 1.0) for variable in model.trainable_variables}
    assert found == {"first": 0.25, "norm": 0.25, "second": 0.5, "third": 1.0}


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "rmsprop"])
def test_layer_decay_is_a_smaller_learning_rate(small: Any, optimizer: str) -> None:
    """A step of a group with layer_decay equals that of two groups, of which one has the smaller rate."""

    def after_a_step(*groups: str) -> dict[str, np.ndarray]:
        words = ["model=mlp", "model.hidden_units=[3]", f"optimizer.groups={{all: null, {', '.join(groups)}}}"]
        pieces = small.pieces(*words, "trainer.compile=eager")
        program = pieces.make_program()
        program.mode = "graph_loop"
        program.run(0, 2)
        return {variable.path: variable.numpy() for variable in pieces.parts.model.trainable_variables}

    together = after_a_step(f"a: {{match: ., name: {optimizer}, learning_rate: 0.01, layer_decay: 0.1}}")
    apart = after_a_step(
        f"a: {{match: hidden, name: {optimizer}, learning_rate: 0.001}}",
        f"b: {{match: output, name: {optimizer}, learning_rate: 0.01}}",
    )
    for path, value in apart.items():
        np.testing.assert_allclose(together[path], value, rtol=2e-5, atol=1e-7, err_msg=path)
