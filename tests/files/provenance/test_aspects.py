from __future__ import annotations

import copy
import hashlib
import json
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tfrun.errors import CheckpointError
from tfrun.files.provenance import aspects, record
from tfrun.files.provenance.aspects import BITS, DIFFERS, NOTHING, ROUNDING, SAME, UNKNOWN, Aspect, Now

BEFORE = b"diff --git a/mine.py b/mine.py\n-1\n+2\ndiff --git a/b.py b/b.py\n-1\n+2\n"
AFTER = b"diff --git a/mine.py b/mine.py\n-1\n+3\ndiff --git a/b.py b/b.py\n-1\n+2\n"
FIELDS: dict[str, Any] = {
    "format": 1,
    "at": "2026-01-01T00:00:00+00:00",
    "folder": "/project/sub",
    "tfrun": {"version": "1", "folder": "/tfrun", "git": None},
    "git": {
        "root": "/project",
        "commit": "c" * 40,
        "branch": "main",
        "dirty": True,
        "remote": None,
        "submodules": {"sub": {"commit": "s1", "dirty": False}},
        "patch": {
            "copy": "changes.patch",
            "bytes": len(BEFORE),
            "sha256": hashlib.sha256(BEFORE).hexdigest(),
            "why_no_copy": None,
        },
    },
    "python": {"version": "3.11.7", "implementation": "CPython", "executable": "/a/python", "optimize": 0},
    "packages": [{"name": name, "version": "2", "origin": None} for name in ("numpy", "pytest")],
    "machine": {"processor": "P", "flags": ["avx", "sse"], "cores": 2, "kernel": "5", "memory_bytes": 7},
    "environment": {"XLA_FLAGS": "x"},
    "roots": ["/project/sub"],
    "files": [
        {
            "kind": "plugin",
            "name": "mine",
            "path": "/project/sub/mine.py",
            "root": 0,
            "sha256": "m1",
            "git": "untracked",
            "copy": "sources/0/mine.py",
            "why_no_copy": None,
        }
    ],
    "has_configs": False,
    "left_out": [],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "provenance").mkdir()
    (tmp_path / "provenance" / "changes.patch").write_bytes(BEFORE)
    return tmp_path


def read(folder: Path, fields: Any) -> record.Provenance:
    (folder / "provenance" / "provenance.json").write_text(json.dumps(fields))
    read = record.read(folder)
    assert read is not None
    return read


