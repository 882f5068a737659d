from __future__ import annotations

import pytest

from tfrun import errors
from tfrun.errors import Interrupted, LibraryChangedError, TfrunError, near_miss, private_imports, private_name, unknown


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
