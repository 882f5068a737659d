"""Registers the optimizers of Keras by name, with typed parameters.

g is the gradient, w the variable and lr the learning rate.
"""

from __future__ import annotations

from typing import Annotated

import keras
from annotated_types import Ge, Gt, Le, Lt

from tfrun import register


@register.optimizer("sgd")
def sgd(
    learning_rate: Annotated[float, Gt(0)] = 0.01,
    momentum: Annotated[float, Ge(0), Lt(1)] = 0.0,
    nesterov: bool = False,
) -> keras.optimizers.Optimizer:
    """SGD, stochastic gradient descent: v ← momentum·v − lr·g; w ← w + v.

    Source: Robbins and Monro, 1951; Sutskever et al., "On the importance of initialization and momentum", 2013.

    Args:
        learning_rate: lr, the size of a step.
        momentum: the share of the last step that is kept; 0 is plain gradient descent.
        nesterov: whether to use Nesterov's momentum, which looks one step ahead.
    """
    return keras.optimizers.SGD(learning_rate, momentum=momentum, nesterov=nesterov)


@register.optimizer("adam")
def adam(
    learning_rate: Annotated[float, Gt(0)] = 0.001,
    beta_1: Annotated[float, Ge(0), Lt(1)] = 0.9,
    beta_2: Annotated[float, Ge(0), Lt(1)] = 0.999,
    epsilon: Annotated[float, Gt(0)] = 1e-7,
    amsgrad: bool = False,
) -> keras.optimizers.Optimizer:
    """Adam: w ← w − lr·m̂ / (√v̂ + epsilon), m̂ and v̂ the bias-corrected moving means of g and g².

    Source: Kingma and Ba, "Adam", 2014, arXiv:1412.6980.

    Args:
        learning_rate: lr, about the size of one weight's step.
        beta_1: the decay of the moving mean of g.
        beta_2: the decay of the moving mean of g².
        epsilon: keeps the division finite.
        amsgrad: whether to divide by the largest v̂ so far (Reddi et al. 2018).
    """
    return keras.optimizers.Adam(learning_rate, beta_1, beta_2, epsilon, amsgrad)


@register.optimizer("adamw")
def adamw(
    learning_rate: Annotated[float, Gt(0)] = 0.001,
    weight_decay: Annotated[float, Ge(0)] = 0.004,
    beta_1: Annotated[float, Ge(0), Lt(1)] = 0.9,
    beta_2: Annotated[float, Ge(0), Lt(1)] = 0.999,
    epsilon: Annotated[float, Gt(0)] = 1e-7,
    amsgrad: bool = False,
) -> keras.optimizers.Optimizer:
    """AdamW: w ← w·(1 − lr·weight_decay) − lr·m̂ / (√v̂ + epsilon).

    Adam with weight decay that is kept out of the gradient; m̂ and v̂ are the bias-corrected moving means of g and g².

    Source: Loshchilov and Hutter, "Decoupled weight decay regularization", 2017, arXiv:1711.05101.

    Args:
        learning_rate: lr, about the size of one weight's step.
        weight_decay: the share of each weight, times lr, that a step subtracts.
        beta_1: the decay of the moving mean of g.
        beta_2: the decay of the moving mean of g².
        epsilon: keeps the division finite.
        amsgrad: whether to divide by the largest v̂ so far (Reddi et al. 2018).
    """
    return keras.optimizers.AdamW(learning_rate, weight_decay, beta_1, beta_2, epsilon, amsgrad)


@register.optimizer("nadam")
def nadam(
    learning_rate: Annotated[float, Gt(0)] = 0.001,
    beta_1: Annotated[float, Ge(0), Lt(1)] = 0.9,
    beta_2: Annotated[float, Ge(0), Lt(1)] = 0.999,
    epsilon: Annotated[float, Gt(0)] = 1e-7,
) -> keras.optimizers.Optimizer:
    """Nadam adds Nesterov momentum to Adam.

    Source: Dozat, "Incorporating Nesterov momentum into Adam", 2016.

    Args:
        learning_rate: lr, about the size of one weight's step.
        beta_1: the decay of the moving mean of g.
        beta_2: the decay of the moving mean of g².
        epsilon: keeps the division finite.
    """
    return keras.optimizers.Nadam(learning_rate, beta_1, beta_2, epsilon)


@register.optimizer("adamax")
def adamax(
    learning_rate: Annotated[float, Gt(0)] = 0.001,
    beta_1: Annotated[float, Ge(0), Lt(1)] = 0.9,
    beta_2: Annotated[float, Ge(0), Lt(1)] = 0.999,
    epsilon: Annotated[float, Gt(0)] = 1e-7,
) -> keras.optimizers.Optimizer:
    """Adamax: w ← w − lr·m̂ / (u + epsilon), u the decaying maximum of |g|.

    Source: Kingma and Ba, "Adam", 2014, arXiv:1412.6980, section 7.

    Args:
        learning_rate: lr, about the size of one weight's step.
        beta_1: the decay of the moving mean of g.
        beta_2: the decay of the maximum of |g|.
        epsilon: keeps the division finite.
    """
    return keras.optimizers.Adamax(learning_rate, beta_1, beta_2, epsilon)


