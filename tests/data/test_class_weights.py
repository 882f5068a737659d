"""The weights of classes, from the training rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from tfrun.data.class_weights import class_weights
from tfrun.data.preprocessing import fit
from tfrun.data.table import Table, Target
from tfrun.errors import DataError

Weigh = Callable[..., dict[str, tuple[float, ...]]]


@pytest.fixture
def weigh(homes: Callable[..., Table], train: np.ndarray) -> Weigh:
    """Weighs the classes of labels, and of a second target `flat` if it is given; six rows are trained on."""

    def weigh(labels: str, chosen: Any, *, other: str | None = None) -> dict[str, tuple[float, ...]]:
        others = {} if other is None else {"flat": Target(np.array(list(other), dtype=object), "classification")}
        table = homes(target=np.array(labels.split(), dtype=object), task="classification", others=others)
        return class_weights(table, train, fit(table, train, scale_target=True), chosen=chosen)

    return weigh


def test_balanced_is_the_formula_of_scikit_learn_on_the_training_rows(weigh: Weigh) -> None:
    labels = "a b b b c b a a a a"
    expected = compute_class_weight("balanced", classes=np.array(["a", "b", "c"]), y=labels.split()[:6])
    weights = weigh(labels, "balanced")
    assert weights == {"output": tuple(expected.tolist())}
    assert weights["output"] == pytest.approx((6 / (3 * 1), 6 / (3 * 4), 6 / (3 * 1)))


def test_no_weights(weigh: Weigh) -> None:
    assert weigh("a b a b a b a b a b", None) == {}


@pytest.mark.parametrize(
    ("labels", "chosen", "expected"),
    [
        ("yes no no no no no no no no no", {"yes": 5.0}, (1.0, 5.0)),
        ("0 1 2 0 1 2 0 1 2 0", {"2": 3.0, "0": 0.0}, (0.0, 1.0, 3.0)),
        ("1 0 1 0 1 0 1 0 1 0", {"1.0": 2.0}, (1.0, 2.0)),  # as classes are spelt elsewhere
        ("True False True False True False True False True False", {"true": 2.0}, (1.0, 2.0)),  # as YAML reads it
    ],
)
def test_classes_are_named(labels: str, chosen: dict[str, float], expected: tuple[float, ...], weigh: Weigh) -> None:
    assert weigh(labels, chosen) == {"output": expected}


def test_each_target_has_its_own(weigh: Weigh) -> None:
    weights = weigh("a b a b a b a b a b", {"price": {"a": 2.0}, "flat": "balanced"}, other="xyyyyyxxxx")
    assert weights == {"output": (2.0, 1.0), "flat": (3.0, 0.6)}
    assert weigh("a b a b a b a b a b", {"flat": {"x": 7.0}}, other="xyyyyyxxxx") == {"flat": (7.0, 1.0)}
    assert weigh("a b a b a b a b a b", "balanced", other="xyyyyyxxxx") == {"output": (1.0, 1.0)}  # the main one


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"yess": 5.0}, "^data.class_weight: no such class. Received: 'yess'. Known: no, yes. Did you mean 'yes'?"),
        ({"prise": "balanced"}, "^data.class_weight: no such target. Received: 'prise'. Known: price. .* 'price'"),
        ({"yes": 0.0, "no": 0.0}, "^data.class_weight: every training row has weight 0"),
    ],
)
def test_names_that_are_none_are_an_error(chosen: dict[str, Any], message: str, weigh: Weigh) -> None:
    with pytest.raises(DataError, match=message):
        weigh("yes no yes no yes no yes no yes no", chosen)


def test_a_target_of_numbers_has_no_classes(homes: Callable[..., Table], train: np.ndarray) -> None:
    table = homes()
    with pytest.raises(DataError, match="^data.class_weight: the target 'price' has numbers, no classes"):
        class_weights(table, train, fit(table, train, scale_target=True), chosen="balanced")
