"""What a data set is before TensorFlow sees it, and what a model is told of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfrun.catalog import Catalog


@dataclass(frozen=True)
class Table:
    """Rows as they were read: nothing imputed, scaled or encoded yet.

    Attributes:
        columns: each of N rows. A number column is (N,) float64 with nan for an empty cell; a text column is (N,)
            object of str with "" for an empty cell; an array column is (N, ...) finite numbers, images for example, an
            array or a `tfrun.arrays.StoredArray`. Preparing a table empties this, so that no column is kept twice.
        target: (N,) float64 numbers, or (N,) object of str, the labels of classes.
        target_name: the target's name, for messages.
        task: "regression" or "classification".
        source: where the rows come from, for messages and for `run.json`.
        first_line: the line of row 0 in `source`, for messages.
    """

    columns: dict[str, Any]
    target: np.ndarray
    target_name: str
    task: str
    source: str
    first_line: int = 1


@dataclass(frozen=True)
class Features:
    """What a model is told about its inputs when it is built.

    Attributes:
        numbers: number column -> its inner decile boundaries on the training split, after standardizing (at most 9,
            strictly increasing). Column k of `inputs["numbers"]`, (B, len(numbers)) float32, is the k-th of them.
        categories: text column -> its number of ids; id 0 stands for unseen and empty. Column k of
            `inputs["categories"]`, (B, len(categories)) int32, is the k-th of them.
        arrays: array column -> the shape of one example. The only column of a data set is given to the model bare.
    """

    numbers: dict[str, tuple[float, ...]]
    categories: dict[str, int]
    arrays: dict[str, tuple[int, ...]]


def load_table(config: Mapping[str, Any], catalog: Catalog) -> Table:
    """Reads the data set that the config's `data` names. Raises DataError."""
    component = catalog.get("dataset", config["name"], "data.name")
    return component.load()(**{param.name: config[param.name] for param in component.params if param.name in config})
