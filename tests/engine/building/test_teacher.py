"""The earlier run that a model learns from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import yaml

from tfrun.components.algorithms.distill import Distill
from tfrun.errors import ConfigError


class Constant:
    """A model that returns the same outputs for each example."""

    def __init__(self, *outputs: list[float]):
        self.outputs = tf.constant(outputs)
        self.losses: list[Any] = []

    def __call__(self, x: Any, training: bool = False) -> Any:
        return self.outputs


def loss_of(y: Any, y_pred: Any) -> Any:
    return tf.constant([3.0, 5.0])


def total(taught: Constant, student: Constant, y: Any, **options: Any) -> float:
    algorithm = Distill("nowhere", **options)
    algorithm.use_teacher(taught)
    return float(algorithm.forward(student, loss_of, None, y)[0])


def with_config(small: Any, folder: Any, *words: str) -> Any:
    """Returns a run's folder with the `config.yaml` that a command writes."""
    folder.config_yaml.write_text(yaml.safe_dump(small.settings(*words).to_dict()))
    return folder


def test_numbers() -> None:
    taught, student = Constant([1.0], [2.0]), Constant([2.0], [5.0])
    # squares 1 and 9; losses 3 and 5
    found = total(taught, student, tf.constant([[0.0], [0.0]]), weight=0.25)
    assert found == pytest.approx(np.mean([0.25 * 1 + 0.75 * 3, 0.25 * 9 + 0.75 * 5]))


def softmax(logits: list[float], temperature: float) -> np.ndarray:
    exponentials = np.exp(np.array(logits) / temperature)
    return exponentials / exponentials.sum()


def test_classes() -> None:
    taught, student = [[2.0, 0.0, -1.0], [0.5, 0.5, 3.0]], [[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    divergences = []
    for t, s in zip(taught, student, strict=True):
        p, q = softmax(t, 3.0), softmax(s, 3.0)
        divergences.append(9.0 * np.sum(p * np.log(p / q)))
    y = tf.constant([[0], [2]])
    found = total(Constant(*taught), Constant(*student), y, weight=1.0, temperature=3.0)
    assert found == pytest.approx(np.mean(divergences), rel=1e-5)
    assert total(Constant(*taught), Constant(*taught), y, weight=1.0) == pytest.approx(0.0, abs=1e-6)


def test_two_classes_with_one_logit() -> None:
    p, q = 1 / (1 + np.exp(-1.0)), 1 / (1 + np.exp(0.5))  # T = 2
    divergence = 4.0 * (p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q)))
    taught, student = Constant([2.0], [2.0]), Constant([-1.0], [-1.0])
    assert total(taught, student, tf.constant([[1], [0]]), weight=1.0) == pytest.approx(divergence, rel=1e-5)


def test_a_run_learns_from_another_one(small: Any) -> None:
    of_teacher = ["model=mlp", "model.hidden_units=[16]", "name=teacher"]
    teacher = with_config(small, small.train(*of_teacher), *of_teacher)
    words = ["algorithm=distill", f"algorithm.teacher={teacher.path}", "model=linear", "name=student"]
    pieces = small.pieces(*words, "algorithm.weight=1")
    assert pieces.parts.warnings == ()
    model = pieces.parts.step.algorithm.component._model
    from tfrun.files.weights import of_run

    best = [array.read() for array in of_run.read(teacher, take="best").arrays]
    for variable, value in zip(model.variables, best, strict=True):
        np.testing.assert_array_equal(variable, value)
    run = small.train(*words)
    assert run.read_run()["status"] == "completed"
    for variable, value in zip(model.variables, best, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_a_teacher_of_other_rows_is_refused(small: Any) -> None:
    teacher = with_config(small, small.train("name=teacher"), "model=linear", "name=teacher")
    words = ["algorithm=distill", f"algorithm.teacher={teacher.path}"]
    with pytest.raises(ConfigError, match=r"encodes its rows otherwise .* init\.preprocessing=same"):
        small.pieces(*words, "data.split_seed=3")
    same = [f"init={teacher.path}", "init.preprocessing=same", "init.new=['']", "init.unused=['']"]
    pieces = small.pieces(*words, "data.split_seed=3", *same)
    (warning,) = pieces.parts.warnings
    assert warning.endswith("may have been trained on this run's validation and test rows: data.split_seed differ")


def test_a_teacher_that_is_no_run(small: Any) -> None:
    with pytest.raises(ConfigError, match="not a run folder"):
        small.pieces("algorithm=distill", "algorithm.teacher=outputs/nowhere")
