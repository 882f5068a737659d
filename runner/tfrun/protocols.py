"""What a component of each kind may have: attributes and methods with their types, meanings and defaults.

    offer = AlgorithmOffer.of(algorithm)
    if offer.gradients is not None: ...

Components stay plain classes and functions: they need no base class, and every attribute but those without a default
may be left out. An offer reads what is there, so the rest of tfrun never asks a component whether it has something.
`docs/components.md` describes the same attributes for people who write components.

Nothing here imports TensorFlow or Keras.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from tfrun.errors import ConfigError

MAIN_OUTPUT = "output"  # the output, of a model with several named outputs, that predicts the main target
ABSENT: Any = object()  # the default of an attribute that may be None
LITERAL = "literal"  # marks a field, in its metadata
SET_BY_TFRUN = "set by tfrun"  # likewise

FILLED_IN: dict[str, dict[str, str]] = {  # kind -> parameter that tfrun fills in -> what it gets
    "dataset": {
        "text_encodings": "the encoding of each column that `data.text` or `data.kinds` makes texts, by column",
        "column_kinds": "the name of each column's kind, of those that the config names or, for further rows, of all",
        "rows_only": "whether the targets are not needed, as `tfrun predict` doesn't",
        "trained_columns": "the columns of the run that the rows are for, as `tfrun.table.TrainedColumns`, or None",
        "in_pieces": "the columns to keep, as `tfrun.data.pieces.Keep`, if `tfrun.data.pieces.RowPieces` are wanted",
        "stores": "where columns that are too large for the memory are kept, as `tfrun.data.store.Stores`",
    },
    "loss": {"y_true": "the targets", "y_pred": "the model's output"},
    "metric": {
        "y_true": "the targets",
        "y_pred": "the model's output",
        "sample_weight": "the weight of each row, or None",
    },
    "model": {
        "features": "the inputs, as `tfrun.table.Features`",
        "num_outputs": "the number of outputs that the target needs",
        "more_outputs": "the number of outputs of each further target, by name",
    },
    "schedule": {
        "step": "the number of steps done, a scalar int64",
        "total_steps": "the number of steps of the whole run",
        "steps_per_epoch": "the number of steps of an epoch",
    },
}
FROM_PYTHON = ("self", "args", "kwargs")
FROM_KERAS = ("name", "dtype", "reduction")
# parameters that are filled in for a component of some kind
RESERVED = frozenset({*FROM_PYTHON, *FROM_KERAS, *(name for names in FILLED_IN.values() for name in names)})


def reserved(kind: str) -> frozenset[str]:
    """Returns the names of the parameters that are never config keys of a component of a kind."""
    return frozenset({*FROM_PYTHON, *FROM_KERAS, *FILLED_IN.get(kind, ())})


def literal(default: Any) -> Any:
    """Returns a field that is also read from a component's source, if it is a literal there.

    The literal is a class attribute, or a keyword of the decorator: `@register.metric("gain", higher_is_better=True)`.
    """
    if isinstance(default, dict):
        return field(default_factory=default.copy, metadata={LITERAL: True})
    return field(default=default, metadata={LITERAL: True})


@dataclass(frozen=True)
class Offer:
    """What a component has; attributes that it doesn't have are their defaults.

    Attributes:
        component: the object or function itself.
    """

    kind: ClassVar[str]
    component: Any

    @classmethod
    def of(cls, component: Any) -> Self:
        """Reads a component.

        Args:
            component: an object, a function, or a function with some parameters filled in.

        Raises:
            ConfigError: an attribute that has no default is missing.
        """
        values = {}
        for attribute in _fields(cls):
            value = _read(component, attribute.name)
            if value is not ABSENT:
                values[attribute.name] = value
            elif _default(attribute) is dataclasses.MISSING:
                raise ConfigError(f"{cls.kind}: {label(component)} must have a method {attribute.name}")
        return cls(component, **values)


@dataclass(frozen=True)
class AlgorithmOffer(Offer):
    """A training algorithm.

    Attributes:
        forward: (model, loss, x, y) → the scalar to minimize, or a mapping from optimizer group to scalar; and y_pred.
            Called under a gradient tape.
        evaluate: (model, loss, x, y) → the loss of each example, (B,), and y_pred, outside of training. Without it
            the loss of the model's output is computed.
        gradients: (differentiate, variables) → the loss, y_pred and the gradient of each variable. It calls
            `differentiate()`, which returns the same of one pass, as often as it needs.
        takes_rows: whether its `gradients` takes and returns tf.IndexedSlices for tables, whose rows of one id are
            added up: the sum stands at one of the id's places, and 0 at the others. Else it gets whole gradients.
        own_targets: whether it doesn't learn the target of the data.
        auto_loss: with own targets, the name of the loss that loss=auto becomes; None is huber.
        teacher: the folder of a run whose model it learns from, or None.
        use_teacher: (model) → None; called before training with that model, its best weights assigned.
        is_adversarial: whether networks are trained against each other, so that a smaller loss isn't a better one.
        metrics: Keras metrics that it updates itself, reported under their names.
        variables: variables of its own that a checkpoint must contain.
    """

    kind = "algorithm"
    forward: Callable[..., tuple[Any, Any]]
    evaluate: Callable[..., tuple[Any, Any]] | None = None
    gradients: Callable[..., tuple[Any, Any, Any]] | None = None
    takes_rows: bool = False
    own_targets: bool = literal(False)
    auto_loss: str | None = literal(None)
    is_adversarial: bool = literal(False)
    teacher: str | None = None
    use_teacher: Callable[..., None] | None = None

    @property
    def metrics(self) -> Sequence[Any]:
        return _late(self, "metrics")

    @property
    def variables(self) -> Sequence[Any]:
        return _late(self, "variables")


@dataclass(frozen=True)
class AugmentationOffer(Offer):
    """An augmentation: (values, draws) → changed values of the same shape and dtype.

    Attributes:
        takes: "images", arrays (B, height, width, channels), or "values", all numbers and arrays.
        mixes: whether it is called with (values, others, draws), `others` being other rows of the batch, and returns
            the mixed values and the share of each row's own, (B,).
    """

    kind = "augmentation"
    takes: str = "images"
    mixes: bool = literal(False)


@dataclass(frozen=True)
class FirstWeights:
    """The weights that a part of a model begins with. They are read when a run begins, and never again.

    Attributes:
        layer: the part, a layer or a model.
        source: a file of weights, as `init.from` takes it; with `download`, a name for what that returns.
        unused: patterns of arrays in it that the part may lack.
        download: returns a model of the same structure that has the weights, if they are in no such file.
        key: the config key that says where they are, for errors.
    """

    layer: Any
    source: str = ""
    unused: tuple[str, ...] = ()
    download: Callable[[], Any] | None = None
    key: str = "model"


@dataclass(frozen=True)
class ModelOffer(Offer):
    """A model.

    Attributes:
        optimizer_groups: the optimizer groups that suit it, as `optimizer.groups` in a config; None is one Adam.
        loss_weights: of a model with several outputs: output → the factor of its loss, else 1.
        values: (inputs) → the inputs as one tensor, (B, …). For algorithms that compare with them.
        generate: (count, training=False) → generated examples, (count, …). For algorithms that generate.
        example_shape: the shape of a generated example. Those of images are written to TensorBoard.
        pair_scores: (inputs, training=False) → the scores of each row's user with each row's item, (B, B), and ids by
            which items differ, (B, n). For algorithm=in_batch_softmax.
        samples: (inputs) → the main output as each of S networks predicts it, (B, S, num_outputs).
        first_weights: what a part of it begins with, unless the config's `init` says it; None for fresh weights.
        architecture_files: the paths of files that it is read from, whenever it is built: they must not change.
        metrics: Keras metrics that it updates in `call`, reported under their names.
    """

    kind = "model"
    optimizer_groups: Mapping[str, Mapping[str, Any]] | None = literal(None)
    loss_weights: Mapping[str, float] = literal({})
    values: Callable[..., Any] | None = None
    generate: Callable[..., Any] | None = None
    example_shape: tuple[int, ...] = ()
    pair_scores: Callable[..., tuple[Any, Any]] | None = None
    samples: Callable[..., Any] | None = None
    first_weights: FirstWeights | None = None
    architecture_files: Sequence[str] = ()

    @property
    def metrics(self) -> Sequence[Any]:
        return _late(self, "metrics")


@dataclass(frozen=True)
class LossOffer(Offer):
    """A loss.

    Attributes:
        task: "regression" or "classification", if it is for one of them only.
        takes_all_outputs: whether it gets all outputs of a model with several, as a mapping, and their targets.
        losses: of a loss that takes all outputs: output → its loss, whose task is checked.
    """

    kind = "loss"
    task: str | None = literal(None)
    takes_all_outputs: bool = literal(False)
    losses: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class MetricOffer(Offer):
    """A metric.

    Attributes:
        task: "regression" or "classification", if it is for one of them only.
        higher_is_better: whether a greater value is a better one. Decides what is best unless a config gives `mode`;
            None says nothing, and then a config that monitors the metric must give it.
        undefined_if: when its result is NaN, though there are rows with a weight: "one of the two classes has no row".
        matrix: () → the confusion matrix, (classes, classes), which is written to TensorBoard as an image.
        output: which output of the model it measures. tfrun sets it, from `metric.<key>.output`.
    """

    kind = "metric"
    task: str | None = literal(None)
    higher_is_better: bool | None = literal(None)
    undefined_if: str | None = None
    matrix: Callable[[], Any] | None = None
    output: str = field(default=MAIN_OUTPUT, metadata={SET_BY_TFRUN: True})


@dataclass(frozen=True)
class ScheduleOffer(Offer):
    """A schedule: (step) → the factor on the learning rate.

    Attributes:
        end_epoch: (values) gets the values of each epoch by name, `val/loss` for instance, inside the program.
        variables: variables of its own that a checkpoint must contain.
    """

    kind = "schedule"
    end_epoch: Callable[[Mapping[str, Any]], None] | None = None

    @property
    def variables(self) -> Sequence[Any]:
        return _late(self, "variables")


@dataclass(frozen=True)
class DatasetOffer(Offer):
    """A data set: a function that returns a table, or rows that one can be made of.

    Attributes:
        task: "regression" or "classification", if it is always the same: a loss or metric of the other task is then
            refused before the data is read.
    """

    kind = "dataset"
    task: str | None = literal(None)


@dataclass(frozen=True)
class LayerOffer(Offer):
    """A layer.

    Attributes:
        example_inputs: () → inputs that its check can call it with, where rows and sequences of numbers won't do.
    """

    kind = "layer"
    example_inputs: Callable[[], Any] | None = None


@dataclass(frozen=True)
class ActivationOffer(Offer):
    """An activation.

    Attributes:
        initializer: the name of an initializer that suits the layers it is used in.
    """

    kind = "activation"
    initializer: str | None = literal(None)


@dataclass(frozen=True)
class InitializerOffer(Offer):
    """An initializer.

    Attributes:
        variance: (fan_in, fan_out) → the variance of its values; its check compares.
        seed: None if each call draws new values; its check calls it twice. ABSENT without such an attribute.
    """

    kind = "initializer"
    variance: Callable[[float, float], float] | None = None
    seed: Any = ABSENT


@dataclass(frozen=True)
class SavedOffer(Offer):
    """What Keras needs to save and load a component, of whatever kind.

    Attributes:
        get_config: () → the parameters that make it again.
    """

    kind = "component"
    get_config: Callable[[], dict[str, Any]] | None = None


OFFERS: dict[str, type[Offer]] = {
    offer.kind: offer
    for offer in (
        ActivationOffer,
        AlgorithmOffer,
        AugmentationOffer,
        DatasetOffer,
        InitializerOffer,
        LayerOffer,
        LossOffer,
        MetricOffer,
        ModelOffer,
        ScheduleOffer,
    )
}  # kinds that aren't here have nothing but what Keras asks of them


def required(kind: str) -> list[str]:
    """Returns the names of what a component of a kind must have."""
    return [attribute.name for attribute in _fields_of(kind) if _default(attribute) is dataclasses.MISSING]


def optional(kind: str) -> list[str]:
    """Returns the names of what a component of a kind may have."""
    late = [name for name, value in vars(OFFERS.get(kind, Offer)).items() if isinstance(value, property)]
    known = [attribute.name for attribute in _fields_of(kind) if not attribute.metadata.get(SET_BY_TFRUN)]
    return [name for name in known if name not in required(kind)] + late


def literals(kind: str) -> dict[str, Any]:
    """Returns what a component of a kind may have as a literal, and the defaults."""
    return {attribute.name: _default(attribute) for attribute in _fields_of(kind) if attribute.metadata.get(LITERAL)}


def label(component: Any) -> str:
    """Returns a component's name, for messages."""
    names = (_read(component, attribute) for attribute in ("name", "__name__"))
    return next((str(name) for name in names if name is not ABSENT), type(component).__name__)


def _read(component: Any, name: str) -> Any:
    """Returns an attribute, or ABSENT: the one place where a component is asked whether it has something."""
    component = component.func if isinstance(component, functools.partial) else component
    return getattr(component, name, ABSENT)


def _late(offer: Offer, name: str) -> list[Any]:
    """Returns a list that may grow after the component is made, as it is now."""
    value = _read(offer.component, name)
    return [] if value is ABSENT else list(value)


def _fields(offer: type[Offer]) -> list[dataclasses.Field[Any]]:
    return [attribute for attribute in dataclasses.fields(offer) if attribute.name != "component"]


def _fields_of(kind: str) -> list[dataclasses.Field[Any]]:
    return _fields(OFFERS.get(kind, Offer))


def _default(attribute: dataclasses.Field[Any]) -> Any:
    """Returns a field's default, or MISSING."""
    if attribute.default_factory is not dataclasses.MISSING:
        return attribute.default_factory()
    return attribute.default
