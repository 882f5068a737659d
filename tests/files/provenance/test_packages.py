from __future__ import annotations

import json
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from tfrun.files.provenance.packages import read_packages


def install(folder: Path, name: str, version: str, url: dict[str, Any] | None = None) -> None:
    """Writes what pip leaves of an installed distribution."""
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nName: of the description\n"
    (info / "METADATA").write_text(text)
    if url is not None:
        (info / "direct_url.json").write_text(json.dumps(url))


def test_each_origin_is_recorded_without_secrets(tmp_path: Path) -> None:
    folder = tmp_path / "site-packages"
    install(folder, "index", "1")
    install(folder, "editable", "2", {"url": "file:///a%20b", "dir_info": {"editable": True}})
    install(folder, "folder", "3", {"url": "file:///c", "dir_info": {}})
    vcs = {"vcs": "git", "commit_id": "abc", "requested_revision": "main"}
    install(folder, "cloned", "4", {"url": "https://me:secret@host.example/x.git?token=secret", "vcs_info": vcs})
    archive = {"url": "https://secret@host.example/x.whl#sha256=1", "archive_info": {"hashes": {"sha256": "1"}}}
    install(folder, "archive", "5", archive)
    packages = read_packages([str(folder)])
    assert [(package["name"], package["version"], package["origin"]) for package in packages] == [
        ("archive", "5", {"archive": "https://***:***@host.example/x.whl", "sha256": "1"}),
        ("cloned", "4", {"git": "https://***:***@host.example/x.git", "commit": "abc"}),
        ("editable", "2", {"editable": "/a b", "git": None}),
        ("folder", "3", {"folder": "/c"}),
        ("index", "1", None),
    ]


def test_the_first_of_two_counts_as_for_python(tmp_path: Path) -> None:
    for number in ("1", "2"):
        install(tmp_path / number / "site-packages", "My_Package" if number == "1" else "my-package", number)
    paths = [str(tmp_path / number / "site-packages") for number in ("2", "1")]
    assert [package["version"] for package in read_packages(paths)] == ["2"]


def test_a_broken_installation_leaves_the_others(tmp_path: Path) -> None:
    folder = tmp_path / "site-packages"
    install(folder, "good", "1")
    install(folder, "bad", "1", {})
    (folder / "worse-1.dist-info").mkdir()
    (folder / "worse-1.dist-info" / "METADATA").write_bytes(b"\xff\xfe")
    assert [package["name"] for package in read_packages([str(folder)])] == ["good"]


def test_a_folder_with_metadata_of_its_own_is_its_origin(tmp_path: Path) -> None:
    """As `setup.py develop` and PYTHONPATH leave it."""
    (tmp_path / "x.egg-info").mkdir()
    (tmp_path / "x.egg-info" / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: x\nVersion: 1\n")
    assert read_packages([str(tmp_path)]) == [{"name": "x", "version": "1", "origin": {"folder": str(tmp_path)}}]


def test_all_that_are_installed_here_are_read() -> None:
    versions = {package["name"]: package["version"] for package in read_packages(sys.path)}
    assert versions["numpy"] == metadata.version("numpy") and versions["keras"] == metadata.version("keras")
