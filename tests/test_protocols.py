"""What components may have: read in one place, with defaults."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import pytest

from tfrun import protocols
from tfrun.errors import ConfigError
from tfrun.protocols import (
    ABSENT,
    ActivationOffer,
    AlgorithmOffer,
    InitializerOffer,
    LossOffer,
    MetricOffer,
    ModelOffer,
    SavedOffer,
    ScheduleOffer,
)


class Plain:
    """An algorithm that has what it must have."""

    def forward(self, model: Any, loss: Any, x: Any, y: Any) -> tuple[Any, Any]:
        return 1.0, x


class Growing(Plain):
    """An algorithm that makes a variable later."""

    own_targets = True
    metrics = ("one",)

    def __init__(self) -> None:
        self.made: list[str] = []

    @property
    def variables(self) -> list[str]:
        return self.made


def test_what_a_component_does_not_have_is_the_default() -> None:
    offer = AlgorithmOffer.of(Plain())
    assert (offer.evaluate, offer.gradients, offer.own_targets) == (None, None, False)
    assert (offer.metrics, offer.variables) == ([], [])
    assert offer.forward(None, None, 5, None) == (1.0, 5)
    model = ModelOffer.of(object())
    assert (model.loss_weights, model.optimizer_groups, model.generate, model.example_shape) == ({}, None, None, ())
    assert model.samples is None
    assert InitializerOffer.of(object()).seed is ABSENT
    assert SavedOffer.of(object()).get_config is None


def test_what_a_component_has_is_read() -> None:
    component = type("Component", (), {"task": None, "takes_all_outputs": True, "losses": {"a": 1}, "seed": None})()
    offer = LossOffer.of(component)
    assert (offer.component, offer.task, offer.takes_all_outputs, offer.losses) == (component, None, True, {"a": 1})
    assert InitializerOffer.of(component).seed is None
    assert MetricOffer.of(component).output == "output"


def test_variables_that_come_later_are_seen() -> None:
    algorithm = Growing()
    offer = AlgorithmOffer.of(algorithm)
    assert offer.variables == [] and offer.metrics == ["one"]
    algorithm.made.append("counter")
    assert offer.variables == ["counter"]


def test_a_function_with_parameters_filled_in_has_the_attributes_of_the_function() -> None:
    def gain(y: Any, y_pred: Any, scale: float) -> Any:
        return scale * y

    gain.higher_is_better = True  # type: ignore[attr-defined]
    offer = MetricOffer.of(functools.partial(gain, scale=2.0))
    assert offer.higher_is_better and protocols.label(offer.component) == "gain"


def test_an_attribute_without_a_default_must_be_there() -> None:
    with pytest.raises(ConfigError, match=r"^algorithm: NoForward must have a method forward$"):
        AlgorithmOffer.of(type("NoForward", (), {})())


def test_a_label_is_a_name() -> None:
    assert protocols.label(type("Named", (), {"name": "huber"})()) == "huber"
    assert protocols.label(Plain()) == "Plain"
    assert protocols.label(Plain) == "Plain"


def test_each_kind_lists_what_it_may_have() -> None:
    assert protocols.required("algorithm") == ["forward"]
    assert protocols.optional("algorithm") == [
        *("evaluate", "gradients", "takes_rows", "own_targets", "auto_loss", "is_adversarial"),
        *("teacher", "use_teacher", "metrics", "variables"),
    ]
    assert protocols.optional("metric") == ["task", "higher_is_better", "undefined_if", "matrix"]  # tfrun sets `output`
    assert protocols.optional("schedule") == ["end_epoch", "variables"]
    assert protocols.optional("optimizer") == []
    assert protocols.literals("metric") == {"task": None, "higher_is_better": None}
    assert protocols.literals("model") == {"optimizer_groups": None, "loss_weights": {}}
    assert ScheduleOffer.kind in protocols.OFFERS and ActivationOffer.kind in protocols.OFFERS


def test_reserved_parameters() -> None:
    assert {
        *("self", "y_true", "y_pred", "sample_weight", "step", "features", "num_outputs", "more_outputs"),
        *("text_encodings", "column_kinds", "rows_only", "trained_columns", "in_pieces", "stores"),
        *("total_steps", "steps_per_epoch", "name", "dtype", "reduction", "args", "kwargs"),
    } == protocols.RESERVED


def listed(page: str, kind: str) -> list[tuple[str, str]]:
    """Returns the names in the list of a kind in docs/components.md, each with its star or an empty string."""
    name = kind.replace("dataset", "data set")
    article = "An" if kind[0] in "aeiou" else "A"
    (items,) = re.findall(rf"^{article} {name} may also have:\n\n((?:- .*\n(?:  .*\n)*)+)", page, re.MULTILINE)
    return re.findall(r"^- `(\w+)[^`]*`(\\\*|)", items, re.MULTILINE)


@pytest.mark.parametrize("kind", protocols.OFFERS)
def test_the_page_on_components_lists_what_each_kind_may_have(kind: str, root: Path) -> None:
    page = (root / "docs" / "components.md").read_text()
    assert [name for name, _ in listed(page, kind)] == protocols.optional(kind)
    assert all(f"`{name}(" in page for name in protocols.required(kind))


def test_the_page_on_components_marks_what_is_read_without_running_the_file(root: Path) -> None:
    page = (root / "docs" / "components.md").read_text()
    marked = {(kind, name) for kind in protocols.OFFERS for name, star in listed(page, kind) if star}
    assert all(name in protocols.literals(kind) for kind, name in marked)
    sources = [file.read_text() for file in (root / "runner" / "tfrun" / "config").glob("*.py")]
    read = {name for source in sources for name in re.findall(r"\.declared\(\"(\w+)\"\)", source)}
    assert {name for _, name in marked} == read


def test_the_page_on_components_lists_the_parameters_that_tfrun_fills_in(root: Path) -> None:
    page = (root / "docs" / "components.md").read_text()
    (names,) = re.findall(r"^tfrun fills in the following parameters itself[^:]*:([^.]*)\.$", page, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", names)) == protocols.RESERVED
