"""Predictions as columns, from models whose outputs are known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import tensorflow as tf

from tfrun.data.examples import Examples
from tfrun.data.pieces import ROWS_TOGETHER
from tfrun.data.preprocessing import Preprocessing
from tfrun.data.targets import FittedTarget
from tfrun.engine.inference import predictions
from tfrun.engine.training import feed
from tfrun.engine.training.batches import EVALUATION_ROWS

NUMBER = FittedTarget("regression", mean=10.0, standard_deviation=4.0)
TWO, THREE = FittedTarget("classification", ["no", "yes"]), FittedTarget("classification", ["a", "b", "c"])


def columns(model: Any, names: list[str], inputs: Any, *, learns_targets: bool = True, **targets: Any) -> Any:
    """Returns the columns of a function of the inputs, whose outputs are named by the targets."""
    fitted = cast(Preprocessing, SimpleNamespace(targets=targets))
    examples = Examples(np.asarray(inputs, np.float32), np.zeros((len(inputs), 1)), {}, fitted, "")

    def call(x: tf.Tensor, training: bool) -> Any:
        assert not training
        return model(x)

    call.__dict__.update({name: getattr(model, name) for name in ("samples",) if hasattr(model, name)})
    predictor = predictions.Predictor(cast(Any, call), fitted, names=names, learns_targets=learns_targets)
    return predictor.columns(examples)


def test_a_number_is_in_the_unit_of_its_target() -> None:
    predicted = columns(lambda x: x, ["price"], [[0.0], [0.5], [-1.0]], output=NUMBER)
    assert predicted["price"].tolist() == [10.0, 12.0, 6.0]


def test_samples_of_a_number_have_a_standard_deviation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "rows_to_evaluate", lambda _: 2)
    drawn = np.random.default_rng(0).normal(size=(5, 7, 1))

    class Sampled:
        def __call__(self, x: tf.Tensor) -> tf.Tensor:
            return tf.reduce_mean(self.samples(x), axis=1)

        def samples(self, x: tf.Tensor) -> tf.Tensor:
            return tf.gather(tf.constant(drawn), tf.cast(x[:, 0], tf.int32))

    rows = [[0.0], [1.0], [2.0], [3.0], [4.0]]
    predicted = columns(Sampled(), ["price"], rows, output=NUMBER)
    assert list(predicted) == ["price", "price_std"]
    np.testing.assert_allclose(predicted["price"], 10.0 + 4.0 * drawn[:, :, 0].mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(predicted["price_std"], 4.0 * drawn[:, :, 0].std(axis=1), rtol=1e-12)
    assert list(columns(Sampled(), ["sold"], rows, output=TWO)) == ["sold", "sold=no", "sold=yes"]
    assert list(columns(Sampled(), ["price"], rows, learns_targets=False, output=NUMBER)) == ["output_0"]


def test_a_class_has_its_probabilities() -> None:
    predicted = columns(lambda x: x, ["sold"], [[0.0], [np.log(3.0)], [-np.log(3.0)]], output=TWO)
    np.testing.assert_allclose(predicted["sold=yes"], [0.5, 0.75, 0.25], rtol=1e-6)
    np.testing.assert_allclose(predicted["sold=no"], [0.5, 0.25, 0.75], rtol=1e-6)
    assert predicted["sold"].tolist()[1:] == ["yes", "no"]


def test_several_classes_have_a_column_each() -> None:
    predicted = columns(lambda x: x, ["kind"], np.log([[1.0, 1.0, 2.0], [6.0, 2.0, 2.0]]), output=THREE)
    assert list(predicted) == ["kind", "kind=a", "kind=b", "kind=c"]
    assert predicted["kind"].tolist() == ["c", "a"]
    np.testing.assert_allclose(predicted["kind=a"], [0.25, 0.6], rtol=1e-6)


def test_several_targets_have_their_columns() -> None:
    model = lambda x: {"output": x, "sold": 0.0 * x - 5.0}  # noqa: E731
    predicted = columns(model, ["price", "sold"], [[0.5]], output=NUMBER, sold=TWO)
    assert list(predicted) == ["price", "sold", "sold=no", "sold=yes"]
    assert (predicted["price"].tolist(), predicted["sold"].tolist()) == ([12.0], ["no"])


def test_outputs_that_are_no_targets_are_numbered() -> None:
    predicted = columns(lambda x: x, ["price"], [[1.0, 2.0], [3.0, 4.0]], learns_targets=False, output=NUMBER)
    assert list(predicted) == ["output_0", "output_1"]
    assert (predicted["output_0"].tolist(), predicted["output_1"].tolist()) == ([1.0, 3.0], [2.0, 4.0])


def test_rows_are_predicted_in_parts_and_stay_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "rows_to_evaluate", lambda _: 2)
    predicted = columns(lambda x: x, ["price"], [[float(k)] for k in range(5)], output=FittedTarget("regression"))
    assert predicted["price"].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_rows_that_come_in_pieces_are_predicted_as_if_they_came_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "rows_to_evaluate", lambda _: 2)
    drawn = tf.random.Generator.from_seed(3)

    class Noisy:
        def __call__(self, x: tf.Tensor, training: bool) -> tf.Tensor:
            return x

        def samples(self, x: tf.Tensor) -> tf.Tensor:
            return x[:, None] + drawn.normal((tf.shape(x)[0], 4, 1))

    fitted = cast(Preprocessing, SimpleNamespace(targets={"output": NUMBER}))
    rows = [Examples(np.full((n, 1), k, np.float32), np.zeros((n, 1)), {}, fitted, "") for k, n in enumerate((2, 4, 1))]
    predictor = predictions.Predictor(cast(Any, Noisy()), fitted, names=["price"], learns_targets=True)
    in_pieces = [predictor.columns(piece) for piece in rows]
    drawn.reset_from_seed(3)
    together = Examples(np.concatenate([piece.inputs for piece in rows]), np.zeros((7, 1)), {}, fitted, "")
    at_once = predictions.Predictor(cast(Any, Noisy()), fitted, names=["price"], learns_targets=True).columns(together)
    for name in ("price", "price_std"):
        assert np.concatenate([columns[name] for columns in in_pieces]).tolist() == at_once[name].tolist()


def test_a_piece_holds_whole_evaluations() -> None:
    assert ROWS_TOGETHER % EVALUATION_ROWS == 0


def test_numbers_have_the_decimals_of_their_target_and_probabilities_six_digits() -> None:
    fitted = Preprocessing(columns=(), targets={"output": NUMBER, "sold": TWO, "n": NUMBER}, decimals={"output": 3})
    formats = predictions.text_formats(fitted, ["price", "sold", "n"], learns_targets=True)
    assert formats == {"price": "%.3f", "price_std": "%.3f", "sold=no": "%.6g", "sold=yes": "%.6g"}
    assert predictions.text_formats(fitted, ["price", "sold", "n"], learns_targets=False) == {}
