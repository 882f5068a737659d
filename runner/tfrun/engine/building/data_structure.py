"""What of the data a program is traced for, apart from the numbers that are its inputs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import tensorflow as tf

from tfrun.data.examples import Examples
from tfrun.engine.training.order import Order
from tfrun.engine.training.target_unit import TargetUnit


def data_structure(examples: Examples, order: Order, *, streams: bool) -> dict[str, Any]:
    """Returns what of the data a program is traced for, as plain values.

    Numbers that a run learns from its training rows are left out: encoding has used them, or they are inputs of the
    program, or `Deciles` records that a model has read them. So is the number of rows, as far as the length of an epoch
    doesn't follow from it: the validation's function is traced again for another number.

    Args:
        examples: the rows encoded and split.
        order: which rows each step sees.
        streams: whether the examples stay on the host.
    """
    preprocessing = examples.preprocessing
    features = preprocessing.features
    num_rows = {split: len(rows) for split, rows in examples.splits.items()}
    return {
        "columns": [(column.kind.name, column.name) for column in preprocessing.columns],
        "features": {**features.to_config(), "numbers": list(features.numbers)},
        "targets": {
            name: [target.task, target.classes, target.horizon, TargetUnit.structure_of(target.scale)]
            for name, target in preprocessing.targets.items()
        },
        "window": preprocessing.window and asdict(preprocessing.window),
        "inputs": tf.nest.map_structure(lambda array: (array.shape, str(array.dtype)), examples.inputs),
        "class_weights": list(examples.class_weights),
        "batch_size": order.batch_size,
        "steps_per_epoch": order.steps_per_epoch,
        "has_validation": num_rows["val"] > 0,
        # a stream's stretches depend on them, and so does whether the host validates between blocks
        "streams": num_rows if streams else None,
    }
