"""The end of a run: the best weights on the test split, and images on the board."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tfrun.files import checkpoints

DIGITS = ["data=digits", "metric=[confusion_matrix]", "loss=sparse_categorical_crossentropy"]


def image(folder: Path, split: str, tag: str) -> Any:
    """Returns the only image of a tag."""
    accumulator = EventAccumulator(str(folder / "tensorboard" / split))
    accumulator.Reload()
    (picture,) = accumulator.Images(tag)
    assert picture.encoded_image_string.startswith(b"\x89PNG")
    return picture


def test_the_test_is_that_of_the_best_weights(small: Any) -> None:
    # this rate makes the second epoch worse than the first
    words = ["optimizer=sgd", "optimizer.learning_rate=2.0", "loss=mse", "trainer.max_epochs=2"]
    run = small.train(*words).read_run()
    assert run["best"]["epoch"] == 1
    first = small.train(*words, "trainer.max_epochs=1").read_run()
    assert run["metrics"]["test/loss"] == pytest.approx(first["metrics"]["test/loss"], rel=1e-6)
    assert run["metrics"]["val/loss"] > first["metrics"]["val/loss"]


def test_the_checkpoint_keeps_the_weights_of_the_last_step(small: Any) -> None:
    words = ["optimizer=sgd", "optimizer.learning_rate=2.0", "loss=mse"]
    saved = checkpoints.newest(small.train(*words).checkpoints)
    assert saved is not None
    best = [slot for slot in saved.slots if slot.startswith("best/")][3:]  # after the tracker's
    model = [slot for slot in saved.slots if slot.startswith("model/")]
    assert len(best) == len(model)
    assert not np.array_equal(saved.arrays[best[0]], saved.arrays[model[0]])


def test_a_run_without_test_rows_has_no_test(small: Any) -> None:
    folder = small.train("data.test_split=0", "trainer.max_epochs=1")
    assert not any(name.startswith("test/") for name in folder.read_run()["metrics"])
    assert len(folder.read_metrics()) == 1


def test_confusion_matrices_are_drawn(small: Any) -> None:
    folder = small.train(*DIGITS, "trainer.max_epochs=1")
    for split in ("val", "test"):
        picture = image(folder.path, split, "confusion_matrix")
        assert picture.width == picture.height == 90 + 10 * 56


def test_generated_images_are_drawn(small: Any) -> None:
    folder = small.train("experiment=gan_digits", "model=gan", "trainer.max_steps=2")
    picture = image(folder.path, "val", "generated")
    assert picture.width == picture.height == 8 * (64 + 2)


def test_nothing_is_drawn_without_a_board(small: Any) -> None:
    folder = small.train(*DIGITS, "trainer.max_epochs=1", "logger=null")
    assert not folder.tensorboard.exists()
    assert "test/confusion_matrix" in folder.read_run()["metrics"]
