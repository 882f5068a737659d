"""Histograms of weights and gradients: the gradients are those of the next step, worked out with NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tfrun.engine.recording import histograms
from tfrun.engine.recording.histograms import Histograms, histogram


def test_buckets_by_hand() -> None:
    buckets = histogram((np.array([0.0, 0.1, 3.0, np.nan, np.inf]), 1))
    assert buckets is not None and buckets.shape == (30, 3)
    assert buckets[0].tolist() == [0.0, 0.1, 1.0] and buckets[1, 2] == 1.0  # 0.1 begins the second one
    assert buckets[-1, 1:].tolist() == [3.0, 1.0]
    assert buckets[:, 2].sum() == 3


def test_one_value_stands_for_several() -> None:
    buckets = histogram((np.array([1.0, 2.0]), 7))
    assert buckets is not None and buckets[:, 2].sum() == 14


@pytest.mark.parametrize("values", [[], [np.nan]])
def test_nothing_finite_has_no_histogram(values: list[float]) -> None:
    assert histogram((np.array(values), 1)) is None


def test_the_gradients_are_those_of_the_next_batch(small: Any) -> None:
    """d/db mean (b − y)² = 2·mean(b − y), for a linear model whose variables are 0."""
    pieces = small.pieces("loss=mse", "optimizer=sgd", "optimizer.clip_norm=null")
    for variable in pieces.parts.model.trainable_variables:
        variable.assign(np.zeros(variable.shape))
    written: dict[str, np.ndarray] = {}

    def write(step: int, values: Mapping[str, np.ndarray]) -> None:
        assert step == 6
        written.update(values)

    watcher = Histograms(pieces, pieces.make_program(), every_steps=6, write=write, load_variables=lambda: None)
    watcher.look(6)
    (bias,) = (v for v in pieces.parts.model.trainable_variables if v.path.endswith("bias"))
    targets = np.asarray(pieces.examples.targets)[pieces.order.block(6, 1)]
    buckets = written[f"gradients/{bias.path}"]
    assert buckets[:, 2].sum() == 1
    assert buckets[:, :2].mean() == pytest.approx(-2 * targets.mean(), rel=1e-4)
    assert written[f"weights/{bias.path}"][:, :2].mean() == pytest.approx(0, abs=1e-6)
    assert {name.partition("/")[2] for name in written} == {v.path for v in pieces.parts.model.trainable_variables}


def test_of_a_large_variable_some_numbers_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf

    monkeypatch.setattr(histograms, "MAX_VALUES", 10)
    values, every = histograms._some(tf.reshape(tf.range(42.0), [6, 7]))
    assert every == 5 and values.tolist() == [0, 5, 10, 15, 20, 25, 30, 35, 40]


@pytest.mark.parametrize("compile", ["graph", "eager"])
def test_a_run_with_histograms_is_the_same_bit_for_bit(small: Any, compile: str) -> None:
    """Its model has dropout and batch normalization, which a forward pass changes."""
    layers = "[{name: Dense, units: 8}, BatchNormalization, {name: Dropout, rate: 0.5}]"
    words = ["model=sequential", f"model.layers={layers}", f"trainer.compile={compile}", "trainer.max_epochs=3"]
    plain, watched = small.train(*words), small.train(*words, "logger.histograms_every_epochs=2")
    states = []
    for folder in (plain, watched):
        with np.load(max(folder.checkpoints.iterdir()) / "state.npz") as arrays:
            states.append({name: arrays[name].tobytes() for name in arrays.files})
    assert states[0] == states[1]
    assert plain.metrics_jsonl.read_bytes() == watched.metrics_jsonl.read_bytes()
    curves = EventAccumulator(str(watched.tensorboard / "train"), size_guidance={"tensors": 0})
    curves.Reload()
    steps = {tag: [event.step for event in curves.Tensors(tag)] for tag in curves.Tags()["tensors"]}
    weights = [tag for tag in steps if tag.startswith("weights/")]
    assert len(weights) == 6  # of two dense layers, and a scale and an offset
    assert all(steps[tag] == [12, 18] for tag in weights)  # after the second epoch, and at the end
    assert all(steps[tag.replace("weights/", "gradients/")] == [12, 18] for tag in weights)


def curves_of(folder: Any) -> EventAccumulator:
    curves = EventAccumulator(str(folder.tensorboard / "train"), size_guidance={"tensors": 0})
    curves.Reload()
    return curves


def test_a_resumed_run_has_each_histogram_once(small: Any) -> None:
    """Also one that had ended, and goes on: the histograms of its end are cut off, unless an epoch has them too."""
    words = ["trainer.compile=graph", "logger.histograms_every_epochs=2"]
    whole = small.train(*words, "trainer.max_epochs=3")
    resumed = small.train(*words, "trainer.max_epochs=3", pause_epoch=1)
    assert not [tag for tag in curves_of(resumed).Tags()["tensors"] if tag.startswith("weights/")]
    assert small.resume(resumed, *words, "trainer.max_epochs=3", resume=True) == 0
    first, second = curves_of(whole), curves_of(resumed)
    tags = [tag for tag in first.Tags()["tensors"] if tag.startswith(("weights/", "gradients/"))]
    for tag in tags:
        pairs = zip(first.Tensors(tag), second.Tensors(tag), strict=True)
        assert all((a.step, a.tensor_proto) == (b.step, b.tensor_proto) for a, b in pairs)
    assert small.resume(resumed, *words, "trainer.max_epochs=5", resume=True) == 0
    longer = curves_of(resumed)
    assert all([event.step for event in longer.Tensors(tag)] == [12, 24, 30] for tag in tags)
    assert longer.Graph() is not None
