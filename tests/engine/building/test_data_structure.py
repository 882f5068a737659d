"""What of the data a program is made for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tfrun.data.examples import Examples
from tfrun.data.kinds import NumberColumn
from tfrun.engine.building.data_structure import data_structure
from tfrun.engine.training.order import Order
from tfrun.files import strict_json


def test_a_program_is_made_for_names_and_sizes(small: Any) -> None:
    """Not for statistics and for how many rows there are, unless they are streamed."""
    examples: Examples = small.pieces().examples
    rows = examples.splits

    def structure(changed: Examples, *, batch_size: int = 64, streams: bool = False) -> str:
        order = Order(changed.splits["train"], batch_size, seed=0)
        return strict_json.dumps(data_structure(changed, order, streams=streams))

    def split(**sizes: int) -> Examples:
        return replace(examples, splits={name: rows[name][: sizes.get(name)] for name in rows})

    def fitted(**changes: Any) -> Examples:
        preprocessing = examples.preprocessing
        target = replace(preprocessing.targets["output"], **changes)
        return replace(examples, preprocessing=replace(preprocessing, targets={"output": target}))

    first = structure(examples)
    age, *others = examples.preprocessing.columns
    assert isinstance(age, NumberColumn)
    moved = replace(examples.preprocessing, columns=(replace(age, mean=7.0, median=1.0, deciles=(0.5,)), *others))
    assert structure(replace(examples, preprocessing=moved)) == first
    assert structure(fitted(mean=100.0, standard_deviation=3.0)) == first
    assert structure(split(train=353, val=40, test=1)) == first  # 354, 44 and 44 before, and 6 steps still
    different = [
        fitted(mean=0.0, standard_deviation=1.0),  # then nothing is restored
        fitted(mean=1e6, standard_deviation=1.0),  # metrics are computed in float64
        split(val=0),
        split(train=300),
        replace(examples, inputs={"numbers": np.zeros((442, 9), np.float32)}),
        replace(examples, class_weights={"output": (1.0, 2.0)}),
        replace(examples, preprocessing=replace(examples.preprocessing, columns=(replace(age, name="x"), *others))),
    ]
    found = [structure(changed) for changed in different] + [structure(examples, batch_size=59)]
    assert first not in found and len(set(found)) == len(found)
    assert structure(examples, streams=True) not in (first, structure(split(train=353), streams=True))
