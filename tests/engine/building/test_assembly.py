"""How the pieces of a run are built, and which weights it begins with."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tfrun.data.examples import prepare_evaluation
from tfrun.engine.building.assembly import build_pieces
from tfrun.errors import ConfigError


def test_rows_to_evaluate_are_encoded_as_in_training(small: Any) -> None:
    trained = small.pieces()
    settings, table = small.settings("model=linear"), small.table()
    prepare_trained = partial(prepare_evaluation, preprocessing=trained.examples.preprocessing)
    pieces = build_pieces(settings, small.catalog, table=table, prepare_trained=prepare_trained)
    assert len(pieces.examples.splits["test"]) == 442
    np.testing.assert_array_equal(pieces.examples.targets, trained.examples.targets)


def test_a_monitor_needs_its_rows(small: Any) -> None:
    with pytest.raises(ConfigError, match=r"checkpoint\.monitor: val/loss needs validation rows, and there are none"):
        small.pieces("data.validation_split=0")
    small.pieces("data.validation_split=0", "checkpoint.monitor=train/loss")


def weights_of(pieces: Any, path: Path) -> dict[str, np.ndarray]:
    """Writes other weights than the pieces' own to a file, and returns them."""
    random = np.random.default_rng(0)
    weights = {v.path: random.normal(size=v.shape).astype("float32") for v in pieces.parts.model.variables}
    np.savez(path, **weights)
    return weights


def test_ftrl_goes_on_from_the_weights_that_a_run_begins_with(small: Any, tmp_path: Path) -> None:
    """Where the gradient is 0, FTRL leaves a weight as it is; with its sums at 0 it would make it 0."""
    words = ["optimizer=ftrl", "optimizer.l1_regularization_strength=0.01", "optimizer.l2_regularization_strength=0.1"]
    words += ["optimizer.beta=0.5", "optimizer.learning_rate=0.05"]
    path = tmp_path / "weights.npz"
    weights = weights_of(small.pieces(*words), path)
    pieces = small.pieces(*words, f"init={path}")
    assert pieces.describe()["init"]["copied"] == len(weights)
    (group,) = pieces.parts.step.active
    group.optimizer.apply([keras.ops.zeros_like(v.value) for v in group.variables], group.variables)
    for variable in group.variables:
        np.testing.assert_allclose(variable, weights[variable.path], rtol=1e-5)


def test_a_table_begins_by_rows_as_it_is_resumed(small: Any, tmp_path: Path) -> None:
    """Whether FTRL updates a table by rows follows from its fresh weights, which are 0, and not from those copied."""
    words = ["model=wide_deep", "model.deep=false", "data.text={sex: {name: hash, bins: 5000}}", "data.batch_size=8"]
    fresh = small.pieces(*words)
    assert bool(fresh.parts.step.tables)
    path = tmp_path / "weights.npz"
    weights = weights_of(fresh, path)
    begun = small.pieces(*words, f"init={path}")
    assert [table.variable.path for table in begun.parts.step.tables] == [
        table.variable.path for table in fresh.parts.step.tables
    ]
    for variable in begun.parts.model.trainable_variables:
        np.testing.assert_array_equal(variable, weights[variable.path])


def test_averages_of_weights_begin_with_those_copied(small: Any, tmp_path: Path) -> None:
    path = tmp_path / "weights.npz"
    weights = weights_of(small.pieces(), path)
    pieces = small.pieces(f"init={path}", "trainer.ema_decay=0.9", "trainer.max_steps=1")
    program = pieces.make_program()
    program.run(0, 1)
    averages = pieces.parts.step.options.averages.variables
    for average, variable in zip(averages, pieces.parts.model.trainable_variables, strict=True):
        np.testing.assert_array_equal(average, variable)
        assert np.abs(variable - weights[variable.path]).max() < 0.1
