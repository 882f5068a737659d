"""Encodings say how texts become ids."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from tfrun.config.column_kinds import (
    BooleanKind,
    CategoryKind,
    ColumnKind,
    DateKind,
    HashedKind,
    OrderedKind,
    TokensKind,
)
from tfrun.data.kinds import Column, RawColumn, fit_column
from tfrun.data.preprocessing import Preprocessing
from tfrun.data.targets import FittedTarget
from tfrun.engine.inference.exporting import ids
from tfrun.errors import ConfigError


def column(kind: ColumnKind, *cells: str, name: str = "c") -> Column:
    fitted = fit_column(RawColumn(name, np.array(cells, object), np.arange(len(cells)), "rows.csv"), kind)
    return fitted


def fitted(*columns: Column) -> Preprocessing:
    targets = {"output": FittedTarget("classification", ["no", "yes"]), "price": FittedTarget("regression")}
    return Preprocessing(columns=columns, targets=targets)


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        (column(CategoryKind(), "b", "a", "b", ""), {"kind": "category", "values": ["b", "a"]}),
        (column(HashedKind(bins=7), "a"), {"kind": "hashed", "bins": 7}),
        (column(TokensKind(length=4), "big red", "red"), {"kind": "words", "values": ["red", "big"], "length": 4}),
        (column(TokensKind(length=4, bins=9), "red"), {"kind": "hashed_words", "bins": 9, "length": 4}),
        (column(OrderedKind(values=["low", "high"]), "low"),
         {"kind": "numbers", "values": {"low": 0.0, "high": 1.0}, "lower": False}),
    ],
    ids=["category", "hashed", "words", "hashed words", "ordered"],
)  # fmt: skip
def test_encodings(of: Column, expected: dict[str, Any]) -> None:
    assert ids.encodings(fitted(of)) == {"c": expected}


def test_the_spellings_of_yes_and_no_are_in_small_letters() -> None:
    encoding = ids.encoding_of(column(BooleanKind(), "Yes", "no"))
    assert encoding["lower"] and encoding["values"]["yes"] == 1.0 and encoding["values"]["f"] == 0.0


def test_what_else_a_program_needs() -> None:
    """The outputs in the order of their names, which is that of the graph."""
    assert ids.metadata(fitted(), {}) == {
        "text": {}, "classes": {"output": ["no", "yes"]}, "structuredOutputKeys": ["output", "price"],
    }  # fmt: skip
    assert ids.metadata(fitted(), {}, has_targets=False)["classes"] == {}


def test_outputs_are_in_the_order_of_an_object_s_keys() -> None:
    """JavaScript has array indices first, by their size: `Object.keys({ a: 1, 10: 1, 9: 1, "09": 1 })`."""
    names = ("output", "a", "10", "9", "09", "4294967294", "4294967295", "-1")
    of = Preprocessing(columns=(), targets={name: FittedTarget("regression") for name in names})
    assert ids.metadata(of, {})["structuredOutputKeys"] == [
        "9", "10", "4294967294", "-1", "09", "4294967295", "a", "output",
    ]  # fmt: skip


def test_columns_that_a_format_can_not_encode_are_named() -> None:
    of = fitted(column(CategoryKind(), "a"), column(HashedKind(), "b", name="h"),
                column(DateKind(), "2024-01-31", name="d"))  # fmt: skip
    with pytest.raises(ConfigError) as refused:
        ids.refuse_all_but("f", of, kinds=("category",), others="hashes or dates")
    assert str(refused.value) == (
        "format=f: can't hold hashes or dates. Received columns: h (hashed), d (date). Use saved_model or keras"
    )
    ids.refuse_all_but("f", fitted(column(CategoryKind(), "a")), kinds=("category",), others="")


def doubled() -> keras.Model:
    """Returns a model of ids that gives each twice."""
    inputs = {"c": keras.Input((1,), dtype="int32", name="c"), "w": keras.Input((3,), dtype="int32", name="w")}
    return keras.Model(inputs, 2 * keras.ops.concatenate([inputs["c"], inputs["w"]], axis=1))


def test_runs_with_other_ids_share_some() -> None:
    """The ids of texts that a run doesn't know are those of unseen ones: 0 of categories, 1 of words."""
    one: dict[str, Any] = {
        "c": {"kind": "category", "values": ["a", "b"]},
        "w": {"kind": "words", "values": ["x"], "length": 3},
    }
    other: dict[str, Any] = {
        "c": {"kind": "category", "values": ["z", "b"]},
        "w": {"kind": "words", "values": ["y", "x"], "length": 3},
    }
    (first, second), shared = ids.of_shared_ids([doubled(), doubled()], [one, other])
    assert shared["c"]["values"] == ["a", "b", "z"] and shared["w"]["values"] == ["x", "y"]
    rows = {"c": np.array([[0], [1], [2], [3]]), "w": np.array([[0, 1, 2], [3, 3, 0], [2, 0, 0], [1, 1, 3]])}
    assert (np.array(first(rows)) // 2).tolist() == [[0, 0, 1, 2], [1, 1, 1, 0], [2, 2, 0, 0], [0, 1, 1, 1]]
    assert (np.array(second(rows)) // 2).tolist() == [[0, 0, 1, 3], [0, 2, 2, 0], [2, 3, 0, 0], [1, 1, 1, 2]]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"kind": "hashed", "bins": 3}, {"kind": "hashed", "bins": 4}),
        ({"kind": "words", "values": ["x"], "length": 3}, {"kind": "words", "values": ["x"], "length": 4}),
        ({"kind": "numbers", "values": {"a": 0.0}, "lower": False}, {"kind": "numbers", "values": {}, "lower": False}),
        ({"kind": "category", "values": ["x"]}, {"kind": "hashed", "bins": 4}),
    ],
)
def test_runs_that_encode_in_other_ways_are_refused(one: ids.Encoding, other: ids.Encoding) -> None:
    with pytest.raises(ConfigError, match=r"^ensemble: the runs encode the texts of column 'c' in different ways$"):
        ids.of_shared_ids([], [{"c": one}, {"c": other}])
