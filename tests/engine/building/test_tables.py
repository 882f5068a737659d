"""Which tables are updated by rows, and why others aren't."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrun.engine.building import components
from tfrun.errors import ConfigError

BINS = 2500
DECAY = "optimizer.schedule={name: exponential, rate: 0.5, decay_steps: 10}"


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV file with a column of ids and a target."""
    path = tmp_path_factory.mktemp("data") / "rows.csv"
    path.write_text("user,y\n" + "".join(f"u{k % 97},{k % 7}\n" for k in range(200)))
    return path


def build(small: Any, rows: Path, *more: str, bins: int = BINS) -> Any:
    text = f"data.text={{user: {{name: hash, bins: {bins}}}}}"
    data = ["data=csv", f"data.path={rows}", "data.target=y", text, "data.batch_size=32", "loss=mse"]
    return small.pieces("model=wide_deep", "optimizer=adagrad", *data, *more)


def by_rows(pieces: Any) -> list[str]:
    return [variable.path for variable in pieces.parts.model.variables if variable in pieces.parts.step.tables]


def test_a_table_that_is_read_by_ids_is_updated_by_rows(small: Any, rows: Path) -> None:
    pieces = build(small, rows)
    assert by_rows(pieces) == ["wide/table", "deep/embeddings"]
    assert pieces.whole_tables == ()
    (group,) = pieces.describe()["groups"]
    assert group["tables"] == {"wide/table": "by rows", "deep/embeddings": "by rows"}


def test_the_table_of_a_sequential_model_is_one_too(small: Any, rows: Path) -> None:
    layers = f"model.layers=[{{name: embedding, num_ids: {BINS + 1}, dim: 2}},Flatten]"
    pieces = build(small, rows, "model=sequential", "model.flatten=false", layers)
    assert by_rows(pieces) == ["embedding/embeddings"]


@pytest.mark.parametrize("more", [["optimizer.rows=dense"], ["optimizer.rows=dense", "optimizer=adam"]])
def test_no_table_is_updated_by_rows_if_the_config_says_so(small: Any, rows: Path, more: list[str]) -> None:
    pieces = build(small, rows, *more)
    assert (by_rows(pieces), pieces.whole_tables) == ([], ())


def test_a_small_table_is_updated_as_a_whole(small: Any, rows: Path) -> None:
    pieces = build(small, rows, bins=2000)
    assert (by_rows(pieces), pieces.whole_tables) == ([], ())


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["optimizer=adam"], "optimizer.rows=lazy updates those of a batch alone, and so does optimizer=adagrad"),
        (["optimizer=sgd", "optimizer.momentum=0.9"], "sgd with these parameters changes rows without a gradient too"),
        (["model.deep=false", "optimizer=ftrl", DECAY], "ftrl with these parameters"),
        (["trainer.ema_decay=0.9"], "trainer.ema_decay averages all of them"),
    ],
)
def test_why_a_table_is_updated_as_a_whole_is_said(small: Any, rows: Path, options: list[str], reason: str) -> None:
    pieces = build(small, rows, *options)
    assert by_rows(pieces) == []
    assert all(reason in str(table) for table in pieces.whole_tables)
    assert {table.rows for table in pieces.whole_tables} == {BINS + 1}


def test_what_is_said_of_a_group_names_the_groups_keys(small: Any, rows: Path) -> None:
    pieces = build(small, rows, "optimizer=for_wide_deep", "optimizer.groups.wide.name=adam")
    (table,) = pieces.whole_tables
    assert str(table).endswith(
        "optimizer.groups.wide.rows=lazy updates those of a batch alone, and so does optimizer.groups.wide.name=adagrad"
    )


def test_ftrl_by_rows_needs_weights_of_0(small: Any, rows: Path) -> None:
    pieces = build(small, rows, "optimizer=ftrl")
    assert by_rows(pieces) == ["wide/table"]  # the embeddings begin at random
    assert [table.variable for table in pieces.whole_tables] == ["deep/embeddings"]


@pytest.mark.parametrize("name", ["lamb", "adafactor", "muon"])
def test_an_optimizer_that_needs_whole_variables_cant_be_lazy(small: Any, rows: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=f"^optimizer.rows: {name} can't update some rows"):
        build(small, rows, f"optimizer={name}", "optimizer.rows=lazy")


class Tied(keras.Model):
    """Reads a table by ids, and uses it as the weights of an output too."""

    def __init__(self, **options: Any):
        super().__init__()
        self.table = self.add_weight(shape=(3000, 2), name="table", **options)
        self.is_tied = not options

    def call(self, inputs: Any, training: bool = False) -> tf.Tensor:
        rows = tf.gather(self.table.value, tf.cast(inputs["categories"][:, 0], tf.int32))
        if not self.is_tied:
            return tf.reduce_sum(rows, axis=1, keepdims=True)
        return tf.reduce_mean(tf.matmul(rows, self.table.value, transpose_b=True), axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, "the model uses it as a whole too"),
        ({"regularizer": "l2"}, "its regularizer is a penalty on all of them"),
        ({"constraint": "non_neg"}, "its constraint changes all of them"),
    ],
)
def test_a_table_that_the_model_needs_as_a_whole(
    small: Any, rows: Path, options: dict[str, Any], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = components.build_component

    def build_or_tied(kind: str, *arguments: Any, **named: Any) -> Any:
        return Tied(**options) if kind == "model" else real(kind, *arguments, **named)

    monkeypatch.setattr("tfrun.engine.building.parts.build_component", build_or_tied)
    found = build(small, rows)
    assert by_rows(found) == []
    assert [reason in table.why for table in found.whole_tables] == [True]


def test_a_step_of_rows_reads_every_id_of_the_batch(small: Any, rows: Path) -> None:
    step = build(small, rows).parts.step
    assert [table.stand_in.table.shape for table in step.tables] == [(32, 1), (32, 8)]
    assert all(np.all(table.last_place.numpy() == 0) for table in step.tables)


def test_tables_that_are_read_by_the_same_ids_share_what_xla_notes_of_them(small: Any, rows: Path) -> None:
    wide, deep = build(small, rows).parts.step.tables
    assert wide.last_place is deep.last_place
