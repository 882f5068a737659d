"""Components that are wrong on purpose, each in one way; `test_wrong_components.py` names the promise that each breaks.

Those whose names begin with `no_` aren't what their kind must be at all, and no run begins with them.
"""

# Written without types, as most plugins are.
# mypy: ignore-errors

from __future__ import annotations

import random
from typing import Any

import keras
import tensorflow as tf

from tfrun import register
from tfrun.components.algorithms.supervised import Supervised
from tfrun.errors import ConfigError

registered = keras.saving.register_keras_serializable("wrong")


# losses


@register.loss("crossed")
def crossed(y_true, y_pred):  # (B, 1) − (B,) is (B, B)
    return tf.reduce_mean(tf.square(y_pred - tf.squeeze(y_true, -1)), axis=-1)


@register.loss("crossed_back")
def crossed_back(y_true, y_pred):
    return tf.reduce_mean(tf.square(tf.squeeze(y_pred, -1) - y_true), axis=-1)


@register.loss("whole_batch")
def whole_batch(y_true, y_pred):
    return tf.reduce_mean(tf.square(y_pred - y_true)) * tf.ones_like(y_true[:, 0])


@register.loss("root")
def root(y_true, y_pred):  # its slope at an error of 0 is infinite
    return tf.reduce_sum(tf.sqrt(tf.square(y_pred - y_true)), axis=-1)


@register.loss("log_of_error")
def log_of_error(y_true, y_pred):  # −∞ at an error of 0
    return tf.reduce_sum(tf.math.log(tf.square(y_pred - y_true)), axis=-1)


@register.loss("naive_log", task="classification")
def naive_log(y_true, y_pred):  # log(0) for a logit far away
    if y_pred.shape[-1] > 1:
        raise ConfigError("loss=naive_log: is for two classes")
    p = tf.sigmoid(y_pred)
    return -tf.reduce_sum(y_true * tf.math.log(p) + (1.0 - y_true) * tf.math.log(1.0 - p), axis=-1)


@register.loss("flat")
def flat(y_true, y_pred):
    return 0.0 * tf.reduce_sum(tf.square(y_pred - y_true), axis=-1)


@register.loss("one_for_all")
def one_for_all(y_true, y_pred):
    return tf.reduce_mean(tf.square(y_pred - y_true))


@register.loss("blind")
def blind(y_true, y_pred):
    return tf.reduce_sum(tf.square(y_pred), axis=-1)


@register.loss("stopped")
def stopped(y_true, y_pred):
    return tf.reduce_sum(tf.square(tf.stop_gradient(y_pred) - y_true), axis=-1)


@register.loss("loses_a_parameter")
@registered
class LosesAParameter(keras.losses.Loss):
    def __init__(self, scale: float = 2.0, reduction: str | None = "sum_over_batch_size", name: str = "mine"):
        super().__init__(name=name, reduction=reduction)
        self.scale = scale

    def call(self, y_true, y_pred):
        return self.scale * tf.reduce_sum(tf.square(y_pred - y_true), axis=-1)


# metrics


@register.metric("crossed")
def crossed_metric(y_true, y_pred):
    return tf.reduce_mean(tf.abs(y_pred - tf.squeeze(y_true, -1)), axis=-1)


@register.metric("mean_of_batches")
@registered
class MeanOfBatches(keras.metrics.Mean):
    def update_state(self, y_true, y_pred, sample_weight=None):
        super().update_state(tf.sqrt(tf.reduce_mean(tf.square(y_true - y_pred))))


@register.metric("ignores_weights")
@registered
class IgnoresWeights(keras.metrics.Mean):
    def update_state(self, y_true, y_pred, sample_weight=None):
        super().update_state(tf.abs(y_true - y_pred))


@register.metric("never_resets")
@registered
class NeverResets(keras.metrics.Mean):
    def update_state(self, y_true, y_pred, sample_weight=None):
        super().update_state(tf.abs(y_true - y_pred)[:, 0], sample_weight=sample_weight)

    def reset_state(self):
        pass


# optimizers


class Descends(keras.optimizers.Optimizer):
    def __init__(self, learning_rate: float = 0.01, name: str = "mine", **kwargs: Any):
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)

    def update_step(self, gradient, variable, learning_rate):
        variable.assign_sub(learning_rate * gradient)


@register.optimizer("climbs")
class Climbs(Descends):
    def update_step(self, gradient, variable, learning_rate):
        variable.assign_add(learning_rate * gradient)


@register.optimizer("forgets")
class Forgets(Descends):
    """Its momentum is in a variable that no checkpoint has."""

    def build(self, variables):
        super().build(variables)
        self.slots = [tf.Variable(tf.zeros(variable.shape)) for variable in variables]

    def update_step(self, gradient, variable, learning_rate):
        slot = self.slots[self._get_variable_index(variable)]
        slot.assign(0.9 * slot - learning_rate * gradient)
        variable.assign_add(slot)


