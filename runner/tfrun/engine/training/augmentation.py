"""Changes training batches at random, inside the compiled step.

The random numbers of a batch follow from the run's seed, the step, the augmentation and a row's place in the batch. So
they are the same after a resume, with any number of microbatches, on any number of replicas and in every mode.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfrun.components.layers import draws as hashed
from tfrun.engine.training.batches import gather, share_of_replica, weighted

STREAMS_APART = 0x9E3779B9  # between the seeds of two draws: 2³² over the golden ratio, far beyond the seeds of people
MAX_DRAWS = 1024  # of one augmentation in a step, before its numbers would be those of the next one


class Draws:
    """Random numbers for the rows of a batch.

    Args:
        state: (2,) uint32, of the step.
        batch_size: the number of rows of the whole batch.
        share: takes this replica's rows of a tensor with a row for each of the batch's.
    """

    def __init__(self, state: tf.Tensor, batch_size: int, *, share: Callable[[tf.Tensor], tf.Tensor]):
        self._state = state
        self._batch_size = batch_size
        self._share = share
        self._count = 0

    def uniform(self, *shape: int) -> tf.Tensor:
        """Returns new numbers from 0 to below 1 for each row, (B, *shape) float32."""
        return self._share(hashed.uniform([self._batch_size, *shape], self._next_state()))

    def normal(self, *shape: int) -> tf.Tensor:
        """Returns new numbers of mean 0 and deviation 1 for each row, (B, *shape) float32."""
        return self._share(hashed.normal([self._batch_size, *shape], self._next_state()))

    def _next_state(self) -> tf.Tensor:
        self._count += 1
        return _moved_on(self._state, self._count)


class Part(NamedTuple):
    """The rows of a batch whose targets have a share in the mixed rows.

    Attributes:
        y: the targets, a tensor or a mapping of them.
        weights: the rows' weights, or `NO_WEIGHTS`.
        share: (B,), from 0 to 1; the shares of all parts sum to 1.
    """

    y: Any
    weights: Any
    share: tf.Tensor


class Batch(NamedTuple):
    """A replica's share of a batch.

    Attributes:
        x: the inputs.
        y, weights: the rows' own targets and weights.
        parts: the targets of mixed rows, the rows' own first; empty if no rows are mixed.
    """

    x: Any
    y: Any
    weights: Any
    parts: tuple[Part, ...] = ()

    @property
    def for_metrics(self) -> tuple[Any, Any]:
        """The targets and weights that metrics use: those of the part with the largest share in each row."""
        if not self.parts:
            return self.y, self.weights
        largest = self.parts[0]
        for part in self.parts[1:]:
            is_larger = part.share > largest.share
            largest = tf.nest.map_structure(
                lambda one, other, is_larger=is_larger: tf.where(_beside(is_larger, one), one, other), part, largest
            )
        return largest.y, largest.weights


@dataclass(frozen=True)
class Augmentation:
    """An augmentation and the inputs that it changes.

    Attributes:
        change: (values, draws) → values, or of one that mixes rows, (values, others, draws) → values and shares.
        mixes: whether it mixes rows.
        inputs: the names of the model's inputs that it changes; None if the inputs are a single array.
    """

    change: Callable[..., Any]
    mixes: bool
    inputs: tuple[str, ...] | None = None

    def __call__(self, x: Any, new_draws: Callable[[], Draws]) -> tuple[Any, tf.Tensor | None]:
        """Returns changed inputs, and the share of each row's own if rows are mixed.

        All inputs are changed by the same draws, so that an image and its mask stay together.
        """
        names = self.inputs
        arrays = [x] if names is None else [x[name] for name in names]
        changed = [self._changed(array, new_draws()) for array in arrays]
        shares = [share for _, share in changed if share is not None]
        values = [value for value, _ in changed]
        share = tf.add_n(shares) / float(len(shares)) if shares else None
        return values[0] if names is None else {**x, **dict(zip(names, values, strict=True))}, share

    def _changed(self, array: tf.Tensor, draws: Draws) -> tuple[tf.Tensor, tf.Tensor | None]:
        # an image without channels has one
        values = array[..., None] if array.shape.rank == 3 else array
        if self.mixes:
            mixed, share = self.change(values, rolled(values), draws)
            return tf.reshape(mixed, array.shape), share
        return tf.reshape(self.change(values, draws), array.shape), None


class Augmenter:
    """Gathers training batches and changes them.

    Args:
        augmentations: in the order in which they are applied.
        seed: the run's; a scalar int64 variable, so that another run can use the same program.
    """

    def __init__(self, augmentations: Sequence[Augmentation], seed: keras.Variable):
        self._augmentations = augmentations
        self._seed = seed
        self._mixes = any(augmentation.mixes for augmentation in augmentations)

    @property
    def variables(self) -> list[keras.Variable]:
        """What a checkpoint contains."""
        return [self._seed]

    def batch(self, data: Any, rows: tf.Tensor, step: tf.Tensor) -> Batch:
        """Returns this replica's share of an augmented batch.

        Args:
            data: examples, (inputs, targets, weights).
            rows: the whole batch's row numbers, (B,) int32.
            step: the number of steps done before this one, a scalar int64.
        """
        if not self._mixes:
            return self._augmented(
                gather(data, share_of_replica(rows)), rows.shape[0], step=step, share=share_of_replica
            )
        # a row may be mixed with one of another replica's share
        whole = self._augmented(gather(data, rows), rows.shape[0], step=step, share=lambda tensor: tensor)
        return tf.nest.map_structure(share_of_replica, whole)

    def _augmented(
        self, examples: Any, batch_size: int, *, step: tf.Tensor, share: Callable[[tf.Tensor], tf.Tensor]
    ) -> Batch:
        x, y, weights = examples
        state = tf.cast(tf.stack([tf.convert_to_tensor(self._seed), tf.cast(step, tf.int64)]), tf.uint32)
        parts: tuple[Part, ...] = ()
        for k, augmentation in enumerate(self._augmentations):
            x, own_share = augmentation(
                x, functools.partial(Draws, _moved_on(state, k * MAX_DRAWS), batch_size, share=share)
            )
            if own_share is not None:
                own_share = tf.cast(own_share, keras.config.floatx())
                before = parts or (Part(y, weights, tf.ones_like(own_share)),)
                parts = (
                    *(part._replace(share=part.share * own_share) for part in before),
                    *(_of_others(part, 1.0 - own_share) for part in before),
                )
        return Batch(x, y, weights, parts)


def mixed_loss(loss: Callable[..., tf.Tensor], weights: Any, parts: Sequence[Part]) -> Callable[..., tf.Tensor]:
    """Returns a loss times the rows' weights, if any; of mixed rows the sum of share · loss over their parts.

    No target is mixed itself, so that this holds for every loss and for ids of classes.
    """
    if not parts:
        return weighted(loss, weights)

    def total(y: Any, y_pred: Any) -> tf.Tensor:
        first, *others = parts
        losses = [weighted(loss, first.weights)(y, y_pred) * first.share]
        losses += [weighted(loss, part.weights)(part.y, y_pred) * part.share for part in others]
        return tf.add_n(losses)

    return total


def rolled(tensor: tf.Tensor) -> tf.Tensor:
    """Returns for each row of a batch the row before it: a random other one, since batches are shuffled."""
    return tf.concat([tensor[-1:], tensor[:-1]], axis=0)


def _of_others(part: Part, share: tf.Tensor) -> Part:
    return Part(*(tf.nest.map_structure(rolled, value) for value in part))._replace(share=rolled(part.share) * share)


def _moved_on(state: tf.Tensor, count: int) -> tf.Tensor:
    """Returns the state of a later draw."""
    return state + tf.constant([count * STREAMS_APART % 2**32, 0], tf.uint32)


def _beside(flags: tf.Tensor, tensor: tf.Tensor) -> tf.Tensor:
    """Returns flags, (B,), in a shape that broadcasts with a tensor, (B, …)."""
    return tf.reshape(flags, [-1, *(1 for _ in tensor.shape[1:])])
