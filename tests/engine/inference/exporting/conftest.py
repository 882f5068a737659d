"""Runs that several files export."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tfrun import cli

TRAIN = ["trainer.compile=graph", "trainer.deterministic=false", "trainer.max_epochs=2"]
LONG = ["trainer.max_epochs=60", "data.batch_size=16", "optimizer=adam", "optimizer.learning_rate=0.01"]

Train = Callable[..., Path]


@pytest.fixture(scope="session")
def train_in() -> Train:
    """Trains a run in a folder, and returns the run's folder."""

    def train(root: Path, *words: str) -> Path:
        assert cli.main([*words, *TRAIN, f"output_root={root}"]) == 0
        (run,) = root.glob("outputs/*/*")
        return run

    return train


@pytest.fixture(scope="module")
def regression(train_in: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default run, which tests may add files to."""
    return train_in(tmp_path_factory.mktemp("regression"))


def _write_reviews(path: Path) -> list[str]:
    """Rows whose class is whether `good` is among their words; the other columns say nothing."""
    random = np.random.default_rng(0)
    words = np.array(["good", "bad", "big", "red", "old", "new"])
    lines = ["words,size,city,sold"]
    for _ in range(400):
        chosen = random.choice(words, random.integers(0, 6))
        city, size = random.choice(["Aix", "Ulm", ""]), random.normal()
        lines.append(f"{' '.join(chosen)},{size:.3f},{city},{'yes' if 'good' in chosen else 'no'}")
    path.write_text("\n".join(lines) + "\n")
    text = "data.text={words: {name: tokens, length: 8}, city: {name: hash, bins: 7}}"
    return ["data=csv", f"data.path={path}", "data.target=sold", text, "metric=[accuracy]", "loss=binary_crossentropy"]


@pytest.fixture(scope="session")
def write_reviews() -> Callable[[Path], list[str]]:
    """Writes reviews.csv and returns the words of a command that trains on it."""
    return _write_reviews


@pytest.fixture(scope="module")
def of_reviews(train_in: Train, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Returns the run of a model that has learnt from reviews.csv; each is trained once."""
    root = tmp_path_factory.mktemp("reviews")
    words = _write_reviews(root / "reviews.csv")

    @functools.cache
    def run(model: str) -> Path:
        return train_in(root / model, *words, f"model={model}", *LONG)

    return run
