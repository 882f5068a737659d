"""The predictions of a model for each row, as columns for people and for other programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfrun.data import arrays
from tfrun.data.examples import Examples
from tfrun.data.preprocessing import Preprocessing
from tfrun.engine.inference.outputs import predictions_of
from tfrun.engine.training import feed
from tfrun.protocols import MAIN_OUTPUT, ModelOffer

PROBABILITY = "%.6g"  # six digits, also of one that is near 0


class Predictor:
    """Predicts rows, some at a time: one after the other, they are predicted as if all came at once.

    Args:
        model: with the weights to use.
        fitted: the run's preprocessing.
        names: of the targets, the main one first.
        learns_targets: whether the model predicts them; else its outputs are numbered.
        traces: whether the model is compiled first, which takes longer than to predict a few thousand rows.
    """

    def __init__(
        self,
        model: keras.Model,
        fitted: Preprocessing,
        *,
        names: Sequence[str],
        learns_targets: bool,
        traces: bool = True,
    ):
        self._targets = fitted.targets
        self._names = names
        self._learns_targets = learns_targets

        def call(inputs: Any) -> Any:
            return model(inputs, training=False)

        self._call = tf.function(call, autograph=False, reduce_retracing=True) if traces else call
        samples = ModelOffer.of(model).samples
        is_number = self._targets[MAIN_OUTPUT].task == "regression"
        self._samples = (
            tf.function(samples, autograph=False, reduce_retracing=True)
            if samples is not None and learns_targets and is_number
            else None
        )

    def columns(self, examples: Examples, rows: np.ndarray | None = None) -> dict[str, Any]:
        """Returns columns by name, (R,) each: numbers, and text for classes.

        They are the predictions of each target. If the model offers samples and its main target is a number, there is
        also `<target>_std`, the standard deviation of each row's samples in the unit of the target.

        Args:
            examples: encoded rows.
            rows: the numbers of those to predict, (R,); None means all.
        """
        rows = np.arange(examples.num_rows) if rows is None else rows
        predicted = self.arrays(examples, rows)
        result: dict[str, Any] = {}
        for name, (output, fitted) in zip(self._names, self._targets.items(), strict=True):
            values = predicted[output]
            if not self._learns_targets:
                result |= {f"output_{k}": values[:, k] for k in range(values.shape[1])}
            elif fitted.task == "regression":
                result[name] = values[:, 0]
            else:
                result[name] = np.array(fitted.classes, dtype=object)[values.argmax(axis=1)]
                result |= {f"{name}={label}": values[:, k] for k, label in enumerate(fitted.classes)}
        spread = spread_name(self._names)
        if self._samples is not None and spread not in result:
            result[spread] = self._targets[MAIN_OUTPUT].standard_deviation * self._spread(examples, rows)
        return result

    def arrays(self, examples: Examples, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the predictions of some rows by output, (R, 1) numbers or (R, K) probabilities, float64.

        Args:
            examples: encoded rows.
            rows: the numbers of those to predict, (R,).
        """
        parts: dict[str, list[np.ndarray]] = {}
        for block in _blocks(examples, rows):
            outputs = self._call(_inputs_of(examples, block))
            predicted = predictions_of(outputs, examples.preprocessing, has_targets=self._learns_targets)
            for output, values in predicted.items():
                parts.setdefault(output, []).append(values)
        return {output: np.concatenate(values) for output, values in parts.items()}

    def _spread(self, examples: Examples, rows: np.ndarray) -> np.ndarray:
        """Returns the standard deviation over the model's samples of each row's output, (R,) float64."""
        assert self._samples is not None
        parts = [
            np.asarray(tf.cast(self._samples(_inputs_of(examples, block)), tf.float64))[:, :, 0].std(axis=1)
            for block in _blocks(examples, rows)
        ]
        return np.concatenate(parts) if parts else np.zeros(0)


def spread_name(names: Sequence[str]) -> str:
    """Returns the column of the standard deviations of samples; `names` are the targets, the main one first."""
    return f"{names[0]}_std"


def text_formats(fitted: Preprocessing, names: Sequence[str], *, learns_targets: bool) -> Mapping[str, str]:
    """Returns how predicted numbers are written as text, by column; all digits of those that aren't in it.

    Args:
        fitted: the run's preprocessing.
        names: of the targets, the main one first.
        learns_targets: whether the model predicts them.
    """
    formats: dict[str, str] = {}
    if not learns_targets:
        return formats
    for name, (output, target) in zip(names, fitted.targets.items(), strict=True):
        formats |= {f"{name}={label}": PROBABILITY for label in target.classes}
        if output in fitted.decimals:
            formats[name] = f"%.{fitted.decimals[output]}f"
            if output == MAIN_OUTPUT:
                formats.setdefault(spread_name(names), formats[name])
    return formats


def _blocks(examples: Examples, rows: np.ndarray) -> Iterator[np.ndarray]:
    """Yields the numbers of rows, as many at a time as are evaluated."""
    size = feed.rows_to_evaluate(examples)
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _inputs_of(examples: Examples, rows: np.ndarray) -> Any:
    """Returns the inputs of some rows, as the model takes them."""
    return tf.nest.map_structure(lambda array: arrays.take(array, rows, dtype=feed.dtype_of(array)), examples.inputs)