@register.optimizer("ignores_rate")
class IgnoresRate(Descends):
    def update_step(self, gradient, variable, learning_rate):
        variable.assign_sub(0.01 * gradient)


@register.optimizer("constant_rate")
def constant_rate(learning_rate: float = 0.01):
    return keras.optimizers.SGD(0.05)


@register.optimizer("loses_decay")
class LosesDecay(Descends):
    def __init__(self, learning_rate: float = 0.01, shrink: float = 0.1, name: str = "mine", **kwargs: Any):
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.shrink = shrink

    def update_step(self, gradient, variable, learning_rate):
        variable.assign((1.0 - self.shrink * learning_rate) * variable - learning_rate * gradient)


# schedules


@register.schedule("nan_at_37")
def nan_at_37(step):
    return tf.where(tf.equal(step, 37), float("nan"), 1.0)


@register.schedule("nan_late")
def nan_late(step, total_steps):
    return tf.sqrt(1.0 - tf.cast(step, tf.float32) / tf.cast(total_steps, tf.float32) * 1.001)


@register.schedule("below_0")
def below_0(step):
    return tf.cos(tf.cast(step, tf.float32) / 100.0)


@register.schedule("divides_by_0")
def divides_by_0(step, total_steps):  # a run of one step
    return 1.0 - tf.cast(step, tf.float32) / (tf.cast(total_steps, tf.float32) - 1.0)


# activations, layers, initializers, regularizers, constraints


@register.activation("overflows")
def overflows(x):
    return tf.math.log(1.0 + tf.exp(x))


@register.layer("mixes_rows")
@registered
class MixesRows(keras.layers.Layer):
    def call(self, inputs):
        return inputs - tf.reduce_mean(inputs, axis=0)


@register.layer("one_for_all")
@registered
class OneForAll(keras.layers.Layer):
    def call(self, inputs):
        return tf.reduce_mean(inputs)


@register.layer("loses_its_factor")
@registered
class LosesItsFactor(keras.layers.Layer):
    def __init__(self, factor: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, inputs):
        return self.factor * inputs

    def get_config(self):
        return {key: value for key, value in super().get_config().items() if key != "factor"}


@register.initializer("other_variance")
@registered
class OtherVariance(keras.initializers.Initializer):
    def variance(self, fan_in, fan_out):
        return 2.0 / fan_in

    def __call__(self, shape, dtype=None):
        return keras.random.normal(shape, 0.0, 0.01, dtype or "float32", seed=1)


@register.regularizer("of_each_weight")
@registered
class OfEachWeight(keras.regularizers.Regularizer):
    def __call__(self, w):
        return tf.square(w)

    def get_config(self):
        return {}


@register.constraint("halves")
@registered
class Halves(keras.constraints.Constraint):
    def __call__(self, w):
        return 0.5 * w


# models


@register.model("centers")
@registered
class Centers(keras.Model):
    """An example's output depends on the others of its batch."""

    def __init__(self, num_outputs: int = 1):
        super().__init__()
        self.head = keras.layers.Dense(num_outputs)

    def call(self, inputs):
        x = inputs["numbers"]
        return self.head(x - tf.reduce_mean(x, axis=0))

    def get_config(self):
        return {"num_outputs": self.head.units}


@register.model("one_for_all")
@registered
class OneOutputForAll(Centers):
    """It returns one output, however many examples there are."""

    def call(self, inputs):
        return tf.reduce_mean(self.head(inputs["numbers"]))


@register.model("noisy")
@registered
class Noisy(Centers):
    """It draws random numbers outside of training too."""

    def call(self, inputs):
        x = inputs["numbers"]
        return self.head(x + tf.random.normal(tf.shape(x)))


# algorithms


@register.algorithm("zero_gradients")
class ZeroGradients(Supervised):
    def gradients(self, differentiate, variables):
        loss, y_pred, gradients = differentiate()
        return loss, y_pred, [tf.zeros_like(gradient) for gradient in gradients]


@register.algorithm("constant")
class Constant(Supervised):
    def forward(self, model, loss, x, y):
        total, y_pred = super().forward(model, loss, x, y)
        return 0.0 * total, y_pred


@register.algorithm("own_loss")
class OwnLoss:
    """It never asks for the loss of the config."""

    def forward(self, model, loss, x, y):
        y_pred = model(x, training=True)
        return tf.reduce_mean(tf.square(y_pred - y)), y_pred


@register.algorithm("moves_weights")
class MovesWeights(Supervised):
    def forward(self, model, loss, x, y):
        model.trainable_variables[0].assign_add(tf.ones_like(model.trainable_variables[0]))
        return super().forward(model, loss, x, y)


