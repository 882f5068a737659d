"""Runs that are trained together, beside the same runs one after another.

In float64, where rounding hardly grows, all that a run leaves is the same within 1e-12; and by hand.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrun.config import schema
from tfrun.config.compose import open_configs
from tfrun.data.table import load_table
from tfrun.engine import experiment
from tfrun.engine.training.vectorize import Lanes, either
from tfrun.files import runs

EXACT = ["trainer.precision=float64", "trainer.compile=graph", "trainer.max_epochs=2", "data.batch_size=64"]
DIGITS = ["data=digits", "metric=[accuracy]", "loss=sparse_categorical_crossentropy"]
LINEAR = ["model=linear", "optimizer=adam"]
SEEDS = ["seed=1", "seed=2", "seed=3"]
RATES = [f"optimizer.learning_rate={rate}" for rate in (0.001, 0.01, 0.1)]
TOGETHER: dict[str, tuple[list[str], list[str]]] = {
    "wide_deep": (
        ["optimizer.groups.wide.clip_norm=0.1"],
        [f"seed={k} optimizer.learning_rate={0.1**k} loss.delta={k}" for k in (1, 2, 3)],
    ),
    "dropout and batch normalization": (
        [*DIGITS, "model=mlp", "model.hidden_units=[4]", "model.dropout=0.3", "model.batch_normalization=true"],
        SEEDS,
    ),
    "stages, a schedule that watches, stopping": (
        [
            "optimizer.groups.deep.schedule={name: plateau, patience: 1, min_delta: 0.5}", "early_stopping.patience=1",
            "early_stopping.min_delta=0.02", "optimizer.groups.wide.every=2", "optimizer.groups.wide.from_epoch=1",
            "trainer.max_epochs=5",
        ],
        RATES,
    ),
    "averages, a model's own loss": (
        ["model=reconstructing_regressor", "model.num_layers=1", "trainer.ema_decay=0.9", "optimizer=nadam"], SEEDS,
    ),
    "one program of XLA": ([*LINEAR, "trainer.compile=xla"], RATES),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _float32_afterwards() -> Any:
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")


def train(root: Path, words: Sequence[str], own: Sequence[str], *, together: bool) -> tuple[list[Path], list[Any]]:
    """Trains runs that differ in their own words; returns their folders and exceptions."""
    errors: list[Any] = [None] * len(own)
    with open_configs(words) as hydra:
        of_each = [[*words, *text.split()] for text in own]
        configs = [schema.build_settings(hydra.compose(these).config, hydra.catalog, these) for these in of_each]
        table = load_table(configs[0].data, hydra.catalog)
        folders = [runs.claim(str(root), "runs") for _ in own]
        if together:
            given = [{"settings": config, "folder": folder} for config, folder in zip(configs, folders, strict=True)]
            experiment.train_together(
                given, hydra.catalog, table, errors.__setitem__, lambda k: contextlib.nullcontext()
            )
        else:
            for k, (config, folder) in enumerate(zip(configs, folders, strict=True)):
                try:
                    experiment.train(config, folder, hydra.catalog, table)
                except Exception as error:
                    errors[k] = error
    return [folder.path for folder in folders], errors


def run_json(run: Path) -> dict[str, Any]:
    return json.loads((run / "run.json").read_text())


def state(run: Path) -> dict[str, np.ndarray]:
    with np.load(max(run.glob("checkpoints/step-*")) / "state.npz") as arrays:
        return dict(arrays)


def assert_equal(one: Path, other: Path, tolerance: float = 1e-12) -> None:
    left, right = state(one), state(other)
    assert left.keys() == right.keys()
    for slot, value in left.items():
        np.testing.assert_allclose(value, right[slot], rtol=tolerance, atol=tolerance, err_msg=slot)
    first, second = run_json(one), run_json(other)
    for key in ("status", "step", "epoch", "seed", "groups", "parameters", "data"):
        assert first[key] == second[key], key
    assert first["best"]["epoch"] == second["best"]["epoch"]
    # metrics are float32
    assert first["metrics"] == pytest.approx(second["metrics"], rel=1e-6)
    lines = [(run / "metrics.jsonl").read_text().splitlines() for run in (one, other)]
    assert len(lines[0]) == len(lines[1])


@pytest.mark.parametrize("recipe", TOGETHER)
def test_each_result_is_that_of_its_separate_run(recipe: str, tmp_path: Path) -> None:
    words, own = TOGETHER[recipe]
    words = [*EXACT, *words]
    together, errors = train(tmp_path, words, own, together=True)
    assert errors == [None] * len(own)
    alone, _ = train(tmp_path, words, own, together=False)
    for one, other in zip(together, alone, strict=True):
        assert run_json(one)["engine"]["mode"] == "vectorized"
        assert_equal(one, other)
    results = [run_json(run)["metrics"]["train/loss"] for run in together]
    assert len(set(results)) == len(own)  # each has trained by itself


def test_in_float32_the_first_epoch_is_the_same_within_1e_4(tmp_path: Path) -> None:
    words = ["trainer.max_epochs=1", "trainer.compile=graph", "model=mlp", "model.hidden_units=[8]"]
    together, _ = train(tmp_path, words, SEEDS, together=True)
    alone, _ = train(tmp_path, words, SEEDS, together=False)
    for one, other in zip(together, alone, strict=True):
        assert run_json(one)["metrics"] == pytest.approx(run_json(other)["metrics"], rel=1e-4)


def test_a_run_that_diverges_takes_no_other_with_it(tmp_path: Path) -> None:
    words, own = (
        [*EXACT, "optimizer=sgd", "loss=mse"],
        ["optimizer.learning_rate=1e-3", "optimizer.learning_rate=1e200"],
    )
    together, errors = train(tmp_path, words, own, together=True)
    alone, expected = train(tmp_path, words, own, together=False)
    assert errors[0] is None
    told, as_told = (str(error).partition(". Its folder")[0] for error in (errors[1], expected[1]))
    assert told == as_told
    assert run_json(together[1])["status"] == "diverged"
    for one, other in zip(together, alone, strict=True):
        assert run_json(one)["step"] == run_json(other)["step"]
        left, right = state(one), state(other)
        for slot, value in left.items():
            np.testing.assert_allclose(value, right[slot], rtol=1e-12, atol=1e-12, err_msg=slot)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([*LINEAR, "trainer.microbatches=2"], "trainer.microbatches"),
        ([*DIGITS, "model=cnn", "model.filters=[2]", "model.dense_units=4"], "can't be trained together"),
    ],
)
def test_what_cannot_be_vectorized_is_trained_one_after_another(words: list[str], why: str, tmp_path: Path) -> None:
    words = [*EXACT, "trainer.max_epochs=1", *words]
    together, errors = train(tmp_path, words, SEEDS[:2], together=True)
    assert errors == [None, None]
    alone, _ = train(tmp_path, words, SEEDS[:2], together=False)
    for one, other in zip(together, alone, strict=True):
        engine = run_json(one)["engine"]
        assert engine["mode"] != "vectorized" and why in engine["why"]
        left, right = state(one), state(other)
        assert [slot for slot in left if left[slot].tobytes() != right[slot].tobytes()] == []


def test_a_run_of_another_structure_is_trained_by_itself(tmp_path: Path) -> None:
    own = ["seed=1", "seed=2 loss=mse", "seed=3"]
    together, errors = train(tmp_path, [*EXACT, *LINEAR], own, together=True)
    assert errors == [None] * 3
    modes = [run_json(run)["engine"]["mode"] for run in together]
    assert modes == ["vectorized", "graph_loop", "vectorized"]
    alone, _ = train(tmp_path, [*EXACT, *LINEAR], own, together=False)
    for one, other in zip(together, alone, strict=True):
        assert_equal(one, other)


def test_lanes_by_hand() -> None:
    w, count = keras.Variable([0.0, 0.0]), keras.Variable(0, dtype="int32")
    values = [[np.array([1.0, 2.0], np.float32), np.int32(0)], [np.array([10.0, 20.0], np.float32), np.int32(5)]]
    lanes = Lanes([w, count], [], [[np.asarray(own) for own in lane] for lane in values])

    def step(factor: tf.Tensor) -> tf.Tensor:
        def double() -> tf.Tensor:
            w.assign(2.0 * w)
            return tf.constant(1)

        def leave() -> tf.Tensor:
            count.assign_add(100)
            return tf.constant(2)

        count.assign_add(1)
        which = either(factor > 0.0, double, leave)
        w.assign(w + factor)
        return tf.reduce_sum(w), which

    sums, which = lanes.each(step, tf.constant([True, True]), tf.constant([1.0, -1.0]))
    assert sums.numpy().tolist() == [2 * 3 + 2, 30 - 2]
    assert which.numpy().tolist() == [1, 2]
    lanes.each(step, tf.constant([False, True]), tf.constant([1.0, 1.0]))
    lanes.show(0)
    assert (w.numpy().tolist(), int(count.numpy())) == ([3.0, 5.0], 1)
    lanes.show(1)
    assert (w.numpy().tolist(), int(count.numpy())) == ([19.0, 39.0], 107)


def test_a_variable_that_is_not_known_is_refused() -> None:
    known, unknown = keras.Variable(0.0), keras.Variable(0.0)
    lanes = Lanes([known], [], [[np.zeros([], np.float32)]] * 2)
    with pytest.raises(ValueError, match="not part of the run's state"):
        lanes.each(lambda: unknown.assign(1.0), tf.constant([True, True]))