def changed(change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    fields = copy.deepcopy(FIELDS)
    change(fields)
    return fields


def compared(
    folder: Path, after: dict[str, Any], *, before: Any = FIELDS, patch: bytes = BEFORE, plugins: bool = True
) -> dict[str, Aspect]:
    now = Now(record.from_fields(after, Path(os.devnull)), patch, plugins)
    return {aspect.name: aspect for aspect in aspects.compare(read(folder, before), now, run={})}


def only(found: dict[str, Aspect], name: str) -> Aspect:
    """Returns an aspect, all others of which are the same."""
    assert [aspect.name for aspect in found.values() if aspect.state != SAME] == [name]
    return found[name]


def promised(found: dict[str, Aspect]) -> str:
    return aspects.promise(list(found.values()))[0]


def test_nothing_differs(folder: Path) -> None:
    found = compared(folder, FIELDS)
    assert list(found) == ["code", "patch", "sources", "packages", "python", "machine", "environment"]
    assert {aspect.state for aspect in found.values()} == {SAME}
    assert aspects.promise(list(found.values())) == (
        BITS,
        "Promised are the same bits: nothing differs that they depend on",
    )


def test_a_module_of_a_plugin(folder: Path) -> None:
    found = compared(folder, changed(lambda fields: fields["files"][0].update(sha256="m2")))
    assert only(found, "sources") == Aspect("sources", DIFFERS, ("plugin mine",))
    assert aspects.promise(list(found.values())) == (NOTHING, "Nothing can be promised: sources differ")


def test_the_files_that_a_patch_changes_otherwise(folder: Path) -> None:
    after = changed(lambda fields: fields["git"]["patch"].update(sha256="other"))
    found = compared(folder, after, patch=AFTER)
    assert only(found, "patch") == Aspect("patch", DIFFERS, ("mine.py",), BITS)
    assert promised(found) == BITS  # no module of the plugin is among them
    after["files"][0]["sha256"] = "m2"
    assert promised(compared(folder, after, patch=AFTER)) == NOTHING
    after = changed(lambda fields: fields["git"].update(patch=None, dirty=False))
    assert compared(folder, after, patch=b"")["patch"].details == ("b.py", "mine.py")
    (folder / "provenance" / "changes.patch").write_bytes(b"other")
    assert compared(folder, after, patch=b"")["patch"].details == ("the run's can't be read",)


def test_a_patch_that_was_left_out(folder: Path) -> None:
    before = changed(lambda fields: fields["git"]["patch"].update(copy=None, sha256=None, why_no_copy="too large"))
    assert only(compared(folder, FIELDS, before=before), "patch").details == ("left out: too large",)


def test_a_folder_outside_of_git_is_no_unknown_code(folder: Path) -> None:
    def outside(why: str) -> Any:
        return changed(lambda fields: fields.update(git=None, left_out=[{"what": "git", "why": why}]))

    nowhere = outside("fatal: not a git repository (or any of the parent directories): .git")
    assert promised(compared(folder, nowhere, before=nowhere, patch=b"")) == BITS
    refused = outside("fatal: detected dubious ownership")
    code = compared(folder, refused, before=refused, patch=b"")["code"]
    assert code == Aspect("code", UNKNOWN, ("git: fatal: detected dubious ownership",))


def test_tfrun_is_no_package_since_code_has_it(folder: Path) -> None:
    """It may be installed as a folder that can be edited in one of both, and found by PYTHONPATH in the other."""

    def listed(version: str, **origin: Any) -> Any:
        entry = {"name": "tfrun", "version": version, "origin": origin or None}
        return changed(lambda fields: fields["packages"].append(entry))

    assert compared(folder, listed("1", editable="/t"))["packages"].state == SAME
    assert compared(folder, listed("2", folder="/t"), before=listed("1", editable="/t"))["packages"].state == SAME


def test_another_commit(folder: Path) -> None:
    after = changed(lambda fields: fields["git"].update(commit="d" * 40))
    found = compared(folder, after)
    assert only(found, "code").details == ("commit cccccccccccc → dddddddddddd",)
    assert promised(found) == BITS
    # tfrun itself is in that repository
    before = changed(lambda fields: fields["tfrun"].update(folder="/project/runner/tfrun"))
    assert promised(compared(folder, after, before=before)) == NOTHING


def test_another_tfrun(folder: Path) -> None:
    found = compared(folder, changed(lambda fields: fields["tfrun"].update(version="2")))
    assert only(found, "code").details == ("tfrun 1 → 2",)
    assert promised(found) == NOTHING


def test_changes_of_tfrun_that_no_patch_has(folder: Path) -> None:
    git = {"commit": "t", "dirty": True}
    fields = changed(lambda fields: fields["tfrun"].update(git=git))
    fields["packages"].append({"name": "tfrun", "version": "1", "origin": {"editable": "/t", "path": "/t", "git": git}})
    found = compared(folder, fields, before=fields)
    assert only(found, "code").state == UNKNOWN
    assert aspects.promise(list(found.values())) == (
        NOTHING,
        "Nothing can be promised: code is unknown. If nothing differs there, the run gives the same bits",
    )
    fields["tfrun"]["folder"] = "/project/runner/tfrun"
    assert compared(folder, fields, before=fields)["code"].state == SAME


@pytest.mark.parametrize(
    ("number", "plugins", "promise"), [(0, False, NOTHING), (1, False, ROUNDING), (1, True, NOTHING)]
)
def test_packages(folder: Path, number: int, plugins: bool, promise: str) -> None:
    after = changed(lambda fields: fields["packages"][number].update(version="3"))
    found = compared(folder, after, plugins=plugins)
    name = ("numpy", "pytest")[number]
    assert only(found, "packages").details == (f"{name} 2 → 3",)
    assert promised(found) == promise


def test_a_package_that_is_gone_and_one_of_another_origin(folder: Path) -> None:
    def change(fields: dict[str, Any]) -> None:
        fields["packages"] = [{"name": "numpy", "version": "2", "origin": {"kind": "git", "commit": "e"}}]

    found = compared(folder, changed(change))
    assert only(found, "packages").details == ("numpy 2 of another origin", "pytest 2 → not installed")


def test_the_machine(folder: Path) -> None:
    found = compared(folder, changed(lambda fields: fields["machine"].update(kernel="6", memory_bytes=8)))
    assert promised(found) == BITS
    found = compared(folder, changed(lambda fields: fields["machine"].update(cores=4, flags=["avx", "avx2"])))
    assert only(found, "machine").details == ("cores 2 → 4", "flags -sse +avx2")
    assert aspects.promise(list(found.values())) == (
        ROUNDING,
        "Promised are the same numbers up to rounding: machine differs",
    )


def test_the_environment_and_python(folder: Path) -> None:
    found = compared(folder, changed(lambda fields: fields["environment"].clear()))
    assert only(found, "environment").details == ("XLA_FLAGS x → none",)
    found = compared(folder, changed(lambda fields: fields["python"].update(version="3.12.1", executable="/b")))
    assert only(found, "python").details == ("version 3.11.7 → 3.12.1",)
    assert promised(found) == ROUNDING


def test_a_run_without_a_record(folder: Path) -> None:
    now = Now(record.from_fields(FIELDS, Path(os.devnull)), b"", has_plugins=False)

    def by_run_json(**run: Any) -> dict[str, Aspect]:
        return {aspect.name: aspect for aspect in aspects.compare(None, now, run=run)}

    versions = {"python": "3.11.7", "tfrun": "1", "numpy": "2"}
    found = by_run_json(versions=versions, git={"commit": "c" * 40, "dirty": False})
    states = {name: aspect.state for name, aspect in found.items()}
    assert states == {
        "code": SAME,
        "patch": UNKNOWN,
        "sources": SAME,
        "packages": UNKNOWN,
        "python": SAME,
        "machine": UNKNOWN,
        "environment": UNKNOWN,
    }
    found = by_run_json(versions=versions | {"numpy": "1", "python": "3.9"}, git={"commit": "d" * 40, "dirty": False})
    assert (found["packages"].state, found["packages"].details) == (DIFFERS, ("numpy 1 → 2",))
    assert (found["python"].state, found["code"].state) == (DIFFERS, DIFFERS)
    assert by_run_json(versions=versions, git={"commit": "c" * 40, "dirty": True})["code"].state == UNKNOWN
    assert {aspect.state for name, aspect in by_run_json().items() if name not in ("sources", "code")} == {UNKNOWN}
    by_run_json(versions=[], git=3)


def test_letters_that_a_terminal_would_obey() -> None:
    assert aspects.clean("a\x1b[2Jb\udcff\n") == "a?[2Jb??"
    assert aspects.clean("x" * 100) == "x" * 59 + "…"
    assert aspects.clean({"a": 1}) == "{'a': 1}"


WRONG: tuple[Any, ...] = (
    None,
    True,
    -1,
    10**400,
    1.5,
    "",
    "\x1b[2J",
    "../../etc",
    "/etc/passwd",
    [],
    [[]],
    {},
    {"a": {}},
)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from leaves(item, (*path, key))


def test_a_record_with_anything_in_it(folder: Path) -> None:
    """Each entry is replaced by values of other kinds: it is damaged, or it is compared and shown."""
    now = Now(record.from_fields(FIELDS, Path(os.devnull)), AFTER, has_plugins=True)
    draws = random.Random(0)
    num_damaged = num_read = 0
    for path in leaves(FIELDS):
        for wrong in WRONG:
            fields: Any = copy.deepcopy(FIELDS)
            if path:
                place = fields
                for key in path[:-1]:
                    place = place[key]
                place[path[-1]] = wrong
            else:
                fields = wrong
            try:
                before = read(folder, fields)
            except CheckpointError as error:
                assert str(error).count("\n") == 0
                num_damaged += 1
                continue
            found = aspects.compare(before, now, run={})
            text = "".join([aspects.promise(found)[1], *(aspect.text for aspect in found)])
            assert text.isprintable()
            num_read += 1
    assert num_damaged > 100 and num_read > 100
    text = json.dumps(FIELDS)
    for _ in range(300):
        at = draws.randrange(len(text))
        damaged = text[:at] + draws.choice('{}[]",:0a\x00') + text[at + draws.randrange(5) :]
        (folder / "provenance" / "provenance.json").write_text(damaged)
        try:
            perhaps = record.read(folder)
        except CheckpointError:
            continue
        aspects.promise(aspects.compare(perhaps, now, run={}))


def test_a_record_that_is_a_link_or_far_too_large(folder: Path) -> None:
    file = folder / "provenance" / "provenance.json"
    file.symlink_to("/dev/zero")
    with pytest.raises(CheckpointError, match="is no file"):
        record.read(folder)
    file.unlink()
    with open(file, "wb") as opened:
        opened.truncate(2**40)
    with pytest.raises(CheckpointError, match="1,099,511,627,776 bytes"):
        record.read(folder)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(CheckpointError, match="is no file"):
        record.read(folder)
