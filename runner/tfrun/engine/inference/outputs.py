"""The predictions of a run: its model's outputs in the unit of the target, or as probabilities of classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfrun.data.preprocessing import Preprocessing
from tfrun.data.targets import TargetScale, main_output, of_output


def predictions_of(outputs: Any, preprocessing: Preprocessing, *, has_targets: bool = True) -> dict[str, np.ndarray]:
    """Returns the predictions that a run's model outputs mean, by output, as a model of raw rows gives them.

    Args:
        outputs: of the run's model: a tensor, or a mapping of tensors by output.
        preprocessing: the run's.
        has_targets: whether the model predicts the data's target; if not, its outputs are returned as they are.

    Returns:
        float64: (R, 1) or (R, horizon) numbers in the target's unit, or (R, K) probabilities.
    """
    predicted = {}
    for name, target in preprocessing.targets.items():
        y = predicted[name] = np.asarray(tf.cast(of_output(outputs, name), tf.float64))
        if has_targets and target.task == "regression":
            predicted[name] = y * target.standard_deviation + target.mean
        elif has_targets:
            logits = y if target.num_outputs > 1 else np.concatenate([np.zeros_like(y), y], axis=1)
            odds = np.exp(logits - logits.max(axis=1, keepdims=True))
            predicted[name] = odds / odds.sum(axis=1, keepdims=True)
    return predicted


def outputs_from_predictions(predicted: Mapping[str, np.ndarray], preprocessing: Preprocessing) -> Any:
    """Returns outputs of a run's model that mean the given predictions, float32: the inverse of `predictions_of`.

    A probability of 0 counts as the smallest number that float32 can hold.

    Args:
        predicted: by output, (R, 1) or (R, horizon) numbers in the target's unit, or (R, K) probabilities.
        preprocessing: the run's.
    """
    outputs = {}
    for name, target in preprocessing.targets.items():
        y = np.asarray(predicted[name], "float64")
        if target.task == "regression":
            y = (y - target.mean) / target.standard_deviation
        else:
            logits = np.log(np.maximum(y, np.finfo("float32").tiny))
            y = logits if target.num_outputs > 1 else logits[:, 1:] - logits[:, :1]
        outputs[name] = y.astype("float32")
    return outputs if len(outputs) > 1 else main_output(outputs)


def sizes(
    expected: Mapping[str, np.ndarray], preprocessing: Preprocessing, *, has_targets: bool = True
) -> dict[str, float]:
    """Returns the size of predictions by output, by which differences between predictions are divided.

    If the target was scaled, the size is their largest distance from its mean, but at least its standard deviation:
    far from 0, the predictions themselves are no measure. Otherwise it is the largest of them, but at least 1.

    Args:
        expected: the predictions by output.
        preprocessing: the run's.
        has_targets: whether the model predicts the data's target.
    """
    result = {}
    for name, values in expected.items():
        scale = preprocessing.targets[name].scale if has_targets else TargetScale()
        result[name] = max(scale.standard_deviation, float(np.max(np.abs(values - scale.mean), initial=0.0)))
    return result


def outputs_of(model: keras.Model, inputs: Any, *, as_graph: bool) -> Any:
    """Returns the outputs of a run's model, computed as a graph or eagerly.

    TensorFlow fuses the operations of a graph. In half precision that is a difference of up to a hundredth, as fewer
    results are rounded.
    """
    if not as_graph:
        return model(inputs, training=False)
    return tf.function(lambda inputs: model(inputs, training=False), autograph=False)(inputs)
