"""A trained run is opened over rows, with its best weights."""

from __future__ import annotations

import shutil
from typing import Any

import numpy as np
import pytest

from tfrun.data.fingerprint import fingerprint
from tfrun.data.preprocessing import Preprocessing
from tfrun.engine.inference.opening import OpenedRun, newest_state, open_to_evaluate, open_to_export
from tfrun.errors import CheckpointError, DataError
from tfrun.files.runs import RunFolder

WORDS = ["model=linear", "data.batch_size=64"]


def fitted(folder: RunFolder) -> Preprocessing:
    return Preprocessing.from_fields(folder.read_preprocessing())


def evaluated(small: Any, folder: RunFolder, *, table: Any = None, **options: Any) -> OpenedRun:
    table = small.table() if table is None else table
    options = {"catalog": small.catalog, "table": table, "fitted": fitted(folder), **options}
    return open_to_evaluate(small.settings(*WORDS), folder, **options)


def test_the_model_has_the_weights_of_the_best_epoch(small: Any) -> None:
    """The first one, since more counts as better here. They follow the tracker's variables in the checkpoint."""
    first_is_best = ("checkpoint.monitor=val/loss", "checkpoint.mode=max")
    folder = small.train(*first_is_best)
    assert folder.read_run()["best"]["epoch"] == 1
    saved = newest_state(folder)
    options = {"catalog": small.catalog, "table": small.table(), "fitted": fitted(folder)}
    opened = open_to_export(small.settings(*WORDS, *first_is_best), saved, **options)
    weights = [np.asarray(weight.numpy()) for weight in opened.pieces.parts.model.variables]
    best, last = (
        [saved.arrays[slot] for slot in saved.slots if slot.startswith(f"{role}/")] for role in ("best", "model")
    )
    assert opened.step == saved.step == 12 and len(weights) == len(last)
    for weight, of_best, of_last in zip(weights, best[-len(last) :], last, strict=True):
        np.testing.assert_array_equal(weight, of_best)
        assert (weight != of_last).any()


def test_the_raw_cells_are_there_before_rows_are_encoded(small: Any) -> None:
    taken = []
    opened = evaluated(
        small, small.train(), before_encoding=lambda table: taken.append(table.columns["bmi"][:3].copy())
    )
    np.testing.assert_array_equal(taken, [small.table().columns["bmi"][:3]])
    assert not opened.pieces.table.columns


def test_all_rows_of_other_data_are_the_test_split(small: Any) -> None:
    folder = small.train("trainer.max_epochs=1")
    assert len(evaluated(small, folder).pieces.examples.splits["test"]) == 44
    assert len(evaluated(small, folder, other_data=True).pieces.examples.splits["test"]) == 442


def test_data_that_have_changed_are_not_the_run_s_own(small: Any) -> None:
    folder, table = small.train("trainer.max_epochs=1"), small.table()
    table.columns["bmi"][0] += 1
    changed = fingerprint(table)
    with pytest.raises(DataError, match=r"scikit-learn's diabetes: its contents have changed") as raised:
        evaluated(small, folder, table=table)
    assert f"Received: fingerprint {changed}. In training: {fingerprint(small.table())}. " in str(raised.value)
    assert raised.value.exit_code == 3


def test_a_run_without_a_checkpoint_can_not_be_used(small: Any) -> None:
    folder = small.train("trainer.max_epochs=1")
    shutil.rmtree(folder.checkpoints)
    with pytest.raises(
        CheckpointError, match=r"checkpoints: the folder is gone, though run.json says that step 6 was saved"
    ):
        evaluated(small, folder)
