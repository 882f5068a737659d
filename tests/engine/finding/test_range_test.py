"""The range test over small runs: a linear model, whose gradient descent NumPy repeats, and groups."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from tfrun.config.settings import Settings
from tfrun.engine.building.assembly import build_pieces
from tfrun.engine.finding.range_test import RangeOptions, RangeResult, range_test, settings_of_test
from tfrun.errors import ConfigError

FULL_BATCH = ["loss=mse", "optimizer=sgd", "data.batch_size=100000"]
WIDE_DEEP = ["model=wide_deep", "trainer.compile=graph"]


def tried(small: Any, *words: str, **options: Any) -> RangeResult:
    settings = small.settings("model=linear", "trainer.compile=eager", *words)
    return range_test(settings, small.catalog, table=small.table(*words), options=RangeOptions(**options))


def features_and_weights(small: Any, options: RangeOptions) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the inputs of the last layer with a column of ones, the targets, and the first weights with the bias."""
    settings = settings_of_test(small.settings("model=linear", "trainer.compile=eager", *FULL_BATCH), options)
    pieces = build_pieces(settings, small.catalog, table=small.table(*FULL_BATCH))
    rows, examples, model = pieces.examples.splits["train"], pieces.examples, pieces.parts.model
    dense = model.get_layer("output")
    inputs = {name: array[rows] for name, array in examples.inputs.items()}
    x = np.asarray(keras.Model(model.inputs, dense.input)(inputs), np.float64)
    weights = np.concatenate([dense.kernel.numpy().ravel(), dense.bias.numpy()]).astype(np.float64)
    return np.column_stack([x, np.ones(len(x))]), np.asarray(examples.targets[rows], np.float64).ravel(), weights


def test_gradient_descent_diverges_beyond_two_over_the_largest_curvature(small: Any) -> None:
    """The Hessian of mean((Aw − y)²) is H = 2/n·AᵀA; descent with the rate r multiplies its parts by 1 − r·λ.

    So the loss falls at every step with r < 2/λ_max, whatever the weights are, and grows sooner or later beyond it.
    """
    options = RangeOptions(first_rate=1e-3, last_rate=10.0, num_steps=120, smoothing=0.0)
    a, y, weights = features_and_weights(small, options)
    hessian = 2 / len(y) * a.T @ a
    limit = 2 / np.linalg.eigvalsh(hessian).max()
    rates = 1e-3 * 1e4 ** (np.arange(120) / 119)
    losses = []
    for rate in rates:
        losses.append(np.mean((a @ weights - y) ** 2))
        weights = weights - rate * 2 / len(y) * a.T @ (a @ weights - y)

    curve = tried(small, *FULL_BATCH, first_rate=1e-3, last_rate=10.0, num_steps=120, smoothing=0.0).curve
    number = len(curve.losses)
    assert curve.ended == "grew" and curve.losses[-1] > 4 * min(curve.losses) and number < 120
    np.testing.assert_allclose(curve.rates, rates[:number], rtol=1e-5)
    before = int(np.sum(rates < limit))  # later, what rounding has left of the steepest part grows again
    np.testing.assert_allclose(curve.losses[: before + 1], losses[: before + 1], rtol=1e-4)
    assert np.all(np.diff(curve.losses[: before + 1]) < 0)
    assert limit < curve.rates[-1] < 5 * limit
    assert limit / 20 < curve.suggestion < limit and curve.steepest < limit


def test_a_rate_that_makes_the_loss_infinite_ends_the_test(small: Any) -> None:
    curve = tried(small, *FULL_BATCH, first_rate=1e-3, last_rate=1e30, num_steps=60, smoothing=0.9).curve
    assert curve.ended in ("undefined", "grew") and len(curve.losses) < 60
    assert np.all(np.isfinite(curve.losses))