@register.algorithm("remembers")
class Remembers(Supervised):
    """It has a variable that no checkpoint has."""

    def __init__(self):
        self.calls = keras.Variable(0.0, trainable=False)

    def forward(self, model, loss, x, y):
        self.calls.assign_add(1.0)
        total, y_pred = super().forward(model, loss, x, y)
        return total + tf.convert_to_tensor(self.calls), y_pred


@register.algorithm("other_predictions")
class OtherPredictions(Supervised):
    def forward(self, model, loss, x, y):
        total, y_pred = super().forward(model, loss, x, y)
        return total, y_pred[:, 0]


# what isn't of its kind


@register.loss("no_parameters")
def no_parameters():
    return 0.0


@register.loss("no_target")
def no_target(y_pred):
    return tf.square(y_pred)[:, 0]


@register.loss("no_order")
def no_order(y_pred, y_true):
    return tf.reduce_sum(tf.maximum(y_pred - y_true, 0.0), axis=-1)


@register.loss("no_value")
def no_value(y_true, y_pred):
    tf.square(y_pred - y_true)


@register.loss("no_call")
class NoCall(keras.losses.Loss):
    pass


@register.loss("no_function")
class NoFunction:
    pass


@register.metric("no_value")
def no_metric_value(y_true, y_pred):
    tf.square(y_pred - y_true)


@register.metric("no_result")
class NoResult(keras.metrics.Metric):
    def update_state(self, y_true, y_pred, sample_weight=None):
        pass


@register.metric("no_scalar")
class NoScalar(keras.metrics.Metric):
    def update_state(self, y_true, y_pred, sample_weight=None):
        pass

    def result(self):
        return tf.zeros([3])


@register.metric("no_weights")
class NoWeights(keras.metrics.Mean):
    def update_state(self, y_true, y_pred):
        super().update_state(tf.abs(y_true - y_pred))


@register.optimizer("no_optimizer")
def no_optimizer(learning_rate: float = 0.1):
    keras.optimizers.SGD(learning_rate)


@register.optimizer("no_update")
class NoUpdate(keras.optimizers.Optimizer):
    def __init__(self, learning_rate: float = 0.01, name: str = "mine"):
        super().__init__(learning_rate=learning_rate, name=name)


@register.schedule("no_value")
def no_schedule_value(step):
    tf.cast(step, tf.float32)


@register.schedule("no_scalar")
def no_scalar(step):
    return tf.ones([3])


@register.schedule("no_step")
def no_step(total_steps):
    return 1.0


@register.model("no_model")
def no_model(num_outputs: int = 1):
    keras.layers.Dense(num_outputs)


@register.model("no_layer")
def no_layer(num_outputs: int = 1):
    return keras.layers.Dense(num_outputs)


@register.model("no_call")
class ModelWithoutCall(keras.Model):
    def __init__(self, num_outputs: int = 1):
        super().__init__()


@register.model("no_output")
class NoOutput(Centers):
    def call(self, inputs):
        self.head(inputs["numbers"])


@register.algorithm("no_algorithm")
def no_algorithm():
    return None


@register.algorithm("no_forward")
class NoForward:
    def train(self, model, loss, x, y):
        return 0.0


@register.algorithm("no_loss")
class NoLoss:
    def forward(self, model, x, y):
        return tf.reduce_mean(tf.square(model(x) - y)), y


@register.algorithm("no_value")
class NoTotal:
    def forward(self, model, loss, x, y):
        loss(y, model(x, training=True))


@register.algorithm("no_pair")
class NoPair:
    def forward(self, model, loss, x, y):
        return tf.reduce_mean(loss(y, model(x, training=True)))


@register.algorithm("no_scalar")
class NoTotalOfTheBatch:
    def forward(self, model, loss, x, y):
        y_pred = model(x, training=True)
        return loss(y, y_pred), y_pred


@register.algorithm("no_evaluation")
class NoEvaluation(Supervised):
    def evaluate(self, model, loss, x, y):
        return tf.reduce_mean(loss(y, model(x))), model(x)


@register.algorithm("no_gradients")
class NoGradients(Supervised):
    def gradients(self, differentiate, variables):
        loss, y_pred, gradients = differentiate()
        return loss, gradients


@register.activation("no_value")
def no_activation(x):
    tf.nn.relu(x)


@register.layer("no_layer")
def no_layer_at_all():
    return None


@register.layer("no_call")
class LayerWithoutCall(keras.layers.Layer):
    pass


@register.initializer("no_shape")
def no_shape():
    return 0.0


@register.regularizer("no_value")
def no_penalty(w):
    tf.reduce_sum(w)


@register.loss("has_a_bug")
def has_a_bug(y_true, y_pred):
    return tf.reduce_mean(y_pred - y_true, axis=-1) + random.choice([])
