from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tfrun.files.provenance import sources
from tfrun.files.provenance.git import WorkTree
from tfrun.files.provenance.sources import Sources, Wanted, configs


def collected(folder: Path, names: list[str], **options: Any) -> tuple[dict[str, dict[str, Any]], Sources]:
    """Returns the entries of files of a folder, by name."""
    given: dict[str, Any] = {"installed": [], "copies_changed": False, "is_asked": True, **options}
    collector = Sources(str(folder), given.pop("tree", None), **given)
    collector.add([Wanted("plugin", name, str(folder / name), str(folder)) for name in names])
    return {entry["name"]: entry for entry in collector.entries}, collector


def test_what_git_does_not_have_is_copied(tmp_path: Path, git: Callable[..., str]) -> None:
    git("init", "-q", ".")
    (tmp_path / ".gitignore").write_text("i\n")
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.mkdir()
    (outside / "o").write_text("of o")
    (tmp_path / "lib").mkdir()
    for name in ("same", "changed", "u", "i", "lib/installed"):
        (tmp_path / name).write_text(f"of {name}")
    git("add", "same", "changed", ".gitignore")
    git("commit", "-qm", "one")
    (tmp_path / "changed").write_text("new")
    tree = WorkTree.read(str(tmp_path))
    names = ["same", "changed", "u", "i", "lib/installed", f"../{outside.name}/o"]
    given = [Wanted("plugin", name, os.path.normpath(tmp_path / name), str(tmp_path)) for name in names[:-1]]
    given.append(Wanted("plugin", "o", str(outside / "o"), str(outside)))
    collector = Sources(str(tmp_path), tree, installed=[str(tmp_path / "lib")], copies_changed=False, is_asked=True)
    collector.add(given)
    states = {entry["name"]: (entry["git"], entry["copy"], entry["root"]) for entry in collector.entries}
    assert states == {
        "same": ("committed", None, 0),
        "changed": ("changed", None, 0),
        "u": ("untracked", 0, 0),
        "i": ("ignored", 1, 0),
        "lib/installed": ("installed", None, 0),
        "o": ("outside", 2, 1),
    }
    assert collector.contents == [b"of u", b"of i", b"of o"] and collector.roots == [str(tmp_path), str(outside)]
    assert collector.entries[1]["sha256"] == hashlib.sha256(b"new").hexdigest()
    entries, _ = collected(tmp_path, ["changed"], tree=tree, copies_changed=True)
    assert entries["changed"]["copy"] == 0
    entries, _ = collected(tmp_path, ["u"], tree=tree, is_asked=False)
    assert entries["u"]["copy"] is None and entries["u"]["why_no_copy"] == "provenance.sources=false"
    assert entries["u"]["sha256"] == hashlib.sha256(b"of u").hexdigest()


def test_copies_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MAX_FILE_BYTES", 10)
    monkeypatch.setattr(sources, "MAX_BYTES", 15)
    for name, size in {"a": 10, "b": 11, "c": 6, "d": 5}.items():
        (tmp_path / name).write_bytes(b"x" * size)
    entries, collector = collected(tmp_path, list("abcd"))
    assert [len(content) for content in collector.contents] == [10, 5]
    assert entries["b"]["why_no_copy"] == "it has more than 10 bytes"
    assert entries["b"]["sha256"] == hashlib.sha256(b"x" * 11).hexdigest()
    assert entries["c"]["why_no_copy"] == "all copies would have more than 15 bytes"
    monkeypatch.setattr(sources, "MAX_HASHED_BYTES", 10)
    entries, _ = collected(tmp_path, ["b"])
    assert entries["b"]["sha256"] is None


def test_no_link_is_followed_out_of_the_folder_and_nothing_is_waited_for(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "secret").write_text("hunter2")
    (folder / "out").symlink_to("../secret")
    (folder / "above").symlink_to("..")
    (folder / "file").write_text("1")
    (folder / "in").symlink_to("file")
    os.mkfifo(folder / "fifo")
    entries, collector = collected(folder, ["out", "above/secret", "in", "fifo", "gone"])
    for name in ("out", "above/secret"):
        assert entries[name]["why_no_copy"] == "a link leads out of the folder" and entries[name]["sha256"] is None
    assert collector.contents == [b"1"] and entries["in"]["copy"] == 0
    assert entries["fifo"]["why_no_copy"] == "no regular file"
    assert entries["gone"]["why_no_copy"] == "can't be read: No such file or directory"


def test_configs_are_the_yaml_files_of_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.yaml", "model/b.yml", "c.txt", ".hidden/d.yaml", "outputs/run/config.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "loop").symlink_to(".")
    wanted, why = configs([str(tmp_path), str(tmp_path / "gone")])
    assert [file.name for file in wanted] == ["a.yaml", "model/b.yml"] and why is None
    monkeypatch.setattr(sources, "MAX_FILES", 1)
    wanted, why = configs([str(tmp_path)])
    assert len(wanted) == 1 and why is not None


def test_names_that_are_not_utf_8(tmp_path: Path, git: Callable[..., str]) -> None:
    name = os.fsdecode(b"\xff.py")
    (tmp_path / name).write_text("1")
    git("init", "-q", ".")
    git("commit", "-q", "--allow-empty", "-m", "one")
    entries, _ = collected(tmp_path, [name], tree=WorkTree.read(str(tmp_path)))
    assert entries[name]["git"] == "untracked" and entries[name]["copy"] == 0
