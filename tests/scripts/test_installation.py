"""scripts/tfrun, which installs a checkout: what it says on the way. CI runs it for real."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

DOWNLOADING = """Collecting numpy>=2
  Using cached numpy-2.4.6-cp311-cp311-manylinux_2_27_x86_64.whl (16.5 MB)
Collecting tensorflow<2.22,>=2.21
  Downloading tensorflow-2.21.0-cp311-cp311-manylinux_2_27_x86_64.whl (572.4 MB)
"""
UNPACKING = DOWNLOADING + "Installing collected packages: wheel, numpy, tensorflow, tfrun\n"


@pytest.fixture
def checkout(root: Path, tmp_path: Path) -> Path:
    """What scripts/tfrun needs of a checkout, without .venv."""
    (tmp_path / "scripts").mkdir()
    for name in ("scripts/tfrun", "scripts/constraints.txt", "setup.cfg", "pyproject.toml"):
        shutil.copy(root / name, tmp_path / name)
    return tmp_path


def run(checkout: Path, command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a command in a shell that has the script's functions."""
    return subprocess.run(
        ["bash", "-c", f"source scripts/tfrun; {command}"],
        cwd=checkout,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ("Obtaining file:///home/me/tfrun\n", "looking for packages"),
        (DOWNLOADING, "3 of about 755 MB downloaded; now tensorflow-2.21.0 (572.4 MB)"),
        (UNPACKING, "12 of about 2700 MB unpacked"),
    ],
)
def test_how_far_pip_is(checkout: Path, log: str, expected: str) -> None:
    (checkout / ".venv-install.log").write_text(log)
    for folder, size in (("lib", 12_000_000), (".downloads", 3_000_000)):
        (checkout / ".venv" / folder).mkdir(parents=True)
        (checkout / ".venv" / folder / "file").write_bytes(bytes(size))
    assert run(checkout, "pip_step").stdout == f"{expected}\n"


def test_tab_installs_nothing(checkout: Path) -> None:
    result = subprocess.run(
        [checkout / "scripts/tfrun", "--shell-completion", "query=bash"], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert not (checkout / ".venv").exists()


def test_a_python_that_does_not_fit(checkout: Path) -> None:
    """Without uv it is an error; TFRUN_PYTHON is never replaced by another one."""
    other = checkout / "python"
    other.write_text("#!/bin/sh\nexit 1\n")
    other.chmod(0o755)
    for uv in ("", "/opt/uv"):
        result = run(checkout, f"choose_python '{uv}'", TFRUN_PYTHON=str(other))
        assert result.returncode == 5 and f"Received: {other}" in result.stderr


def test_uv_may_bring_a_python(checkout: Path) -> None:
    result = run(checkout, "find_python() { return 5; }; choose_python /opt/uv", TFRUN_PYTHON="")
    assert (result.returncode, result.stdout) == (0, ">=3.11,<3.14\n")


def test_uv_is_tried_before_pip(checkout: Path) -> None:
    """Stand-ins for both write down how they are called; uv fails, since it reads other settings of an index."""
    (checkout / ".venv/bin").mkdir(parents=True)
    for name, code in (("uv", 2), (".venv/bin/python", 0)):
        program = checkout / name
        program.write_text(f'#!/bin/sh\necho "{Path(name).name} $*" >>calls\nexit {code}\n')
        program.chmod(0o755)
    result = run(checkout, "cd $root; install_packages $root/uv '.[test]'")
    assert result.returncode == 0
    assert "uv couldn't install the packages; trying with pip" in result.stderr
    uv, pip = (checkout / "calls").read_text().splitlines()
    assert uv == f"uv pip install -c scripts/constraints.txt -e .[test] --python {checkout}/.venv/bin/python"
    assert pip.startswith("python -Im pip install -c scripts/constraints.txt -e .[test]")
    assert not (checkout / ".venv/.downloads").exists()
