from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from tfrun.errors import CheckpointError
from tfrun.files.provenance import record
from tfrun.files.provenance.record import Difference, differences, from_fields

PATCH = {"copy": "changes.patch", "bytes": 3, "sha256": "p1", "why_no_copy": None}
FIELDS: dict[str, Any] = {
    "format": 1,
    "at": "2026-01-01T00:00:00+00:00",
    "folder": "/project",
    "tfrun": {"version": "1", "folder": "/tfrun", "git": None},
    "git": {
        "root": "/project",
        "commit": "c1",
        "branch": "main",
        "dirty": True,
        "remote": None,
        "submodules": {"sub": {"commit": "s1", "dirty": False}},
        "patch": PATCH,
    },
    "python": {"version": "3.11.7", "implementation": "CPython", "executable": "/a/python", "optimize": 0},
    "packages": [{"name": "numpy", "version": "2", "origin": None}],
    "machine": {"processor": "P", "cores": 2},
    "environment": {"XLA_FLAGS": "x"},
    "roots": ["/project", "/conf"],
    "files": [
        {
            "kind": "plugin",
            "name": "mine",
            "path": "/project/mine.py",
            "root": 0,
            "sha256": "m1",
            "git": "untracked",
            "copy": "sources/0/mine.py",
            "why_no_copy": None,
        },
        {
            "kind": "config",
            "name": "a.yaml",
            "path": "/conf/a.yaml",
            "root": 1,
            "sha256": "a1",
            "git": "outside",
            "copy": None,
            "why_no_copy": "it has more than 1,048,576 bytes",
        },
    ],
    "has_configs": True,
    "left_out": [],
}
FILE = Path("/run/provenance/provenance.json")


def changed(path: str, value: Any) -> dict[str, Any]:
    """Returns the fields with another value at a dotted path."""
    fields = copy.deepcopy(FIELDS)
    *above, last = path.split(".")
    node: Any = fields
    for key in above:
        node = node[int(key) if isinstance(node, list) else key]
    node[last] = value
    return fields


def test_fields_become_objects_with_paths_in_the_folder() -> None:
    read = from_fields(FIELDS, FILE)
    assert read.git is not None and read.git.patch is not None
    assert read.git.patch.file == Path("/run/provenance/changes.patch")
    assert [(file.root, file.copy) for file in read.files] == [
        ("/project", Path("/run/provenance/sources/0/mine.py")),
        ("/conf", None),
    ]
    assert read.packages["numpy"].version == "2"


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("git.commit", "c2", [("code", "commit", "c1", "c2")]),
        ("git.submodules", {}, [("code", "submodule sub", {"commit": "s1", "dirty": False}, None)]),
        ("tfrun.version", "2", [("code", "tfrun", ("1", None), ("2", None))]),
        ("git.patch.sha256", "p2", [("patch", "patch", "p1", "p2")]),
        ("git.patch", None, [("patch", "patch", "p1", None)]),
        ("git.patch", {**PATCH, "sha256": None, "copy": None}, []),  # nobody knows whether it differs
        ("packages", [], [("packages", "numpy", ("2", None), None)]),
        ("packages.0.version", "3", [("packages", "numpy", ("2", None), ("3", None))]),
        ("python.optimize", 1, [("python", "optimize", 0, 1)]),
        ("python.executable", "/b/python", []),
        ("machine.processor", "Q", [("machine", "processor", "P", "Q")]),
        ("environment", {}, [("environment", "XLA_FLAGS", "x", None)]),
        ("files.0.sha256", "m2", [("sources", "plugin mine", "m1", "m2")]),
        ("files.1.sha256", "a2", [("sources", "config a.yaml", "a1", "a2")]),
        ("has_configs", False, []),
        ("folder", "/elsewhere", []),
        ("git.branch", None, []),
        ("at", "later", []),
    ],
)
def test_what_differs(path: str, value: Any, expected: list[tuple[Any, ...]]) -> None:
    before, after = from_fields(FIELDS, FILE), from_fields(changed(path, value), FILE)
    assert differences(before, after) == [Difference(*item) for item in expected]
    assert differences(after, before) == [Difference(item[0], item[1], item[3], item[2]) for item in expected]


def test_configs_of_one_name_are_compared_each() -> None:
    twice = [*FIELDS["files"], {**FIELDS["files"][1], "path": "/conf2/a.yaml", "sha256": "b1"}]
    before, after = (from_fields(changed("files", files), FILE) for files in (twice, [*twice[:2]]))
    assert differences(before, after) == [Difference("sources", "config a.yaml (2)", "b1", None)]


def test_a_run_outside_of_git_differs_from_one_inside() -> None:
    before, after = from_fields(FIELDS, FILE), from_fields(changed("git", None), FILE)
    assert {item.name for item in differences(before, after)} == {"commit", "patch", "submodule sub"}


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "link/x", "link"])
@pytest.mark.parametrize("path", ["git.patch.copy", "files.0.copy"])
def test_a_record_of_someone_else_leads_nowhere(tmp_path: Path, name: str, path: str) -> None:
    folder = tmp_path / "provenance"
    folder.mkdir()
    (folder / "link").symlink_to("/etc")
    (folder / "provenance.json").write_text(json.dumps(changed(path, name)))
    with pytest.raises(CheckpointError, match="leads out of the folder"):
        record.read(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"git": 1}', json.dumps(changed("files.0.root", 7))])
def test_a_damaged_record_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "provenance").mkdir()
    (tmp_path / "provenance" / "provenance.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"provenance\.json: is damaged"):
        record.read(tmp_path)


def test_records_of_resumes_are_in_their_order_and_those_of_the_sweep_come_first(tmp_path: Path) -> None:
    assert record.read(tmp_path) is None and record.read_resumed(tmp_path) == [] and record.newest(tmp_path) is None
    (tmp_path / "trials.jsonl").write_text("")
    for name in ("provenance/provenance", "provenance/resumed-10", "provenance/resumed-9", "4/provenance/resumed-1"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{name}.json").write_text(json.dumps(changed("at", name)))
    assert [one.at for one in record.read_resumed(tmp_path / "4")] == [
        "provenance/resumed-9",
        "provenance/resumed-10",
        "4/provenance/resumed-1",
    ]
    first, newest = record.read(tmp_path / "4"), record.newest(tmp_path / "4")
    assert first is not None and first.at == "provenance/provenance"
    assert newest is not None and newest.at == "4/provenance/resumed-1"
    assert record.next_name(tmp_path) == "resumed-11" and record.next_name(tmp_path / "5") == "resumed-1"