def test_a_test_of_all_rates(small: Any) -> None:
    reported: list[tuple[int, float, float]] = []

    def report(step: int, rate: float, loss: float) -> None:
        reported.append((step, rate, loss))

    result = tried(small, "optimizer=sgd", first_rate=1e-7, last_rate=1e-5, num_steps=30, report=report)
    assert result.curve.ended == "range" and len(result.curve.losses) == 30
    assert result.curve.rates[-1] == pytest.approx(1e-5)
    assert result.epochs == 30 / 11  # batches of 32 of 354 rows; so rows are seen again
    assert result.ratios == {"all": 1.0} and result.untested == ()
    assert reported[-1][0] == 30 and reported[-1][2] == result.curve.losses[-1]


def test_the_schedule_is_replaced(small: Any) -> None:
    words = ["optimizer=sgd", "optimizer.schedule=cosine"]
    result = tried(small, *words, first_rate=1e-6, last_rate=1e-4, num_steps=20)
    np.testing.assert_allclose(result.curve.rates, 1e-6 * 100 ** (np.arange(20) / 19), rtol=1e-5)


def test_groups_keep_their_ratios(small: Any) -> None:
    words = [*WIDE_DEEP, "optimizer.groups.wide.learning_rate=0.04", "optimizer.groups.deep.learning_rate=0.001"]
    result = tried(small, *words, num_steps=20)
    assert result.ratios["wide"] == 1.0 and result.ratios["deep"] == pytest.approx(0.025)
    assert result.curve.rates[0] == pytest.approx(1e-7)


def test_one_group_alone(small: Any) -> None:
    result = tried(small, *WIDE_DEEP, num_steps=20, group="deep")
    assert list(result.ratios) == ["deep"] and "wide" in result.untested
    absent = "+optimizer.groups.absent={match: '^absent/', name: adam, optional: true}"
    with pytest.raises(ConfigError, match="^group=absent, the other groups frozen: .*nothing to train"):
        tried(small, *WIDE_DEEP, absent, num_steps=20, group="absent")


def test_the_groups_that_a_run_begins_with_are_tested(small: Any) -> None:
    words = [*WIDE_DEEP, "optimizer.groups.wide.from_epoch=3", "optimizer.groups.deep.until_epoch=1"]
    result = tried(small, *words, num_steps=20)
    assert list(result.ratios) == ["embeddings", "deep"] and result.untested == ("wide",)
    assert list(tried(small, *words, num_steps=20, group="wide").ratios) == ["wide"]


def test_what_a_test_leaves_out(small: Any) -> None:
    settings: Settings = small.settings(
        *WIDE_DEEP, "early_stopping=default", "trainer.on_divergence=skip", "trainer.max_seconds=9",
        "checkpoint.every_steps=5", "optimizer.schedule=cosine",
    )  # fmt: skip
    test = settings_of_test(settings, RangeOptions(num_steps=20))
    assert test.trainer.max_steps == 20 and test.trainer.max_epochs is None and test.trainer.max_seconds is None
    assert test.trainer.on_divergence == "stop" and test.early_stopping is None
    assert test.checkpoint.monitor == "train/loss" and test.checkpoint.every_steps is None
    assert all(group.schedule is None and not group.frozen for group in test.groups.values())
    assert test.model == settings.model and test.data == settings.data


@pytest.mark.parametrize(
    "words",
    [
        ["trainer.microbatches=4"],
        ["trainer.precision=mixed_bfloat16", "trainer.compile=graph"],
        ["trainer.ema_decay=0.9", "optimizer.clip_norm=1.0"],
        ["data.residency=stream"],
        ["data.validation_split=0", "checkpoint.monitor=train/loss"],
    ],
)
def test_it_works_with_what_a_run_works_with(small: Any, words: list[str]) -> None:
    result = tried(small, *words, num_steps=20, last_rate=1e-4)
    assert len(result.curve.losses) == 20 and np.all(np.isfinite(result.curve.losses))
