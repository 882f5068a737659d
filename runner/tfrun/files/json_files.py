"""Reads the JSON files of a run folder: one that is damaged, or another program's, is an error that names it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tfrun.errors import CheckpointError

Check = Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _is_whole_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _are_values(value: Any) -> bool:
    """Returns whether it is a mapping of metrics, in which `monitor` is the name of one."""
    return isinstance(value, dict) and all(key == "monitor" or _is_number(item) for key, item in value.items())


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _are_mappings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict)


def _is_mapping_or_null(value: Any) -> bool:
    return value is None or isinstance(value, dict)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


RUN_KEYS: Mapping[str, Check] = {  # those keys of run.json that something reads; earlier versions have fewer
    "run_id": _is_text,
    "status": _is_text,
    "epoch": _is_whole_number,
    "step": _is_whole_number,
    "overrides": _are_texts,
    "metrics": _are_values,
    "best": _are_values,
    "timing": _are_values,
    "higher_is_better": _is_mapping,
    "engine": _is_mapping,
    "data": _is_mapping,
    "versions": _is_mapping,
    "branch": _is_mapping,
    "reproduces": _is_mapping,
    "folder": _is_mapping,
    "resumed": _are_mappings,
    "rollbacks": _are_mappings,
    "error": _is_mapping_or_null,
}


def read_object(path: Path) -> dict[str, Any]:
    """Returns the mapping in a JSON file.

    Raises:
        FileNotFoundError: there is none.
        CheckpointError: it can't be read, or holds something else.
    """
    try:
        return parse_object(path.read_bytes(), where=str(path))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise CheckpointError(f"{path}: can't be read: {error.strerror or error}") from error


def parse_object(text: bytes, *, where: str) -> dict[str, Any]:
    """Returns the mapping in a JSON text. Raises CheckpointError, which begins with `where`."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise CheckpointError(f"{where}: is damaged, and can't be read as JSON: {reason}") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{where}: is damaged: it must be a mapping. Received: {_shortened(value)}")
    return value


def read_run(path: Path) -> dict[str, Any]:
    """Returns the fields of a `run.json`.

    Raises:
        FileNotFoundError: there is none.
        CheckpointError: it is damaged, or another program's.
    """
    fields = read_object(path)
    for key, is_right in RUN_KEYS.items():
        if key in fields and not is_right(fields[key]):
            received = f"{key}={_shortened(fields[key])}"
            raise CheckpointError(f"{path}: is damaged, or not of a run of tfrun. Received: {received}")
    if "status" not in fields:
        raise CheckpointError(f"{path}: is damaged, or not of a run of tfrun: it has no 'status'")
    return fields


def read_metrics(path: Path, length: int | None = None) -> list[dict[str, Any]]:
    """Returns the lines of a `metrics.jsonl`, those of its first `length` bytes alone if it is given.

    A last line without a newline is left out: it is being written, or a crash has torn it.

    Raises:
        OSError: it can't be read.
        CheckpointError: a line is damaged.
    """
    with open(path, "rb") as file:
        content = file.read(-1 if length is None else length)
    *lines, rest = content.split(b"\n")
    if rest and len(content) == length:
        where = f"{path}:{len(lines) + 1}"
        raise CheckpointError(f"{where}: is damaged: a checkpoint was saved when {length} bytes were whole lines")
    entries = []
    for number, line in enumerate(lines, start=1):
        where = f"{path}:{number}"
        entry = parse_object(line, where=where)
        if not (_is_whole_number(entry.get("epoch")) and _is_whole_number(entry.get("step")) and _are_values(entry)):
            raise CheckpointError(f"{where}: is damaged: a line has an epoch, a step and numbers. Received: {entry}")
        entries.append(entry)
    return entries


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"
