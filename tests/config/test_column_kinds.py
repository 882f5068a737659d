"""`data.kinds` is checked before TensorFlow loads and before the data are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tfrun.config.column_kinds import (
    BooleanKind,
    CategoryKind,
    DateKind,
    HashedKind,
    NumberKind,
    OrderedKind,
    TokensKind,
)
from tfrun.config.settings import Settings
from tfrun.errors import ConfigError


def test_kinds_are_names_or_mappings_with_their_options(settings: Callable[..., Settings]) -> None:
    words = "{a: boolean, b: {name: date, format: '%d.%m.%Y'}, c: {name: number, impute: 0, scale: robust}, "
    words += "d: {name: ordered, values: [1, 2, x]}}"
    data = settings(f"data.kinds={words}").data
    assert data.kinds == {
        "a": BooleanKind(),
        "b": DateKind("%d.%m.%Y"),
        "c": NumberKind(impute=0.0, scale="robust"),
        "d": OrderedKind([1, 2, "x"]),
    }
    assert data.to_dict()["kinds"]["c"] == {"name": "number", "impute": 0.0, "indicator": False, "scale": "robust"}
    assert list(data.text_encodings) == ["b", "d"]  # a boolean may be written as a number


def test_text_columns_and_encodings_are_kinds_too(settings: Callable[..., Settings]) -> None:
    text = "{a: {name: tokens, length: 3}, b: {name: hash, bins: 7}, c: {name: vocabulary, max_ids: 5}}"
    data = settings(
        "data=csv", "data.path=pyproject.toml", "data.target=y", "data.text_columns=[d]", f"data.text={text}"
    ).data
    kinds = {"a": TokensKind(3), "b": HashedKind(7), "c": CategoryKind(5), "d": CategoryKind()}
    assert data.column_kinds == kinds
    assert data.to_dict()["kinds"] == {}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("{a: dat}", r"^data.kinds.a: unknown kind. Received: 'dat'. Known: .*Did you mean 'date'\?"),
        ("{a: 3}", "^data.kinds.a: must be a mapping"),
        ("{a: {format: x}}", "^data.kinds.a: unknown kind. Received: 'None'"),
        ("{a: {name: number, impute: most}}", r"^data.kinds.a.impute: must be one of 'median', 'mean', or a finite"),
        ("{a: {name: number, scal: none}}", "Did you mean 'data.kinds.a.scale'"),
        ("{a: {name: category, min_count: 0}}", "^data.kinds.a.min_count: must be a whole number >= 1. Received: 0"),
        ("{a: ordered}", "^data.kinds.a.values: must be given for the kind 'ordered'"),
        ("{a: {name: ordered, values: [x]}}", r"^data.kinds.a.values: must be two or more different values"),
        ("{a: {name: ordered, values: [1, '1']}}", r"^data.kinds.a.values: must be two or more different values"),
        ("{a: {name: date, format: '%d.%k'}}", "^data.kinds.a.format: unknown directive. Received: '%k'"),
        ("{a: {name: image, scale: imagnet}}", "Did you mean 'imagenet'"),
    ],
)
def test_a_kind_that_is_none_is_an_error(words: str, message: str, settings: Callable[..., Settings]) -> None:
    with pytest.raises(ConfigError, match=message):
        settings(f"data.kinds={words}")


@pytest.mark.parametrize("word", ["data.text={a: tokens}", "data.text_columns=[a]"])
def test_a_column_is_named_once(word: str, settings: Callable[..., Settings]) -> None:
    words: Any = ["data=csv", "data.path=pyproject.toml", "data.target=y", word, "data.kinds={a: category}"]
    with pytest.raises(ConfigError, match=r"^data.kinds.a: data.text(_columns)? names the column too"):
        settings(*words)
