"""The pieces of a run: their state, their first values and their structure."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest


def test_every_variable_that_a_resumed_run_needs_is_in_the_state(small: Any) -> None:
    pieces = small.pieces(
        "trainer.ema_decay=0.9", "trainer.on_divergence=skip", "early_stopping.patience=1",
        "optimizer.groups.all.schedule={name: plateau, patience: 1}", "trainer.precision=mixed_float16",
    )  # fmt: skip
    program = pieces.make_program()
    roles = [slot.rpartition("/")[0] for slot in pieces.state(program).describe()]
    assert list(dict.fromkeys(roles)) == [
        "model", "optimizer/all", "learning_rate/all", "schedule/all", "train", "average", "skips", "loss_scale",
        "best", "early_stopping", "position",
    ]  # fmt: skip
    assert roles.count("best") == 3 + roles.count("model")  # the tracker's, and the best weights
    without = pieces.state().describe()
    assert not any(slot.startswith("position") for slot in without)


def test_a_run_begins_again_with_its_first_values(small: Any) -> None:
    pieces = small.pieces("loss=huber", "loss.delta=0.5")
    beginning = pieces.read_beginning()
    first = {slot: array.copy() for slot, array in pieces.state().read().items()}
    draws = random.random(), np.random.rand()
    for variable in pieces.state().variables:
        variable.assign(variable + 1)
    pieces.parts.inputs.assign(dict.fromkeys(pieces.parts.inputs.read(), 9.0))
    pieces.begin(beginning, pieces.settings)
    for slot, array in pieces.state().read().items():
        np.testing.assert_array_equal(array, first[slot])
    assert pieces.parts.inputs.read()["loss.delta"] == 0.5
    assert (random.random(), np.random.rand()) == draws


def test_the_best_weights_are_loaded(small: Any) -> None:
    pieces = small.pieces()
    program = pieces.make_program()
    kernel = pieces.parts.model.variables[0]
    program.best_weights[0].assign(kernel + 1.0)
    before = kernel.numpy()
    pieces.load_best(program)
    np.testing.assert_array_equal(kernel.numpy(), before)  # no epoch has ended
    pieces.best.best_step.assign(5)
    pieces.load_best(program)
    np.testing.assert_array_equal(kernel.numpy(), before + 1.0)


def test_the_structure_is_that_of_the_program(small: Any) -> None:
    first = small.pieces().structure(streams=False)
    rates = ["optimizer.groups.all.learning_rate=0.5", "loss.delta=0.3", "seed=9"]
    assert small.pieces(*rates, "trainer.max_epochs=9", "checkpoint.keep=2").structure(streams=False) == first
    traced = ["trainer.microbatches=2", "trainer.ema_decay=0.9", "trainer.on_divergence=skip"]
    traced += ["optimizer.groups.all.every=2", "optimizer.groups.all.from_epoch=1"]
    for word in ("data.batch_size=32", "loss=mse", "optimizer=sgd", "checkpoint.monitor=train/loss", *traced):
        assert small.pieces(word).structure(streams=False) != first
    assert small.pieces().structure(streams=True) != first


def test_pieces_describe_the_model_and_the_data(small: Any) -> None:
    pieces = small.pieces("data.validation_split=0.25", "data.test_split=0.25")
    described = pieces.describe()
    data = described["data"]
    assert (data["task"], data["rows"], data["rows_left_out"]) == ("regression", 442, 0)
    fewer = replace(pieces, table=replace(pieces.table, rows_left_out=3))
    assert fewer.describe()["data"]["rows_left_out"] == 3
    assert data["train"] + data["val"] + data["test"] == 442
    assert sum(group["parameters"] for group in described["groups"]) == described["parameters"]


def test_metrics_that_a_model_works_out_itself_say_their_direction(small: Any) -> None:
    assert small.pieces("model=reconstructing_regressor").own_directions == {"reconstruction_error": False}
    assert small.pieces().own_directions == {}


def test_a_mode_is_remembered_for_the_same_program(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(small.root))
    small.pieces().mode_cache().write({"mode": "xla_loop", "why": "measured"})
    assert small.pieces("seed=5", "trainer.max_epochs=7").mode_cache().read() is not None
    assert small.pieces("data.batch_size=32").mode_cache().read() is None
    assert small.pieces().mode_cache(num_runs=3).read() is None
