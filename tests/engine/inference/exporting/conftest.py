"""Runs that several files export."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tfrun import cli
from tfrun.data.preprocessing import Preprocessing
from tfrun.data.sources import load_table
from tfrun.engine.building.assembly import build_pieces
from tfrun.engine.inference.exporting import formats
from tfrun.engine.inference.exporting.compared_rows import rows_to_compare
from tfrun.engine.inference.exporting.portable import portable, raw_rows
from tfrun.engine.inference.outputs import outputs_of, predictions_of

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


@dataclass(frozen=True)
class Untrained:
    """A model with random weights, and what it predicts for raw rows.

    Attributes:
        model: as it is trained.
        fitted: its preprocessing.
        columns: the raw rows, as a table has them, with empty and unknown cells.
        rows: the same, as an exported model takes them.
        expected: the predictions by output.
    """

    model: keras.Model
    fitted: Preprocessing
    columns: Mapping[str, Any]
    rows: Mapping[str, np.ndarray]
    expected: Mapping[str, np.ndarray]

    def export(self, format: str, folder: Path) -> float:
        """Writes it, and returns the largest difference in the process of the check."""
        formats.check_format(format, self.fitted)
        model = portable(self.model, self.fitted, of_ids=formats.is_of_ids(format))
        compared: dict[str, Any] = {"rows": self.rows, "expected": self.expected}
        return formats.write_checked(model, format, folder=folder, preprocessing=self.fitted, **compared)


def _write_rows(path: Path) -> None:
    """Writes rows of all kinds of columns, with gaps."""
    random = np.random.default_rng(0)
    lines = ["a b,far,city,street,note,hashed,flag,size,day,y,kind"]
    for k in range(120):
        note = ("good", "not good", "bad indeed \t very bad", "", "good é x y z")[k % 5]
        cells = (
            "" if k % 5 == 0 else random.normal(50, 10), 1_700_000_000 + 60 * k, ("Aix", "Ulm", "Nîmes", "")[k % 4],
            f"straße {k * k % 11}" if k % 9 else "", note, note, ("true", "No", "", "YES")[k % 4],
            ("low", "mid", "high")[k * k % 3], f"2024-{k % 12 + 1:02d}-{k % 28 + 1:02d}", random.normal(), "uvw"[k % 3],
        )  # fmt: skip
        lines.append(",".join(map(str, cells)))
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="session")
def untrained(tmp_path_factory: pytest.TempPathFactory, settings: Callable[..., Any]) -> Callable[..., Untrained]:
    """Makes a model of a table with all kinds of columns, or of other data; the same words make it once."""
    from tfrun.config.catalog import load_catalog

    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    _write_rows(path)
    catalog = load_catalog()

    @functools.cache
    def make(*words: str) -> Untrained:
        table = () if any(word.startswith("data=") for word in words) else ("data=csv", f"data.path={path}")
        of_run = settings(*table, "trainer.compile=eager", "trainer.deterministic=false", *words)
        keras.utils.set_random_seed(1)
        pieces = build_pieces(of_run, catalog, table=load_table(of_run.data, catalog))
        model, fitted = pieces.parts.model, pieces.examples.preprocessing
        for variable in model.weights:
            if variable.dtype == "float32":
                variable.assign_add(0.3 * keras.random.normal(variable.shape))
        inputs, columns = rows_to_compare(pieces.examples)
        expected = predictions_of(outputs_of(model, inputs, as_graph=True), fitted)
        return Untrained(model, fitted, columns, raw_rows(columns, fitted), expected)

    return make
