from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfrun.errors import CheckpointError
from tfrun.files import checkpoints
from tfrun.files.compared_runs import ComparedArrays, ValueDifference, compare_arrays, compare_lines

TWO = '{"epoch": 1, "step": 5, "train/loss": 0.5, "val/loss": 0.25}\n{"epoch": 2, "step": 10, "train/loss": 0.4}\n'


def lines(tmp_path: Path, before: str, after: str, **options: Any) -> Any:
    (tmp_path / "before").write_text(before)
    (tmp_path / "after").write_text(after)
    return compare_lines(tmp_path / "before", tmp_path / "after", **options)


def save(folder: Path, step: int, arrays: Mapping[str, np.ndarray], extra: Mapping[str, Any] | None = None) -> None:
    slots = {
        slot: {"path": f"v/{slot[-1]}", "shape": list(array.shape), "dtype": array.dtype.name}
        for slot, array in arrays.items()
    }
    checkpoints.save(folder, step, slots=slots, arrays=arrays, extra=extra or {}, keep=9)


def test_equal_lines(tmp_path: Path) -> None:
    compared = lines(tmp_path, TWO, TWO)
    assert (compared.num_lines, compared.num_values, compared.num_differing, compared.first) == (2, 3, 0, None)


def test_numbers_are_compared_as_texts(tmp_path: Path) -> None:
    compared = lines(tmp_path, TWO, TWO.replace("0.25", "0.25000000000000006"))
    assert compared.first == ValueDifference(1, 5, "val/loss", "0.25", "0.25000000000000006")
    assert compared.num_differing == 1


def test_a_value_that_is_not_defined(tmp_path: Path) -> None:
    earlier = TWO.replace("0.25", "NaN")  # as earlier versions wrote it
    assert lines(tmp_path, earlier, TWO.replace("0.25", "null")).first is None
    assert lines(tmp_path, earlier, TWO).first == ValueDifference(1, 5, "val/loss", "null", "0.25")


def test_lines_and_values_that_are_missing(tmp_path: Path) -> None:
    one = TWO.splitlines(True)[0]
    assert lines(tmp_path, TWO, one).first == ValueDifference(2, 10, "train/loss", "0.4", "missing")
    assert lines(tmp_path, one, TWO).first == ValueDifference(2, 10, "train/loss", "missing", "0.4")
    assert lines(tmp_path, TWO, TWO.replace("val/loss", "val/mae")).first.name == "val/loss"
    assert lines(tmp_path, TWO, TWO.replace("0.4", '0.4, "val/mae": 1')).first is None  # a later version has more
    (tmp_path / "after").unlink()
    assert compare_lines(tmp_path / "before", tmp_path / "after").num_differing == 3


def test_only_lines_up_to_a_step(tmp_path: Path) -> None:
    test = '{"epoch": 1, "step": 5, "test/loss": 3}\n'
    compared = lines(tmp_path, TWO, TWO.splitlines(True)[0] + test, until_step=5)
    assert (compared.num_lines, compared.num_differing) == (1, 0)
    assert lines(tmp_path, TWO + test, TWO).first == ValueDifference(1, 5, "test/loss", "3", "missing")


def test_a_damaged_line(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="before:1: is damaged"):
        lines(tmp_path, "{\n", TWO)


def test_arrays_are_compared_by_their_bits(tmp_path: Path) -> None:
    nan, other_nan = np.array([0x7FC00000, 0x7FC00001], "uint32").view("float32")
    arrays = {"best/0000": np.zeros(2), "model/0000": np.array([1.0, 2.0]), "model/0001": np.array([nan, 1])}
    save(tmp_path / "a", 4, arrays)
    save(tmp_path / "b", 4, arrays)
    assert compare_arrays(tmp_path / "a", tmp_path / "b") == ComparedArrays(4, "state", 3, 0, None, 0.0)
    save(tmp_path / "c", 4, arrays | {"model/0000": np.array([1.0, 2.5]), "best/0000": np.ones(2)})
    compared = compare_arrays(tmp_path / "a", tmp_path / "c")
    assert compared == ComparedArrays(4, "state", 3, 2, "model/0000 (v/0)", 0.5)
    save(tmp_path / "d", 4, arrays | {"model/0001": np.array([other_nan, 1])})
    compared = compare_arrays(tmp_path / "a", tmp_path / "d")
    assert compared == ComparedArrays(4, "state", 3, 1, "model/0001 (v/1)", 0.0)
    save(tmp_path / "e", 4, arrays | {"model/0000": np.array([-0.0, np.nan]), "model/0001": np.zeros(3)})
    compared = compare_arrays(tmp_path / "a", tmp_path / "e")
    assert compared is not None and (compared.num_differing, compared.largest) == (2, float("inf"))


def test_the_newest_step_that_both_have_whole(tmp_path: Path) -> None:
    for step in (2, 4, 6):
        save(tmp_path / "a", step, {"model/0000": np.full(2, step)})
    for step in (2, 4, 8):
        save(tmp_path / "b", step, {"model/0000": np.full(2, step)})
    compared = compare_arrays(tmp_path / "a", tmp_path / "b")
    assert compared is not None and compared.step == 4
    (tmp_path / "a" / "step-000000004" / "state.npz").write_bytes(b"damaged")
    compared = compare_arrays(tmp_path / "a", tmp_path / "b")
    assert compared is not None and compared.step == 2
    assert compare_arrays(tmp_path / "a", tmp_path / "nothing") is None


def test_best_weights_of_a_pruned_run(tmp_path: Path) -> None:
    best = {"best/0000": np.ones(2)}
    save(tmp_path / "a", 4, best, {"pruned": {"left_out": ["model"]}})
    save(tmp_path / "b", 4, best | {"model/0000": np.zeros(2)})
    assert compare_arrays(tmp_path / "a", tmp_path / "b") == ComparedArrays(4, "best weights", 1, 0, None, 0.0)
