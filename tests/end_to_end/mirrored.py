"""Trains on two halves of the CPU, for test_mirrored.py. It has a process of its own, whose devices it chooses.

python mirrored.py FOLDER: writes what the tests compare to FOLDER/kinds.json and to the run folders below FOLDER.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfrun import cli
from tfrun.engine import experiment  # noqa: F401 (imports the engine, once)

MIRRORED = ["strategy=mirrored", "strategy.logical_cpus=2"]


class Kinds(keras.layers.Layer):
    """Changes a variable of each kind in its forward pass, by its replica's share of the batch."""

    def build(self, input_shape: Any) -> None:
        def add(name: str, aggregation: str = "none", dtype: str = "float32", **options: str) -> keras.Variable:
            zero = np.zeros((), dtype)
            return keras.Variable(zero, dtype=dtype, trainable=False, name=name, aggregation=aggregation, **options)

        self.moving = add("moving")  # as that of batch normalization
        self.calls = add("calls", dtype="int32")
        self.mean = add("mean", "mean")
        self.first = add("first", "only_first_replica")
        self.mean_on_read = add("mean_on_read", "mean", synchronization="on_read")
        self.parts = add("parts", "sum", synchronization="on_read")
        self.drawn = add("drawn", "sum", synchronization="on_read")
        self.seed_generator = keras.random.SeedGenerator(7)

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        if training:
            mean = tf.reduce_mean(x)
            for variable in (self.moving, self.mean, self.first, self.mean_on_read):
                variable.assign(mean)
            self.parts.assign_add(mean)
            self.calls.assign_add(1)
            self.drawn.assign(keras.random.uniform((), seed=self.seed_generator))
        return x


def train_kinds() -> dict[str, Any]:
    """Trains two steps with all kinds of variables, and returns the values of each on the two replicas."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    small_steps = importlib.import_module("small_steps")
    from tfrun.engine.training import replicas
    from tfrun.engine.training.averages import AveragedWeights
    from tfrun.engine.training.step import StepOptions
    from tfrun.engine.training.tolerances import LossScale, Skips

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        kinds = Kinds()
        layers = [keras.layers.Dense(3), keras.layers.BatchNormalization(), keras.layers.Dropout(0.5)]
        model = keras.Sequential([keras.Input((2,)), kinds, *layers, keras.layers.Dense(1)])
        first, *others = model.trainable_variables
        groups = [
            small_steps.group([first], 0.1, "first", keras.optimizers.Nadam),
            small_steps.group(others, 0.1, "others", keras.optimizers.AdamW),
        ]
        averages, scale, skips = AveragedWeights(model.trainable_variables, 0.9), LossScale(), Skips()
        options = StepOptions(averages=averages, loss_scale=scale, skips=skips)
        step = small_steps.Build().step(model, groups, options=options)
    x = np.arange(16, dtype=np.float32).reshape(8, 2)
    data = strategy.experimental_distribute_values_from_function(lambda _: (tf.constant(x), tf.constant(x[:, :1]), ()))
    train = tf.function(lambda k: step(data, tf.range(8), k), autograph=False)
    for k in range(2):
        train(tf.constant(k, tf.int64))
    x[0] = np.nan  # a step that isn't taken changes nothing, on no replica
    before = values_of(strategy, model)
    bad = strategy.experimental_distribute_values_from_function(lambda _: (tf.constant(x), tf.constant(x[:, :1]), ()))
    tf.function(lambda k: step(bad, tf.range(8), k), autograph=False)(tf.constant(2, tf.int64))
    assert values_of(strategy, model) == before
    state = [
        *model.variables,
        *(variable for group in groups for variable in group.optimizer.variables),
        *averages.variables,
        *scale.variables,
        *skips.variables,
    ]
    return {
        "equal": [equal_parts(replicas.components(strategy, v)) for v in state if not replicas.has_parts(v)],
        "kinds": values_of(strategy, model),
        "loss": [float(part) for part in replicas.components(strategy, step.metrics.metrics[0].total)],
    }


def values_of(strategy: tf.distribute.Strategy, model: keras.Model) -> dict[str, list[Any]]:
    """Returns the values of the model's variables on each replica, by path."""
    from tfrun.engine.training import replicas

    return {
        variable.path: [part.numpy().tolist() for part in replicas.components(strategy, variable)]
        for variable in model.variables
    }


def equal_parts(parts: list[tf.Variable]) -> bool:
    return all(np.array_equal(parts[0].numpy(), part.numpy()) for part in parts[1:])


def fork(function: Callable[[], object]) -> None:
    """Calls a function in a child of this process, which has imported TensorFlow and chosen no devices yet."""
    child = os.fork()
    if child == 0:
        try:
            function()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status == 0


def run(*words: str, before: list[str] | None = None) -> None:
    """Runs a command in a child, and another one before it in the same process, if any."""

    def call() -> None:
        assert before is None or cli.main(before) == 0
        assert cli.main([*words]) == 0

    fork(call)


def main(folder: str) -> None:
    os.chdir(folder)
    words = json.loads(Path("words.json").read_text())
    other = [*MIRRORED, "model=linear", "trainer.max_steps=1", "name=before"]
    run(*MIRRORED, *words["compared"], "name=two", before=other)
    run(*MIRRORED, *words["tables"], "name=two_of_tables")
    run(*MIRRORED, *words["resumed"], "name=straight", "trainer.max_steps=22")
    run(*MIRRORED, *words["resumed"], "name=parts", "trainer.max_steps=15")  # in the middle of an epoch
    run("resume", str(next(Path("outputs", "parts").iterdir())), "trainer.max_steps=22")
    fork(lambda: Path("kinds.json").write_text(json.dumps(train_kinds())))


if __name__ == "__main__":
    main(sys.argv[1])
