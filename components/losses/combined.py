"""Losses that combine other losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import keras
import tensorflow as tf
from annotated_types import Ge, MinLen

from tfrun import Loss, register
from tfrun.errors import ConfigError, unknown
from tfrun.protocols import LossOffer


class Combined(keras.losses.Loss):
    """Σ_k w_k·L_k over named losses; a subclass defines which predictions each loss receives."""

    def __init__(
        self,
        losses: Annotated[dict[str, Loss], MinLen(1)],
        weights: dict[str, Annotated[float, Ge(0)]] = {},  # noqa: B006 (the catalog reads literal defaults; never changed)
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        for key in weights:
            if key not in losses:
                raise unknown("loss.weights", "loss", name=key, known=losses)
        self.losses = dict(losses)
        self.weights = dict(weights)

    def value(self, key: str, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Returns w_k·L_k of each example, (B,)."""
        loss = self.losses[key]
        per_example = loss.call if isinstance(loss, keras.losses.Loss) else loss
        return self.weights.get(key, 1.0) * per_example(y_true, y_pred)

    def get_config(self) -> dict[str, Any]:
        losses = {key: keras.saving.serialize_keras_object(loss) for key, loss in self.losses.items()}
        return {**super().get_config(), "losses": losses, "weights": dict(self.weights)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Combined:
        return cls(**{**config, "losses": keras.saving.deserialize_keras_object(config["losses"])})


@register.loss("weighted_sum")
@keras.saving.register_keras_serializable("tfrun.losses")
class WeightedSum(Combined):
    """Weighted sum of losses: L(y, ŷ) = Σ_k w_k·L_k(y, ŷ), one value for each example, (B,).

    For example loss=weighted_sum "loss.losses={near: huber, far: mae}" "loss.weights={far: 0.1}".

    Args:
        losses: key of your choice -> its loss: a name, or a mapping with a name and parameters.
        weights: key -> w_k, ≥ 0; 1 for a key that is left out.
    """

    @property
    def task(self) -> str | None:
        """The task that the losses share, or None if they name none.

        Raises:
            ConfigError: the losses are for different tasks.
        """
        tasks = {task for loss in self.losses.values() if (task := LossOffer.of(loss).task)}
        if len(tasks) > 1:
            raise ConfigError(f"loss.losses: all losses must be for one task. Received: {' and '.join(sorted(tasks))}")
        return next(iter(tasks), None)

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        return tf.add_n([self.value(key, y_true, y_pred) for key in self.losses])


@register.loss("per_output")
@keras.saving.register_keras_serializable("tfrun.losses")
class PerOutput(Combined):
    """A loss of its own for each output: L(y, ŷ) = Σ_k w_k·L_k(y_k, ŷ_k) over the named outputs ŷ_k of a model, one
    value for each example, (B,).

    y_k is the target with the output's name, or the only target if there is no such one.

    For example model=wide_deep model.auxiliary_output=true loss=per_output
    "loss.losses={output: huber, auxiliary: mae}" "loss.weights={auxiliary: 0.1}".

    Args:
        losses: output -> its loss: a name, or a mapping with a name and parameters.
        weights: output -> w_k, ≥ 0; 1 for an output that is left out.

    Raises:
        ConfigError: the keys of `losses` aren't the names of the model's outputs.
    """

    takes_all_outputs = True

    def call(self, y_true: tf.Tensor, y_pred: Any) -> tf.Tensor:
        outputs = y_pred if isinstance(y_pred, Mapping) else {"output": y_pred}
        if outputs.keys() != self.losses.keys():
            raise ConfigError(
                f"loss.losses: there must be one for each output of the model. Received: {', '.join(self.losses)}. "
                f"Outputs: {', '.join(outputs)}"
            )
        targets = y_true if isinstance(y_true, Mapping) else {"output": y_true}
        return tf.add_n(
            [self.value(key, targets.get(key, targets["output"]), output) for key, output in outputs.items()]
        )
