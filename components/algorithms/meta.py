"""Defines `maml`, which learns weights from which a few steps fit a new task."""

from __future__ import annotations

from typing import Annotated, Any

import keras
import tensorflow as tf
from annotated_types import Gt

from tfrun import register
from tfrun.errors import ConfigError


@register.algorithm("maml")
class Maml:
    """Model-agnostic meta-learning: total = mean over tasks of L(query; w − α·∇L(support; w)), after `inner_steps` such
    steps from the weights w.

    An example is a task: its points (2·K, D + 1), the last column the target, the first K the support set and the
    others the query set. The gradient by w is taken through the inner steps, so it contains second derivatives. The
    model must work on points, as model=pointwise does; the data's target isn't used. The query's loss at w itself is
    reported as `loss_before_steps`.

    Source: Finn et al., "Model-agnostic meta-learning for fast adaptation of deep networks", 2017, arXiv:1703.03400,
    algorithm 2.

    Args:
        inner_learning_rate: α, the size of an inner step.
        inner_steps: the number of inner steps for each task.
        first_order: whether to leave out the second derivatives, which is faster.

    Raises:
        ConfigError: an example isn't an even number of points.
    """

    own_targets = True

    def __init__(
        self,
        inner_learning_rate: Annotated[float, Gt(0)] = 0.01,
        inner_steps: Annotated[int, Gt(0)] = 1,
        first_order: bool = False,
    ):
        self.inner_learning_rate = inner_learning_rate
        self.inner_steps = inner_steps
        self.first_order = first_order
        self.loss_before = keras.metrics.Mean("loss_before_steps")
        self.loss_before.higher_is_better = False

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return [self.loss_before]

    def forward(self, model: Any, loss: Any, x: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the mean loss after the inner steps, a scalar, and each task's loss, (B, 1)."""
        losses, _ = self.evaluate(model, loss, x, y)
        return tf.add_n([tf.reduce_mean(losses), *model.losses]), losses[:, None]

    def evaluate(self, model: Any, loss: Any, x: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns each task's loss after its inner steps, (B,), and the same losses as (B, 1)."""
        if not tf.is_tensor(x) or x.shape.rank != 3 or x.shape[1] % 2:
            raise ConfigError("algorithm=maml: an example must be an even number of points (2·K, D + 1)")
        weights = [tf.convert_to_tensor(variable.value) for variable in model.trainable_variables]
        fixed = [tf.convert_to_tensor(variable.value) for variable in model.non_trainable_variables]

        def loss_at(weights: list[tf.Tensor], points: tf.Tensor) -> tf.Tensor:
            predictions, _ = model.stateless_call(weights, fixed, points)
            return tf.reduce_mean(loss(points[:, -1:], predictions))

        def query_losses(points: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            """Returns the query's loss after the inner steps and before them."""
            support, query = tf.split(points, 2)
            adapted = weights
            for _ in range(self.inner_steps):
                with tf.GradientTape() as tape:
                    tape.watch(adapted)
                    value = loss_at(adapted, support)
                slopes = tape.gradient(value, adapted)
                if self.first_order:
                    slopes = [tf.stop_gradient(slope) for slope in slopes]
                adapted = [w - self.inner_learning_rate * slope for w, slope in zip(adapted, slopes, strict=True)]
            return loss_at(adapted, query), loss_at(weights, query)

        losses_after, losses_before = tf.vectorized_map(query_losses, x)
        self.loss_before.update_state(losses_before)
        return losses_after, losses_after[:, None]