@register.optimizer("adagrad")
def adagrad(
    learning_rate: Annotated[float, Gt(0)] = 0.01,
    initial_accumulator_value: Annotated[float, Ge(0)] = 0.1,
    epsilon: Annotated[float, Gt(0)] = 1e-7,
) -> keras.optimizers.Optimizer:
    """Adagrad: w ← w − lr·g / √(a + epsilon), a the sum of all g² so far.

    Weights of rare features take larger steps.

    Source: Duchi et al., "Adaptive subgradient methods", 2011.

    Args:
        learning_rate: lr, the size of the first steps.
        initial_accumulator_value: the initial value of a.
        epsilon: keeps the division finite.
    """
    return keras.optimizers.Adagrad(learning_rate, initial_accumulator_value, epsilon)


@register.optimizer("rmsprop")
def rmsprop(
    learning_rate: Annotated[float, Gt(0)] = 0.001,
    rho: Annotated[float, Ge(0), Lt(1)] = 0.9,
    momentum: Annotated[float, Ge(0), Lt(1)] = 0.0,
    epsilon: Annotated[float, Gt(0)] = 1e-7,
    centered: bool = False,
) -> keras.optimizers.Optimizer:
    """RMSprop: w ← w − lr·g / √(v + epsilon), v the moving mean of g².

    Source: Tieleman and Hinton, "Lecture 6.5: RMSProp", 2012.

    Args:
        learning_rate: lr, about the size of one weight's step.
        rho: the decay of the moving mean of g².
        momentum: the share of the last step that is kept.
        epsilon: keeps the division finite.
        centered: whether to divide by g's moving variance instead of its mean square.
    """
    return keras.optimizers.RMSprop(learning_rate, rho, momentum, epsilon, centered)


@register.optimizer("ftrl")
def ftrl(
    learning_rate: Annotated[float, Gt(0)] = 0.05,
    learning_rate_power: Annotated[float, Le(0)] = -0.5,
    initial_accumulator_value: Annotated[float, Ge(0)] = 0.1,
    l1_regularization_strength: Annotated[float, Ge(0)] = 0.0,
    l2_regularization_strength: Annotated[float, Ge(0)] = 0.0,
    l2_shrinkage_regularization_strength: Annotated[float, Ge(0)] = 0.0,
    beta: Annotated[float, Ge(0)] = 0.0,
) -> keras.optimizers.Optimizer:
    """FTRL, follow the regularized leader: each weight's step shrinks with its Σ g², and L1 sets weights to exactly 0.

    It suits wide, sparse linear models.

    Source: McMahan et al., "Ad click prediction: a view from the trenches", 2013.

    Args:
        learning_rate: lr, the size of the first steps.
        learning_rate_power: how steps shrink with the sum of g²: -0.5 divides by its square root, 0 keeps them.
        initial_accumulator_value: the initial value of the sum of g².
        l1_regularization_strength: the strength of the L1 penalty; a larger one sets more weights to 0.
        l2_regularization_strength: the strength of the L2 penalty on the weights.
        l2_shrinkage_regularization_strength: the strength of an L2 penalty whose gradient is added to g, so that it
            doesn't change the step of a weight that is 0.
        beta: a number added to the square root of the sum of g², as in the paper.
    """
    return keras.optimizers.Ftrl(
        learning_rate,
        learning_rate_power=learning_rate_power,
        initial_accumulator_value=initial_accumulator_value,
        l1_regularization_strength=l1_regularization_strength,
        l2_regularization_strength=l2_regularization_strength,
        l2_shrinkage_regularization_strength=l2_shrinkage_regularization_strength,
        beta=beta,
    )


@register.optimizer("lion")
def lion(
    learning_rate: Annotated[float, Gt(0)] = 0.0001,
    beta_1: Annotated[float, Gt(0), Le(1)] = 0.9,
    beta_2: Annotated[float, Ge(0), Lt(1)] = 0.99,
    weight_decay: Annotated[float, Ge(0)] = 0.0,
) -> keras.optimizers.Optimizer:
    """Lion: w ← w − lr·sign(beta_1·m + (1 − beta_1)·g), m the moving mean of g.

    Every weight takes a step of the same size.

    Source: Chen et al., "Symbolic discovery of optimization algorithms", 2023, arXiv:2302.06675.

    Args:
        learning_rate: lr, the size of every weight's step; it should be 3 to 10 times smaller than for Adam.
        beta_1: the share of m in the step.
        beta_2: the decay of m.
        weight_decay: the share of each weight, times lr, that a step subtracts.
    """
    decay = weight_decay or None  # Keras distinguishes "no decay" from a decay of 0
    return keras.optimizers.Lion(learning_rate, beta_1, beta_2, weight_decay=decay)


