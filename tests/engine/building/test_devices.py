"""Strategies, precisions and batch sizes, and what they can't be."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any, cast

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrun.config.settings import StrategySettings
from tfrun.engine.building import devices
from tfrun.errors import ConfigError, ResourceError

HAS_GPU = bool(tf.config.list_physical_devices("GPU"))


@pytest.fixture(autouse=True)
def _restore_float32() -> Any:
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")


def trainer(**changes: Any) -> Any:
    return SimpleNamespace(**{"threads": None, "precision": "float32", "deterministic": False} | changes)


def replicas(count: int) -> tf.distribute.Strategy:
    return cast(tf.distribute.Strategy, SimpleNamespace(num_replicas_in_sync=count))


@pytest.mark.parametrize(
    ("precision", "floatx", "policy"),
    [
        ("float32", "float32", "float32"),
        ("float64", "float64", "float64"),
        ("mixed_bfloat16", "float32", "mixed_bfloat16"),
    ],
)
def test_the_precision_is_set(precision: str, floatx: str, policy: str) -> None:
    devices.prepare(trainer(precision=precision), StrategySettings("auto"), seed=0)
    assert (keras.config.floatx(), keras.config.dtype_policy().name) == (floatx, policy)


def test_a_seed_gives_the_same_numbers() -> None:
    draws = []
    for seed in (3, 3, 4):
        devices.prepare(trainer(), StrategySettings("auto"), seed=seed)
        draws.append((random.random(), np.random.rand(), float(keras.random.normal(()))))
    assert draws[0] == draws[1] != draws[2]


def test_names_begin_again_for_each_run() -> None:
    names = []
    for _ in range(2):
        devices.prepare(trainer(), StrategySettings("auto"), seed=0)
        names.append(keras.layers.Dense(1).name)
    assert names == ["dense", "dense"]


@pytest.mark.skipif(HAS_GPU, reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ResourceError, match="strategy: gpu needs a GPU.*Received devices: CPU:0"):
        devices.prepare(trainer(), StrategySettings("gpu"), seed=0)


@pytest.mark.skipif(HAS_GPU, reason="there is a GPU")
def test_mirrored_needs_several_devices_that_exist() -> None:
    with pytest.raises(ResourceError, match=r"mirrored needs two devices or more\. Received: none"):
        devices.prepare(trainer(), StrategySettings("mirrored"), seed=0)
    with pytest.raises(ResourceError, match=r"strategy\.devices: no such device\. Received: GPU:7"):
        devices.prepare(trainer(), StrategySettings("mirrored", devices=["GPU:7"]), seed=0)


def test_what_a_data_set_has_started_can_not_be_changed() -> None:
    tf.constant(1)  # TensorFlow's runtime has started
    with pytest.raises(
        ResourceError, match=r"trainer\.threads: TensorFlow had started before.*in the data set"
    ) as caught:
        devices.prepare(trainer(), StrategySettings("mirrored", logical_cpus=7), seed=0)
    assert "\n" not in str(caught.value)


def test_gpus_whose_memory_is_taken_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = [SimpleNamespace(name="GPU:0"), SimpleNamespace(name="GPU:1")]
    grow: list[tuple[str, bool]] = []

    def set_memory_growth(gpu: Any, enable: bool) -> None:
        if gpu is gpus[1]:
            raise RuntimeError("Physical devices cannot be modified after being initialized")
        grow.append((gpu.name, enable))

    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: gpus if kind == "GPU" else [])
    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", set_memory_growth)
    assert devices.take_memory_as_needed() == ["GPU:1"]
    assert grow == [("GPU:0", True)]


def test_a_batch_is_divided_evenly() -> None:
    devices.check_batch_size(32, replicas(2), microbatches=4)
    with pytest.raises(ConfigError, match=r"data\.batch_size: must be a multiple of 2 replicas × 3 microbatches"):
        devices.check_batch_size(32, replicas(2), microbatches=3)
    with pytest.raises(ConfigError, match=r"must be a multiple of 3 microbatches\. Received: 32"):
        devices.check_batch_size(32, replicas(1), microbatches=3)


def test_float16_is_slow_on_a_cpu() -> None:
    (warning,) = devices.warnings(trainer(precision="mixed_float16"), StrategySettings("cpu"))
    assert warning.startswith("trainer.precision: a CPU computes mixed_float16 in float32")
    assert devices.warnings(trainer(precision="mixed_bfloat16"), StrategySettings("cpu")) == []
