"""Defines `multi_task`, one model for several targets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated

import keras
from annotated_types import Ge, Gt, Lt

from tfrun import Activation, register
from tfrun.components.layers.dropout import Dropout
from tfrun.components.layers.encode import DenseFeatures
from tfrun.components.models.initial import initializer_for
from tfrun.components.models.inputs import output_dtype, symbolic_inputs
from tfrun.data.table import Features


@register.model("multi_task")
def multi_task(
    features: Features,
    num_outputs: int,
    more_outputs: Mapping[str, int],
    hidden_units: list[Annotated[int, Gt(0)]] = [100],  # noqa: B006 (the catalog reads literal defaults; never changed)
    task_units: list[Annotated[int, Gt(0)]] = [30],  # noqa: B006
    activation: Activation = "relu",
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.0,
) -> keras.Model:
    """One network for several targets: dense layers that all targets of `data.target=[a, b]` share, then separate ones
    for each target.

    Its outputs are `output` for the first target, the main one, and the names of the others. Variables are named
    `shared_1/…`, and `<output>_1/…`, `<output>/…` for each task.

    Source: Caruana, "Multitask learning", 1997; Géron, chapter 10.

    Args:
        features: describes the inputs; set by the engine.
        num_outputs: the number of outputs of the main target; set by the engine.
        more_outputs: further target -> its number of outputs; set by the engine.
        hidden_units: the width of each shared layer.
        task_units: the width of each hidden layer of a single task.
        activation: the hidden layers' activation.
        dropout: the share of the shared layers' values dropped in training.
    """

    def dense(x: keras.KerasTensor, units: int, name: str) -> keras.KerasTensor:
        return keras.layers.Dense(units, activation, kernel_initializer=initializer_for(activation), name=name)(x)

    inputs = symbolic_inputs("multi_task", features)
    x = DenseFeatures.of(features, name="features")(inputs)
    for k, units in enumerate(hidden_units, start=1):
        x = dense(x, units, f"shared_{k}")
        if dropout > 0:
            x = Dropout(dropout, name=f"dropout_{k}")(x)
    outputs = {}
    taken = {"features", "numbers", "categories"}
    taken |= {f"{kind}_{k}" for kind in ("shared", "dropout") for k, _ in enumerate(hidden_units, start=1)}
    taken |= {f"tokens_{k}" for k in range(len(features.tokens) + 2)}
    for task, size in {"output": num_outputs, **more_outputs}.items():
        name = re.sub(r"[^A-Za-z0-9_.]", "_", task)  # a column's name may hold characters that a layer's may not
        name = name if name[0] != "_" else f"target{name}"
        while not taken.isdisjoint(layers := {name, *(f"{name}_{k}" for k, _ in enumerate(task_units, start=1))}):
            name += "_"
        taken |= layers
        task_x = x
        for k, units in enumerate(task_units, start=1):
            task_x = dense(task_x, units, f"{name}_{k}")
        outputs[task] = keras.layers.Dense(size, dtype=output_dtype(), name=name)(task_x)
    return keras.Model(inputs, outputs if more_outputs else outputs["output"], name="multi_task")
