"""Targets: their units, how many outputs each needs, and which output belongs to which."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tfrun.data.labels import label
from tfrun.data.targets import FittedTarget, TargetScale, main_output, of_output
from tfrun.errors import DataError


def test_a_scale_restores_the_targets_own_unit() -> None:
    restored = TargetScale(mean=100.0, standard_deviation=5.0).restore(tf.constant([-2.0, 0.0, 0.5]))
    assert restored.dtype == tf.float32
    np.testing.assert_array_equal(restored, [90.0, 100.0, 102.5])


def test_the_scale_of_an_unscaled_target_returns_the_same_tensor_even_of_class_ids() -> None:
    ids = tf.constant([[0], [2]])
    assert TargetScale().restore(ids) is ids


@pytest.mark.parametrize(
    ("target", "num_outputs"),
    [
        (FittedTarget("regression"), 1),
        (FittedTarget("classification", ["no", "yes"]), 1),  # one logit
        (FittedTarget("classification", ["a", "b", "c"]), 3),
    ],
)
def test_a_target_tells_how_many_outputs_it_needs(target: FittedTarget, num_outputs: int) -> None:
    assert target.num_outputs == num_outputs


def test_an_output_without_a_target_of_its_own_has_the_main_one() -> None:
    targets = {"output": 1, "height": 2}
    assert of_output(targets, "height") == 2
    assert of_output(targets, "auxiliary") == main_output(targets) == 1


def test_a_single_value_serves_every_output() -> None:
    assert of_output(7, "height") == main_output(7) == 7


def test_a_number_target_learns_its_scale() -> None:
    # 2 4 4 4 5 5: mean 4, variance (4 + 1 + 1)/6
    values = np.array([2.0, 4.0, 4.0, 4.0, 5.0, 5.0])
    assert FittedTarget.fit(values, "regression", scale=True, where="") == FittedTarget("regression", [], 4.0, 1.0)
    assert FittedTarget.fit(values, "regression", scale=False, where="") == FittedTarget("regression")


def test_a_constant_target_is_not_divided_by_anything() -> None:
    assert FittedTarget.fit(np.full(6, 7.0), "regression", scale=True, where="").scale == TargetScale(7.0, 1.0)


def test_classes_are_sorted_and_never_scaled() -> None:
    labels = np.array(["yes", "no", "no"], dtype=object)
    fitted = FittedTarget.fit(labels, "classification", scale=True, where="")
    assert fitted == FittedTarget("classification", ["no", "yes"])
    assert fitted.scale == TargetScale()


def test_classes_that_are_numbers_have_all_their_digits_as_labels() -> None:
    values = np.array([10.0, 0.1, 2.0])
    fitted = FittedTarget.fit(values, "classification", scale=True, where="")
    assert fitted.classes == ["0.10000000000000001", "2", "10"]


def test_too_few_and_too_many_classes_are_an_error() -> None:
    for count in (1, 1001):
        labels = np.array([f"c{k}" for k in range(count)], dtype=object)
        with pytest.raises(DataError, match=f"^homes must have 2 to 1000 classes .* Received: {count}"):
            FittedTarget.fit(labels, "classification", scale=True, where="homes")


@pytest.mark.parametrize(
    ("classes", "given", "spelt"),
    [
        (["0", "1"], ["1", "1.0", "0.", "yes"], ["1", "1", "0", "yes"]),
        (["1.0", "2.0"], ["1", "2.0"], ["1.0", "2.0"]),
        (["007", "7"], ["7", "007", "7.0"], ["7", "007", "7"]),
        (["7", "7.0"], ["7.0", "7", "7.00"], ["7.0", "7", "7.00"]),  # nobody knows which of the two it is
        (["-1", "1.5"], [-1.0, 1.5], ["-1", "1.5"]),  # a data set may give numbers
    ],
)
def test_labels_are_spelt_as_the_classes(classes: list[str], given: list[Any], spelt: list[str]) -> None:
    labels = FittedTarget("classification", classes).spell(np.array(given, dtype=object))
    assert [label(value) for value in labels.tolist()] == spelt


@pytest.mark.parametrize("given", [np.arange(3), np.array([2.0, 0.0]), np.array(["0", "2"], dtype=object)])
def test_labels_that_are_classes_stay_the_array_that_they_are(given: np.ndarray) -> None:
    assert FittedTarget("classification", ["0", "1", "2"]).spell(given) is given  # for the rows' fingerprint


def test_labels_of_an_earlier_version_were_numbers() -> None:
    fitted = FittedTarget("classification", ["10", "7"], spelt_as_read=False)
    given = np.array(["007", "7.0", "010", "1e1", "x", "nan", ""], dtype=object)
    assert fitted.spell(given).tolist() == ["7", "7", "10", "10", "x", "nan", ""]
