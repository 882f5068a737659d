"""The row of a table follows the category or the word that it stands for."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrun.components.models.wide_deep import WideDeep
from tfrun.data.kinds import CategoryColumn, HashedColumn, NumberColumn, TokensColumn
from tfrun.data.preprocessing import Preprocessing
from tfrun.data.targets import FittedTarget
from tfrun.engine.building.rows_by_meaning import differences, row_maps
from tfrun.errors import ConfigError

TOWNS, COLORS = ("Oslo", "Rome", "Bonn"), ("red", "blue")
NEW_TOWNS = ("Rome", "Lima", "Oslo")  # Lima is new, Bonn is gone
WORDS, NEW_WORDS = ("good", "bad"), ("bad", "ugly", "good")


def learnt(towns: tuple[str, ...], words: tuple[str, ...], mean: float = 0.0) -> Preprocessing:
    columns = (
        NumberColumn("size", 0.0, mean, 1.0, (-1.0, 0.0, 1.0)),
        CategoryColumn("town", towns),
        CategoryColumn("color", COLORS),
        TokensColumn("review", words, 3),
    )
    return Preprocessing(columns=columns, targets={"output": FittedTarget("regression")})


EARLIER, NEW = learnt(TOWNS, WORDS), learnt(NEW_TOWNS, NEW_WORDS)
INPUTS = {
    "numbers": np.zeros((2, 1), np.float32),
    "categories": np.ones((2, 2), np.int32),
    "review": np.ones((2, 3), np.int32),
}
# rows of the earlier run for the ids of the new one: unseen, Rome, Lima, Oslo; padding, unseen, bad, ugly, good
TOWN_ROWS, WORD_ROWS = [0, 2, -1, 1], [0, 1, 3, -1, 2]


def wide_deep(fitted: Preprocessing, **options: Any) -> keras.Model:
    model = WideDeep(fitted.features, 1, hidden_units=[4], **options)
    model({**INPUTS, "review": INPUTS["review"]})
    return model


def maps(model: keras.Model) -> dict[str, Any]:
    return row_maps(model, INPUTS, new=NEW, earlier=EARLIER)


def test_the_tables_of_wide_and_deep() -> None:
    found = maps(wide_deep(NEW, crosses=[]))
    by_name = {path.rpartition("/")[2] if "tokens" not in path else path: item for path, item in found.items()}
    stacked = next(item for path, item in found.items() if path.startswith("deep/") and path.endswith("embeddings")
                   and "tokens" not in path)  # fmt: skip
    assert stacked.rows.tolist() == [*TOWN_ROWS, 4, 5, 6]  # the colors come after the towns, and are the same
    assert stacked.num_earlier_rows == 4 + 3
    of_words = [item for path, item in found.items() if "tokens" in path]
    assert of_words and all(item.rows.tolist() == WORD_ROWS and item.num_earlier_rows == 4 for item in of_words)
    assert str(stacked) == "6 of 7 rows", by_name


def test_the_cells_of_a_cross() -> None:
    found = maps(wide_deep(NEW, crosses=[["town", "color"]], deep=False))
    table = found["wide/table"]  # the cells of the cross, then the towns and the colors
    cells = [-1 if town < 0 else town * 3 + color for town in TOWN_ROWS for color in range(3)]
    towns = [-1 if town < 0 else 4 * 3 + town for town in TOWN_ROWS]
    assert table.rows.tolist() == [*cells, *towns, 16, 17, 18] and table.num_earlier_rows == 4 * 3 + 4 + 3


class Embeddings(keras.Model):
    """Sums the vectors of a column of Keras' own layer, and perhaps uses its ids otherwise too."""

    def __init__(self, one_hot: bool = False) -> None:
        super().__init__(name="embeddings")
        self.table = keras.layers.Embedding(4, 2, name="table")
        self.colors = keras.layers.Embedding(3, 2, name="colors")
        self.words = keras.layers.Embedding(5, 2, name="words")
        self.dense = keras.layers.Dense(1, name="dense")
        self.one_hot = one_hot

    def call(self, inputs: Any) -> Any:
        towns = inputs["categories"][:, 0]
        x = self.table(towns) + self.colors(inputs["categories"][:, 1]) + tf.reduce_sum(self.words(inputs["review"]), 1)
        return self.dense(tf.concat([x, tf.one_hot(towns, 4)], axis=1) if self.one_hot else x)


def test_layers_of_keras() -> None:
    model = Embeddings()
    model(INPUTS)
    found = {path.split("/")[-2]: item.rows.tolist() for path, item in maps(model).items()}
    assert found == {"table": TOWN_ROWS, "colors": [0, 1, 2], "words": WORD_ROWS}


def test_ids_that_are_used_otherwise_too_are_refused() -> None:
    model = Embeddings(one_hot=True)
    model(INPUTS)
    before = model.get_weights()
    with pytest.raises(ConfigError, match=r"categories of town are others .* init\.preprocessing=same"):
        maps(model)
    for value, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, expected)


def test_hashed_tables_do_not_tell_their_rows() -> None:
    with pytest.raises(ConfigError, match=r"categories of town, review are others"):
        maps(wide_deep(NEW, crosses=[], embedding_rows=2))


def test_nothing_is_moved_if_the_categories_are_the_same() -> None:
    model = wide_deep(NEW, crosses=[])
    assert row_maps(model, INPUTS, new=NEW, earlier=NEW) == {}


def test_columns_that_are_new_or_gone() -> None:
    def only(*columns: Any) -> Preprocessing:
        return Preprocessing(columns=columns, targets={"output": FittedTarget("regression")})

    town, color, size = CategoryColumn("town", TOWNS), CategoryColumn("color", COLORS), HashedColumn("size", 2)
    new = only(town, size)
    model = WideDeep(new.features, 1, hidden_units=[4], crosses=[], wide=False)
    inputs = {"categories": np.ones((2, 2), np.int32)}
    model(inputs)
    (table,) = row_maps(model, inputs, new=new, earlier=only(town, color, size)).values()
    assert table.rows.tolist() == [0, 1, 2, 3, 7, 8, 9]  # the three colors are passed over
    (table,) = row_maps(model, inputs, new=new, earlier=only(town)).values()
    assert table.rows.tolist() == [0, 1, 2, 3, -1, -1, -1] and table.num_earlier_rows == 4


def test_rows_that_are_known_are_copied() -> None:
    found = maps(wide_deep(NEW, crosses=[]))
    table = next(item for item in found.values() if item.rows.tolist() == WORD_ROWS)
    earlier, fresh = np.arange(4.0)[:, None], np.full((5, 1), -1.0)
    assert table.apply(earlier, fresh).ravel().tolist() == [0.0, 1.0, 3.0, -1.0, 2.0]


def test_other_scales_are_named() -> None:
    assert differences(NEW, EARLIER) == []
    (sentence,) = differences(learnt(TOWNS, WORDS, mean=2.0), EARLIER)
    assert sentence == "size are scaled by other means and deviations than in the earlier run"
    classes = [
        Preprocessing(columns=(), targets={"output": FittedTarget("classification", names)})
        for names in (["a", "b"], ["b", "c"])
    ]
    (sentence,) = differences(*classes)
    assert "classes were b, c, and are a, b now" in sentence
