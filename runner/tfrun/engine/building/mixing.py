"""Finds losses and metrics whose value for a row depends on other rows of the batch, as (B, 1) beside (B,) gives."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfrun.config.catalog import Catalog
from tfrun.config.component_settings import ComponentSettings
from tfrun.config.settings import Settings
from tfrun.data.targets import FittedTarget, of_output
from tfrun.engine import private
from tfrun.engine.building import random_state
from tfrun.engine.building.autograph import convertible
from tfrun.engine.building.components import build_function
from tfrun.engine.building.kinds import named
from tfrun.protocols import MAIN_OUTPUT

# Targets and predictions all differ. Those of the first rows are above 0, for losses that take a logarithm: if other
# rows then make these values NaN, that shows too.
TARGETS = np.array([0.25, 0.5, 1.0, 1.75, -0.4, -0.9, -1.3, -2.1])
ROWS = len(TARGETS)
FIRST_ROWS = ROWS // 2
TOLERANCE = 1e-4  # relative, or absolute below 1; other kernels may serve another number of rows


def warn_of_mixing(
    settings: Settings, catalog: Catalog, *, loss: Callable[..., Any], y_pred: Any, targets: Mapping[str, FittedTarget]
) -> list[str]:
    """Returns a warning for each of a person's losses and metrics that mixes the rows of a batch.

    Those that ship aren't looked at, since the tests check their contracts, and neither are metrics that are objects.

    Args:
        settings: the config.
        catalog: the components that exist.
        loss: the config's, called as loss(y_true, y_pred).
        y_pred: a few outputs of the model, for their shapes.
        targets: the targets by output.
    """
    outputs = y_pred if isinstance(y_pred, dict) else {MAIN_OUTPUT: y_pred}
    predictions = {name: _predictions(output.shape[1:]) for name, output in outputs.items()}
    y_true = {name: _targets(target) for name, target in targets.items()}
    mixing = []
    if not is_shipped("loss", settings.loss, catalog):
        y = y_true if len(y_true) > 1 else y_true[MAIN_OUTPUT]
        if mixes_rows(loss, y, predictions if isinstance(y_pred, dict) else predictions[MAIN_OUTPUT]):
            mixing.append(named("loss", settings.loss, catalog, where="loss"))
    for key, chosen in settings.metric.items():
        if is_shipped("metric", chosen, catalog):
            continue
        metric = build_function("metric", chosen, catalog=catalog, where=f"metric.{key}")
        of_metric = of_output(y_true, chosen.output), of_output(predictions, chosen.output)
        is_object = isinstance(metric, keras.metrics.Metric)
        if not is_object and mixes_rows(convertible(metric), *of_metric):
            mixing.append(named("metric", chosen, catalog, where=f"metric.{key}"))
    return [
        f"{component.where}: {component.name} ({component.origin}) gives a row another value beside other rows. "
        "Shapes (B, 1) and (B,) that are mixed do so, since they broadcast to (B, B)"
        for component in mixing
    ]


def is_shipped(kind: str, settings: ComponentSettings, catalog: Catalog) -> bool:
    """Returns whether a component is tfrun's own, and so are those of its kind that its parameters name."""
    names = [settings.name, *(value for value in tf.nest.flatten(settings.params) if isinstance(value, str))]
    components = [catalog.find(kind, name) for name in names]
    return all(component is None or component.is_shipped for component in components)


def mixes_rows(function: Callable[..., Any], y: Any, y_pred: Any) -> bool:
    """Returns whether the values of the first rows change when the other rows are left out.

    A function that gives another value at each call is not judged, and neither is one that fails. No random state
    changes: not that of Python, NumPy and TensorFlow, and not that of variables.

    Args:
        function: returns one value for each example.
        y, y_pred: tensors of ROWS rows, or mappings of them.
    """

    def values() -> tuple[Any, ...]:
        first_y, first_y_pred = tf.nest.map_structure(lambda part: part[:FIRST_ROWS], (y, y_pred))
        whole = [tf.convert_to_tensor(function(y, y_pred))[:FIRST_ROWS] for _ in range(2)]
        return *whole, tf.convert_to_tensor(function(first_y, first_y_pred))

    # Tracing takes a tenth of a second. But where TensorFlow's own random operations are called, they must be in a
    # graph: outside of one they draw from a state of the process.
    compute = tf.function(values, autograph=False) if private.may_draw_statefully() else values
    with contextlib.suppress(Exception), random_state.kept():  # a warning may not end a run
        once, again, alone = (np.asarray(part) for part in compute())
        return bool(_is_close(once, again) and not _is_close(once, alone))
    return False


def _is_close(a: np.ndarray, b: np.ndarray) -> bool:
    scale = np.max(np.abs(a), initial=1.0, where=np.isfinite(a))
    return a.shape == b.shape and np.allclose(a, b, rtol=0.0, atol=TOLERANCE * scale, equal_nan=True)


def _targets(target: FittedTarget) -> tf.Tensor:
    """Returns ROWS targets as they are trained on, (ROWS, 1), or (ROWS, horizon)."""
    if target.task == "regression":
        return tf.constant(TARGETS[:, None].repeat(target.num_outputs, axis=1), keras.config.floatx())
    ids = np.arange(ROWS) % len(target.classes)
    return tf.constant(ids[:, None], keras.config.floatx() if target.num_outputs == 1 else "int32")


def _predictions(shape: Any) -> tf.Tensor:
    """Returns ROWS predictions between 0 and 1, which are both probabilities and logits, (ROWS, *shape)."""
    shape = (ROWS, *shape)
    return tf.constant(np.linspace(0.9, 0.1, int(np.prod(shape))).reshape(shape), keras.config.floatx())
