from __future__ import annotations

import shlex
from typing import Any

import pytest

from tfrun import errors
from tfrun.config.overrides import parse
from tfrun.errors import (
    Interrupted,
    LibraryChangedError,
    TfrunError,
    as_typed,
    near_miss,
    private_imports,
    private_name,
    unknown,
)


def test_each_kind_of_error_has_its_exit_code() -> None:
    kinds = ("ConfigError", "DataError", "DivergedError", "ResourceError", "CheckpointError", "FolderInUseError")
    codes = [getattr(errors, kind).exit_code for kind in (*kinds, "SweepError")]
    assert codes == [2, 3, 4, 5, 6, 7, 8]
    assert TfrunError.exit_code == 1
    assert (Interrupted(2, "").exit_code, Interrupted(15, "").exit_code) == (130, 143)


def test_details_are_for_run_json() -> None:
    error = TfrunError("message", step=3)
    assert str(error) == "message" and error.details == {"step": 3}


@pytest.mark.parametrize(
    ("name", "hint"),
    [("hubber", " Did you mean 'huber'?"), ("MSE", " Did you mean 'mse'?"), ("nothing", ""), (3, "")],
)
def test_the_near_miss(name: object, hint: str) -> None:
    assert near_miss(name, ["huber", "mse"]) == hint


@pytest.mark.parametrize(
    "name",
    [
        "kind",
        "sepal length (cm)",
        "",
        "007",
        "-999",
        "null",
        "NaN",
        ",",
        ";",
        ".",
        "größe",
        "a=b",
        '"q"',
        "o'k",
        "a\\",
        "?",
    ],
)
def test_advice_can_be_typed_as_it_is(name: str) -> None:
    (word,) = shlex.split(as_typed("data.exclude", [name, "b"]))
    assert parse([word])[0].value() == [name, "b"]
    (word,) = shlex.split(as_typed("data.separator", name))
    assert str(parse([word])[0].value()) == name


@pytest.mark.parametrize("name", ["kind", "sepal length (cm)", "a=b", "a: {b}", "007"])
def test_advice_of_a_mapping_can_be_typed_as_it_is(name: str) -> None:
    (word,) = shlex.split(as_typed("data.text", {name: "tokens"}))
    value: Any = parse([word])[0].value()
    assert {str(key): kind for key, kind in value.items()} == {name: "tokens"}


def test_advice_is_quoted_only_where_need_be() -> None:
    assert as_typed("data.exclude", ["id", "b-1"]) == "data.exclude=[id,b-1]"
    assert as_typed("data.text", {"id": "tokens"}) == "'data.text={id: tokens}'"
    assert as_typed("data.decimal", ",") == """'data.decimal=","'"""


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    assert str(unknown("loss", "option", name="hubber", known=["mse", "huber"])) == (
        "loss: unknown option. Received: 'hubber'. Known: huber, mse. Did you mean 'huber'?"
    )
    assert str(unknown("loss", "option", name="x", known=[])) == "loss: unknown option. Received: 'x'. Known: none."


def test_a_private_name_that_is_gone_says_which_library_changed() -> None:
    assert private_name(str, "join", library="Python", use="join texts") is str.join
    with pytest.raises(LibraryChangedError, match=r"^Python changed str\._gone, and tfrun needs it to join texts$"):
        private_name(str, "_gone", library="Python", use="join texts")
    with pytest.raises(LibraryChangedError, match="^Python changed json.gone: "), private_imports("Python"):
        import json.gone  # type: ignore[import-not-found] # noqa: F401
