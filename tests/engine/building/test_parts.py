"""The model, the loss, the metrics and the step of a run, from registered components."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrun.config.catalog import Catalog
from tfrun.config.component_settings import ComponentSettings
from tfrun.data.preprocessing import Preprocessing
from tfrun.data.targets import FittedTarget
from tfrun.engine.building import parts
from tfrun.engine.training.tolerances import LossScale, Skips
from tfrun.errors import ConfigError


def test_parts_are_built_and_used_together(small: Any) -> None:
    pieces = small.pieces("loss=huber", "metric=[mae,r2]")
    built = pieces.parts
    assert built.model.built and built.step.model is built.model
    assert [metric.name for metric in built.val_metrics.all] == ["loss", "mae", "r2"]
    assert [metric.name for metric in built.step.metrics.all] == ["loss", "mae", "r2"]
    assert not set(map(id, built.val_metrics.variables)) & set(map(id, built.step.metrics.variables))
    assert "loss.delta" in built.inputs.read()
    options = built.step.options
    assert (options.microbatches, options.loss_scale, options.averages, options.skips) == (1, None, None, None)


def test_options_of_the_trainer_are_those_of_the_step(small: Any) -> None:
    pieces = small.pieces("trainer.microbatches=2", "trainer.ema_decay=0.9", "trainer.on_divergence=skip")
    options = pieces.parts.step.options
    assert options.microbatches == 2 and isinstance(options.skips, Skips)
    assert options.averages is not None and len(options.averages.variables) == 2
    assert pieces.parts.inputs.read()["trainer.ema_decay"] == 0.9


def test_float16_needs_a_loss_scale(small: Any) -> None:
    options = small.pieces("trainer.precision=mixed_float16").parts.step.options
    assert isinstance(options.loss_scale, LossScale)


def fake_catalog(model: Any) -> Catalog:
    """Returns a catalog of one model without parameters."""
    component = SimpleNamespace(load=lambda: model, params=(), origin="mine.py:1", is_shipped=False)
    return cast(Catalog, SimpleNamespace(get=lambda *_, **__: component))


def test_a_model_gets_what_it_asks_for() -> None:
    targets = {"output": FittedTarget("regression"), "kind": FittedTarget("classification", ["a", "b", "c"])}
    preprocessing = cast(Preprocessing, SimpleNamespace(features="features", targets=targets))
    received: list[Any] = []

    def model(features: Any, num_outputs: int, more_outputs: dict[str, int]) -> Any:
        received.append((features, num_outputs, more_outputs))
        return keras.Sequential([keras.layers.Dense(num_outputs)])

    def small_model(num_outputs: int) -> Any:
        received.append(num_outputs)
        return keras.Sequential([keras.layers.Dense(num_outputs)])

    for function in (model, small_model):
        parts.build_model(ComponentSettings("m", {}), fake_catalog(function), preprocessing=preprocessing)
    assert received == [("features", 1, {"kind": 3}), 1]


class Fixed(keras.Model):
    """A model that returns a value, whatever it is given."""

    def __init__(self, value: Any):
        super().__init__()
        self.value = value

    def call(self, inputs: Any) -> Any:
        return self.value(inputs)


def build(small: Any, monkeypatch: pytest.MonkeyPatch, model: keras.Model) -> Any:
    monkeypatch.setattr(parts, "build_model", lambda *_, **__: model)
    return small.pieces()


def test_a_model_that_can_not_take_the_inputs_is_reported(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Fixed(lambda inputs: tf.matmul(inputs["numbers"], tf.zeros([99, 1])))
    with pytest.raises(ConfigError, match=r"model: it can't take these inputs: .*Received shapes: .*'numbers': \(2, "):
        build(small, monkeypatch, model)


def test_one_of_several_outputs_is_the_main_one(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Fixed(lambda inputs: {"price": inputs["numbers"][:, :1]})
    with pytest.raises(ConfigError, match="one of several outputs must be called 'output'. Received: price"):
        build(small, monkeypatch, model)


def test_a_metric_of_the_model_may_not_take_the_name_of_another(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Fixed(lambda inputs: inputs["numbers"][:, :1])
    model.error = keras.metrics.Mean("mae")
    with pytest.raises(ConfigError, match="model: its own metric has a name that is taken. Received: 'mae'"):
        build(small, monkeypatch, model)
    assert np.isfinite(float(model.error.result()))
