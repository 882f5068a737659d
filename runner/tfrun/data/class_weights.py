"""The weights of classes, from the config's data.class_weight and the training rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfrun.data.labels import label
from tfrun.data.preprocessing import Preprocessing
from tfrun.data.table import Table, Target
from tfrun.data.targets import FittedTarget
from tfrun.errors import DataError, near_miss


def class_weights(
    table: Table, rows: np.ndarray, preprocessing: Preprocessing, *, chosen: str | Mapping[str, Any] | None
) -> dict[str, tuple[float, ...]]:
    """Returns the weights of a target's classes, in the order of their ids, by the model's output that predicts it.

    Args:
        table: the raw rows.
        rows: the numbers of the training rows.
        preprocessing: fitted on them.
        chosen: data.class_weight: "balanced", or class -> weight, of the main target; or target -> one of these.

    Raises:
        DataError: there is no such target or class, a target has no classes, or all training rows have weight 0.
    """
    outputs = dict(zip(table.targets, preprocessing.targets, strict=True))
    weights: dict[str, tuple[float, ...]] = {}
    for name, wanted in _by_target(chosen, table.target_name).items():
        if name not in outputs:
            known = f"{', '.join(outputs)}.{near_miss(name, outputs)}"
            raise DataError(f"data.class_weight: no such target. Received: {name!r}. Known: {known}")
        fitted, target = preprocessing.targets[outputs[name]], table.targets[name]
        if fitted.task != "classification":
            raise DataError(
                f"data.class_weight: the target {name!r} has numbers, no classes. To weigh rows: data.sample_weight"
            )
        counts = _counts(target, rows, fitted)
        of_classes = _balanced(counts) if isinstance(wanted, str) else _given(wanted, fitted)
        if not (counts * of_classes).any():
            raise DataError(f"data.class_weight: every training row has weight 0. Received: {wanted}")
        weights[outputs[name]] = of_classes
    return weights


def _by_target(chosen: str | Mapping[str, Any] | None, main: str) -> Mapping[str, str | Mapping[str, float]]:
    """Returns target -> "balanced", or class -> weight."""
    if chosen is None:
        return {}
    if isinstance(chosen, str) or all(isinstance(value, float) for value in chosen.values()):
        return {main: chosen}
    return chosen


def _counts(target: Target, rows: np.ndarray, fitted: FittedTarget) -> np.ndarray:
    """Returns the number of training rows of each class."""
    ids = {known: number for number, known in enumerate(fitted.classes)}
    return np.bincount([ids[label(value)] for value in target.values[rows].tolist()], minlength=len(ids))


def _balanced(counts: np.ndarray) -> tuple[float, ...]:
    """Returns n/(k·n_c): then the rows of each class weigh the same together, and all rows 1 on average.

    Source: scikit-learn's `compute_class_weight("balanced")`; King and Zeng, 2001.
    """
    return tuple((counts.sum() / (len(counts) * counts)).tolist())


def _given(wanted: Mapping[str, float], fitted: FittedTarget) -> tuple[float, ...]:
    """Returns the weights of the classes that a mapping names, and 1 for the others."""
    weights = dict.fromkeys(fitted.classes, 1.0)
    for name, weight in wanted.items():
        spelt = str(fitted.spell(np.array([name], dtype=object))[0])
        alike = [known for known in weights if known.lower() == spelt.lower()]  # YAML's true is True in other programs
        known = spelt if spelt in weights or len(alike) != 1 else alike[0]
        if known not in weights:
            raise DataError(
                f"data.class_weight: no such class. Received: {name!r}. Known: {', '.join(fitted.classes[:20])}."
                f"{near_miss(name, fitted.classes)}"
            )
        weights[known] = weight
    return tuple(weights.values())