@register.optimizer("adadelta")
def adadelta(
    learning_rate: Annotated[float, Gt(0)] = 0.001,
    rho: Annotated[float, Ge(0), Lt(1)] = 0.95,
    epsilon: Annotated[float, Gt(0)] = 1e-7,
) -> keras.optimizers.Optimizer:
    """Adadelta: w ← w − lr·g·√(d + epsilon)/√(v + epsilon), v and d the moving means of g² and of the squared steps.

    Source: Zeiler, "ADADELTA", 2012, arXiv:1212.5701, where lr is 1.

    Args:
        learning_rate: lr, a factor on every step.
        rho: the decay of both moving means.
        epsilon: sets the size of the first steps and keeps the division finite.
    """
    return keras.optimizers.Adadelta(learning_rate, rho, epsilon)


@register.optimizer("adafactor")
def adafactor(
    learning_rate: Annotated[float, Gt(0)] = 0.001,
    beta_2_decay: Annotated[float, Lt(0)] = -0.8,
    epsilon_1: Annotated[float, Gt(0)] = 1e-30,
    epsilon_2: Annotated[float, Gt(0)] = 1e-3,
    clip_threshold: Annotated[float, Gt(0)] = 1.0,
    relative_step: bool = True,
) -> keras.optimizers.Optimizer:
    """Adafactor divides g by √v as Adam does, but stores only the row and column means of v to save memory.

    Source: Shazeer and Stern, "Adafactor", 2018, arXiv:1804.04235.

    Args:
        learning_rate: lr, the size of a step.
        beta_2_decay: v's decay at step t is 1 − t^beta_2_decay.
        epsilon_1: a number added to g².
        epsilon_2: the smallest root mean square of a variable that its step is scaled by.
        clip_threshold: the largest root mean square of a step before it is scaled by lr.
        relative_step: whether lr is limited to 1/√t at step t.
    """
    return keras.optimizers.Adafactor(learning_rate, beta_2_decay, epsilon_1, epsilon_2, clip_threshold, relative_step)


@register.optimizer("lamb")
def lamb(
    learning_rate: Annotated[float, Gt(0)] = 0.001,
    beta_1: Annotated[float, Ge(0), Lt(1)] = 0.9,
    beta_2: Annotated[float, Ge(0), Lt(1)] = 0.999,
    epsilon: Annotated[float, Gt(0)] = 1e-7,
) -> keras.optimizers.Optimizer:
    """LAMB scales Adam's step to the length lr·‖w‖ for each variable; it suits very large batches.

    Source: You et al., "Large batch optimization for deep learning", 2019, arXiv:1904.00962.

    Args:
        learning_rate: lr, the length of a step relative to the variable's length.
        beta_1: the decay of the moving mean of g.
        beta_2: the decay of the moving mean of g².
        epsilon: keeps the division finite.
    """
    return keras.optimizers.Lamb(learning_rate, beta_1, beta_2, epsilon)


@register.optimizer("muon")
def muon(
    learning_rate: Annotated[float, Gt(0)] = 0.001,
    momentum: Annotated[float, Ge(0), Lt(1)] = 0.95,
    nesterov: bool = True,
    ns_steps: Annotated[int, Gt(0)] = 5,
    weight_decay: Annotated[float, Ge(0)] = 0.004,
    adam_beta_1: Annotated[float, Ge(0), Lt(1)] = 0.9,
    adam_beta_2: Annotated[float, Ge(0), Lt(1)] = 0.999,
    epsilon: Annotated[float, Gt(0)] = 1e-7,
) -> keras.optimizers.Optimizer:
    """Muon moves a matrix by the orthogonal matrix nearest to its momentum, and all other variables by Adam's rule.

    Embeddings use Adam's rule too.

    Source: Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024.

    Args:
        learning_rate: lr, the size of a step.
        momentum: the share of the last momentum that is kept.
        nesterov: whether to use Nesterov's momentum, which looks one step ahead.
        ns_steps: the number of Newton-Schulz iterations that make the step nearly orthogonal.
        weight_decay: the share of each weight, times lr, that a step subtracts.
        adam_beta_1: the decay of the moving mean of g in Adam's rule.
        adam_beta_2: the decay of the moving mean of g² in Adam's rule.
        epsilon: keeps the division finite.
    """
    return keras.optimizers.Muon(
        learning_rate,
        adam_beta_1,
        adam_beta_2,
        adam_weight_decay=weight_decay,
        epsilon=epsilon,
        weight_decay=weight_decay,
        momentum=momentum,
        ns_steps=ns_steps,
        nesterov=nesterov,
    )
