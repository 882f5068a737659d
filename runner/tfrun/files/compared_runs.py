"""Compares the results of two runs: lines of `metrics.jsonl` as texts, and arrays of checkpoints by their bits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfrun.files import checkpoints
from tfrun.files.checkpoints import Checkpoint
from tfrun.files.json_files import read_metrics

MISSING = "missing"
ROLES = ("model", "best", "optimizer")  # whose arrays are named first if several differ


@dataclass(frozen=True)
class ValueDifference:
    """The first value that differs.

    Attributes:
        epoch, step: of its line.
        name: the metric's.
        before, after: as their files have them; `missing` where one has none.
    """

    epoch: int
    step: int
    name: str
    before: str
    after: str


@dataclass(frozen=True)
class ComparedLines:
    """The lines of two runs.

    Attributes:
        num_lines: that were compared.
        num_values: that were compared.
        num_differing: values that differ.
        first: the first of them.
    """

    num_lines: int
    num_values: int
    num_differing: int
    first: ValueDifference | None


@dataclass(frozen=True)
class ComparedArrays:
    """The arrays of two checkpoints of the same step.

    Attributes:
        step: the step.
        what: `state`, or `best weights` if that is all that one of them has.
        num_arrays: that were compared.
        num_differing: of which any bit differs.
        first: the path of the first of them, its slot if it has none.
        largest: the largest absolute difference of its values; infinite if only one is finite or the shapes differ.
    """

    step: int
    what: str
    num_arrays: int
    num_differing: int
    first: str | None
    largest: float


def compare_lines(before: Path, after: Path, *, until_step: int | None = None) -> ComparedLines:
    """Compares two `metrics.jsonl`. Values that only the second one has aren't compared.

    Args:
        before: the first one; a missing file has no lines.
        after: the second one.
        until_step: the last step that counts; lines of the test don't count then. None for all.

    Raises:
        CheckpointError: a line is damaged.
    """
    one, other = (_lines(path, until_step) for path in (before, after))
    num_values, num_differing, first = 0, 0, None
    for key in [*one, *(key for key in other if key not in one)]:
        values = {name: (value, other.get(key, {}).get(name, MISSING)) for name, value in one.get(key, {}).items()}
        if key not in one:
            values = {name: (MISSING, value) for name, value in other[key].items()}
        for name, (old, new) in values.items():
            num_values += 1
            if old != new:
                num_differing += 1
                first = first or ValueDifference(key[0], key[1], name, old, new)
    return ComparedLines(len(one), num_values, num_differing, first)


def compare_arrays(before: Path, after: Path) -> ComparedArrays | None:
    """Compares the newest checkpoints of one step that two runs have whole; None if there is no such step.

    Args:
        before: the folder of the checkpoints of the first run.
        after: that of the second one.
    """
    names = {path.name for path in checkpoints.newest_first(after)}
    for path in checkpoints.newest_first(before):
        if path.name in names and (step := _step(path)) is not None:
            try:
                return _compare(checkpoints.at(before, step), checkpoints.at(after, step))
            except Exception:  # noqa: S112 - a damaged checkpoint may raise anything, and an older one may be whole
                continue
    return None


def _compare(before: Checkpoint, after: Checkpoint) -> ComparedArrays:
    is_pruned = bool(before.left_out or after.left_out)
    slots = [slot for slot in before.slots if slot in after.slots or not is_pruned]
    slots.sort(key=lambda slot: _place(slot.partition("/")[0]))
    if is_pruned:
        slots = [slot for slot in slots if slot.startswith("best/")]
    differing = [slot for slot in slots if not _is_same(before.arrays[slot], after.arrays.get(slot))]
    first = differing[0] if differing else None
    largest = 0.0 if first is None else _largest(before.arrays[first], after.arrays.get(first))
    name = None if first is None else _name(first, before.slots[first])
    return ComparedArrays(
        before.step, "best weights" if is_pruned else "state", len(slots), len(differing), name, largest
    )


def _lines(path: Path, until_step: int | None) -> dict[tuple[int, int, bool], dict[str, str]]:
    """Returns (epoch, step, whether it is the test) -> name -> number as text, in the order of the file."""
    if not path.exists():
        return {}
    read_metrics(path)  # raises an error for a damaged line
    lines: dict[tuple[int, int, bool], dict[str, str]] = {}
    for text in path.read_bytes().split(b"\n")[:-1]:
        # earlier versions have written NaN, where null stands now
        entry = json.loads(text, parse_float=str, parse_int=str, parse_constant=lambda _: None)
        values = {name: "null" if value is None else str(value) for name, value in entry.items() if "/" in name}
        is_test = any(name.startswith("test/") for name in values)
        epoch, step = int(entry["epoch"]), int(entry["step"])
        if until_step is None or (step <= until_step and not is_test):
            lines[epoch, step, is_test] = values
    return lines


def _step(path: Path) -> int | None:
    number = path.name.removeprefix("step-")
    return int(number) if number.isdecimal() and len(number) < 19 else None


def _place(role: str) -> int:
    return ROLES.index(role) if role in ROLES else len(ROLES)


def _is_same(one: np.ndarray, other: np.ndarray | None) -> bool:
    return other is not None and (one.shape, one.dtype, one.tobytes()) == (other.shape, other.dtype, other.tobytes())


def _largest(one: np.ndarray, other: np.ndarray | None) -> float:
    if other is None or one.shape != other.shape:
        return float("inf")
    with np.errstate(all="ignore"):
        off = np.abs(one.astype("float64") - other.astype("float64"))
    off = np.where(one == other, 0.0, off)
    off = np.where(np.isnan(one.astype("float64")) & np.isnan(other.astype("float64")), 0.0, off)
    return float(np.max(np.nan_to_num(off, nan=np.inf, posinf=np.inf), initial=0.0))


def _name(slot: str, entry: Mapping[str, Any]) -> str:
    path = str(entry.get("path") or "")
    return f"{slot} ({path})" if path else slot
