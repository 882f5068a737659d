"""Compares what two runs were made from: their code, packages, data and machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tfrun.errors import CheckpointError, some
from tfrun.files.provenance import aspects, git, record
from tfrun.files.provenance.aspects import (
    DIFFERS,
    NO_RECORD,
    SAME,
    UNKNOWN,
    Aspect,
    Now,
    changed_commit,
    changed_text,
    differs,
)
from tfrun.files.provenance.record import Provenance
from tfrun.reports.comparison import Row


def sentences(one: Row, other: Row) -> list[str]:
    """Returns a line for each aspect that differs, one for all that are the same, and one for all that are unknown.

    Args:
        one: a run.
        other: the run that it is compared with.
    """
    compared = [*_compared(one, other), _data(one.run, other.run)]
    names = {state: [aspect.name for aspect in compared if aspect.state == state] for state in (SAME, UNKNOWN)}
    lines = [f"{aspect.name} {differs([aspect.name])}: {aspect.text}" for aspect in compared if aspect.state == DIFFERS]
    if names[SAME]:
        lines.append(f"the same: {', '.join(names[SAME])}")
    if names[UNKNOWN]:
        why = dict.fromkeys(detail for aspect in compared if aspect.state == UNKNOWN for detail in aspect.details)
        lines.append(f"unknown: {', '.join(names[UNKNOWN])} ({some(list(why), 3)})")
    return lines


def _compared(one: Row, other: Row) -> Sequence[Aspect]:
    """Returns the aspects of two runs by their records, or by their `run.json` if one of them has no record."""
    try:
        before, after = record.read(one.folder.path), record.read(other.folder.path)
    except CheckpointError as error:
        return [Aspect("code, packages and machine", UNKNOWN, (str(error),))]
    if before is None or after is None:
        return [_code(one.run, other.run), _packages(one.run, other.run), Aspect("machine", UNKNOWN, (NO_RECORD,))]
    has_plugins = any(file.kind != "config" for file in (*before.files, *after.files))
    now = Now(after, aspects.read_patch(after) or b"", has_plugins)
    return [_with_diffstat(aspect, before, after) for aspect in aspects.compare(before, now, run=one.run)]


def _with_diffstat(aspect: Aspect, before: Provenance, after: Provenance) -> Aspect:
    """Returns the aspect `code` with how much differs between two commits, where their repository still has both."""
    if aspect.name != "code" or aspect.state != DIFFERS or before.git is None or after.git is None:
        return aspect
    stat = git.diffstat(after.git.root, before.git.commit, after.git.commit)
    return Aspect("code", DIFFERS, (*aspect.details, stat), aspect.leaves) if stat else aspect


def _code(one: Mapping[str, Any], other: Mapping[str, Any]) -> Aspect:
    """Returns whether the commits that two `run.json` name are the same."""
    before, after = one.get("git"), other.get("git")
    if not isinstance(before, dict) or not isinstance(after, dict):
        return Aspect("code", UNKNOWN, (NO_RECORD,))
    if before.get("commit") != after.get("commit"):
        return Aspect("code", DIFFERS, (changed_commit(before.get("commit"), after.get("commit")),))
    if before.get("dirty") or after.get("dirty"):
        return Aspect("code", UNKNOWN, ("changes that aren't committed",))
    return Aspect("code", SAME)


def _packages(one: Mapping[str, Any], other: Mapping[str, Any]) -> Aspect:
    """Returns whether the versions that two `run.json` name are the same."""
    before, after = one.get("versions"), other.get("versions")
    if not isinstance(before, dict) or not isinstance(after, dict):
        return Aspect("packages", UNKNOWN, (NO_RECORD,))
    differing = [
        changed_text(name, before.get(name, "none"), after.get(name, "none"))
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]
    return Aspect("packages", DIFFERS if differing else SAME, tuple(differing))


def _data(one: Mapping[str, Any], other: Mapping[str, Any]) -> Aspect:
    """Returns whether two runs were trained on the same contents."""
    data = [run.get("data") for run in (one, other)]
    before, after = (part.get("fingerprint") if isinstance(part, dict) else None for part in data)
    if not isinstance(before, str) or not isinstance(after, str):
        return Aspect("data", UNKNOWN, (NO_RECORD,))
    return aspects.compare_data(before, after)
