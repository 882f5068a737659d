"""Tables that are updated by rows: where that is exact it equals the update of the whole table, in every mode."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BINS = 2500  # so that the tables are not too small to be updated by rows
ROWS = 480
SLOTS = {"sgd": 0, "adagrad": 1, "ftrl": 2}
MODES = ["graph_loop", "xla_loop", "eager"]


@pytest.fixture(scope="module")
def clicks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV file with two columns of ids, of which a few are frequent, a number and a target."""
    random = np.random.default_rng(3)
    path = tmp_path_factory.mktemp("data") / "clicks.csv"
    users, items = (random.zipf(1.3, ROWS) % 400 for _ in range(2))
    x = random.normal(size=ROWS)
    y = x + np.sin(users) + 0.5 * np.cos(items) + 0.1 * random.normal(size=ROWS)
    lines = [f"u{a},i{b},{c:.4f},{d:.4f}" for a, b, c, d in zip(users, items, x, y, strict=True)]
    path.write_text("\n".join(["user,item,x,y", *lines]) + "\n")
    return path


def words(clicks: Path, *more: str) -> list[str]:
    encoding = f"{{name: hash, bins: {BINS}}}"
    return [
        "model=wide_deep",
        "model.crosses=[]",
        "model.hidden_units=[4]",
        "optimizer=adagrad",
        "loss=mse",
        "data=csv",
        f"data.path={clicks}",
        "data.target=y",
        f"data.text={{user: {encoding}, item: {encoding}}}",
        "data.batch_size=32",
        "trainer.max_epochs=20",
        *more,
    ]


def train(small: Any, clicks: Path, *more: str, mode: str, steps: int = 24) -> tuple[Any, dict[str, np.ndarray]]:
    """Returns the pieces and the state after some steps."""
    pieces = small.pieces(*words(clicks, *more))
    program = pieces.make_program()
    program.mode = mode
    done = 0
    while done < steps:
        count = min(steps - done, program.max_steps)
        assert program.run(done, count).finite
        done += count
    return pieces, pieces.state(program).read()


def tables_of(pieces: Any) -> set[str]:
    return {variable.path for variable in pieces.parts.model.variables if variable in pieces.parts.step.tables}


def assert_equal(first: dict[str, np.ndarray], second: dict[str, np.ndarray], tolerance: float) -> None:
    assert first.keys() == second.keys()
    for slot, values in first.items():
        np.testing.assert_allclose(values, second[slot], rtol=tolerance, atol=tolerance, err_msg=slot)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "optimizer",
    [
        ["optimizer=sgd", "optimizer.learning_rate=0.1", "optimizer.clip_norm=0.5"],
        ["optimizer=adagrad", "optimizer.learning_rate=0.1", "optimizer.schedule={name: exponential, rate: 0.5, decay_steps: 10}"],
        ["model.deep=false", "optimizer=ftrl", "optimizer.l1_regularization_strength=0.001"],
    ],
)
def test_an_exact_update_by_rows_is_that_of_the_whole_table(
    small: Any, clicks: Path, optimizer: list[str], mode: str
) -> None:
    options = [*optimizer, "trainer.precision=float64"]
    pieces, by_rows = train(small, clicks, *options, mode=mode)
    whole_pieces, whole = train(small, clicks, *options, "optimizer.rows=dense", mode=mode)
    wide_and_deep = {"wide/table"} if "model.deep=false" in optimizer else {"wide/table", "deep/embeddings"}
    assert (tables_of(pieces), tables_of(whole_pieces)) == (wide_and_deep, set())
    assert_equal(by_rows, whole, 1e-12)
