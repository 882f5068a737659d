"""The recorded packages in an environment of their own. Stand-ins for uv and pip install nothing from anywhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tfrun.errors import ResourceError
from tfrun.files.provenance import installing
from tfrun.files.provenance.installing import Packages, install, log_of, python_of, reason_of
from tfrun.files.provenance.record import Package

INSTALLER = """#!/bin/sh
echo "$@" >> {calls}
{code}
"""


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def installers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Makes shell scripts, given by their code, the installers; returns the file that has their command lines."""

    def use(*codes: str) -> Path:
        calls = tmp_path / "calls"
        scripts = []
        for k, code in enumerate(codes):
            script = tmp_path / f"installer_{k}"
            script.write_text(INSTALLER.format(calls=calls, code=code))
            script.chmod(0o755)
            scripts.append(script)
        monkeypatch.setattr(
            installing, "commands", lambda *paths: [[str(script), *map(str, paths)] for script in scripts]
        )
        return calls

    return use


def packages(**versions: str | None) -> dict[str, Package]:
    return {name: Package(name, version, None) for name, version in versions.items()}


def test_only_names_with_exact_versions_are_installed() -> None:
    given: dict[str, Package] = packages(numpy="2.4.6", torch="2.13.0+cpu", tfrun="0.1.0", a="1!2.0rc1.post2.dev3")
    assert Packages.of(given) == Packages(("a==1!2.0rc1.post2.dev3", "numpy==2.4.6", "torch==2.13.0+cpu"), ())


@pytest.mark.parametrize(
    ("name", "version", "origin", "why"),
    [
        ("mine", "1", {"editable": "/home/me/mine"}, "is from /home/me/mine"),
        ("mine", "1", {"folder": "/home/me/mine"}, "is from /home/me/mine"),
        ("mine", "1", {"git": "https://a.b/c", "commit": "12"}, "is from https://a.b/c"),
        ("mine", "1", {"archive": "https://a.b/c.whl", "sha256": None}, "is from https://a.b/c.whl"),
        ("mine", None, None, "has the version None, which no package has"),
        (
            "mine",
            "1.0 --index-url=http://evil",
            None,
            "has the version 1.0 --index-url=http://evil, which no package has",
        ),
        ("mine", "1.0\n-r /etc/passwd", None, "has the version 1.0?-r /etc/passwd, which no package has"),
        ("mine", "@ file:///tmp/x", None, "has the version @ file:///tmp/x, which no package has"),
        ("-e/tmp/x", "1", None, "has a name that no package has"),
        ("--index-url", "1", None, "has a name that no package has"),
        ("mine[extra]", "1", None, "has a name that no package has"),
        ("mine\n", "1", None, "has a name that no package has"),
    ],
)
def test_what_can_not_be_had(name: str, version: str | None, origin: Mapping[str, Any] | None, why: str) -> None:
    found = Packages.of({name: Package(name, version, origin)})
    assert found.requirements == ()
    assert [reason for _, reason in found.left_out] == [why]


def test_what_is_not_installed_here() -> None:
    found = Packages.of(packages(a="1", b="2", c="3"))
    assert found.missing_from(packages(a="1", b="1")) == ["b==2", "c==3"]


def test_an_environment_is_made_once(installers: Callable[..., Path]) -> None:
    calls = installers("true")
    found = Packages.of(packages(b="2", a="1"))
    assert python_of(found.folder) is None
    python = install(found)
    assert python == python_of(found.folder) == install(found)
    assert os.path.samefile(python, sys.executable)
    assert (found.folder / "requirements.txt").read_text() == "a==1\nb==2\n"
    assert calls.read_text() == f"{python} {found.folder}/requirements.txt\n"
    assert Packages.of(packages(a="1")).folder != found.folder


def test_the_second_installer_is_tried_if_the_first_fails(installers: Callable[..., Path]) -> None:
    calls = installers("echo error: no index; exit 1", "echo fine")
    found = Packages.of(packages(a="1"))
    assert install(found).is_file()
    assert len(calls.read_text().splitlines()) == 2
    assert log_of(found.folder).read_text() == "error: no index\nfine\n"


def test_an_environment_that_could_not_be_made_leaves_only_its_log(installers: Callable[..., Path]) -> None:
    found = Packages.of(packages(a="1"))
    installers("echo 'ERROR: No matching distribution found for a==1'; exit 1")
    with pytest.raises(ResourceError, match="can't be installed: No matching distribution found for a==1. All that"):
        install(found)
    assert not found.folder.exists() and log_of(found.folder).is_file()
    installers("true")
    assert install(found).is_file()


def test_half_an_environment_is_made_anew(installers: Callable[..., Path]) -> None:
    installers("true")
    found = Packages.of(packages(a="1"))
    (found.folder / "bin").mkdir(parents=True)
    (found.folder / "bin" / "python").write_text("broken")
    assert python_of(found.folder) is None
    assert os.path.samefile(install(found), sys.executable)


def test_a_cache_that_can_not_be_written(tmp_path: Path, installers: Callable[..., Path]) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(ResourceError, match="can't be written: Not a directory"):
        install(Packages.of(packages(a="1")))


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (
            "Looking\nERROR: Could not find\nERROR: No matching distribution for a==1\n",
            "No matching distribution for a==1",
        ),
        (
            "  × No solution found:\n  ╰─▶ Because there is no version of a==1 and you require a==1, we can\n"
            "      conclude that your requirements are unsatisfiable.\n",
            "No solution found: Because there is no version of a==1 and you require a==1, we can conclude that your "
            "requirements are unsatisfiable",
        ),
        ("error: Failed to fetch\n  Caused by: no route\n", "error: Failed to fetch Caused by: no route"),
        ("", "it said nothing"),
    ],
)
def test_reason(said: str, reason: str) -> None:
    assert reason_of(said) == reason


def test_uv_is_used_if_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}")
    first, second = installing.commands(Path("/env/bin/python"), Path("/r.txt"))
    assert first == ["/bin/uv", "pip", "install", "--no-deps", "-r", "/r.txt", "--python", "/env/bin/python"]
    assert second[:6] == [sys.executable, "-I", "-m", "pip", "--python", "/env/bin/python"]
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert list(installing.commands(Path("/env/bin/python"), Path("/r.txt"))) == [second]
