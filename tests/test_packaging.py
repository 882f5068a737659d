"""What is on disk is in the wheel."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tfrun import __version__

FOLDERS = {"runner/tfrun": "tfrun", "components": "tfrun.components", "conf": "tfrun.conf"}


def in_package(root: Path, pattern: str) -> dict[str, Path]:
    """Maps the path inside the wheel to the file on disk."""
    return {
        f"{package.replace('.', '/')}/{file.relative_to(root / folder).as_posix()}": file
        for folder, package in FOLDERS.items()
        for file in (root / folder).rglob(pattern)
    }


@pytest.fixture(scope="session")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The built wheel. A copy is built: setuptools would leave build/ in the checkout and take old files from it."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for folder in ("runner", "components", "conf"):
        ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(root / folder, source / folder, symlinks=True, ignore=ignore)
    for file in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / file, source)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*command, "-w", out, source], check=True)
    return zipfile.ZipFile(out / f"tfrun-{__version__}-py3-none-any.whl")


def test_every_folder_with_python_is_a_package(root: Path) -> None:
    folders = {file.parent for file in in_package(root, "*.py").values()}
    assert [folder for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []


@pytest.mark.parametrize("pattern", ["*.py", "*.yaml", "*.template", "py.typed"])
def test_wheel_has_every_file(root: Path, wheel: zipfile.ZipFile, pattern: str) -> None:
    files = in_package(root, pattern)
    assert files
    assert sorted(set(files) - set(wheel.namelist())) == []


def test_wheel_has_nothing_else(root: Path, wheel: zipfile.ZipFile) -> None:
    top = {name.partition("/")[0] for name in wheel.namelist()}
    assert top == {"tfrun", f"tfrun-{__version__}.dist-info"}


def test_wheel_has_the_license(wheel: zipfile.ZipFile) -> None:
    assert any(name.endswith("licenses/LICENSE") for name in wheel.namelist())


def test_components_are_refused_under_their_folders_name(root: Path) -> None:
    """Else a second registry would appear beside tfrun's."""
    result = subprocess.run([sys.executable, "-c", "import components"], cwd=root, capture_output=True, text=True)
    assert result.returncode == 1
    assert "ImportError: import it as 'tfrun.components', not as 'components'" in result.stderr


@pytest.mark.wheel
def test_every_config_is_installed(root: Path) -> None:
    import tfrun.conf

    installed = Path(tfrun.conf.__file__).parent
    names = sorted(str(file.relative_to(root / "conf")) for file in (root / "conf").rglob("*.yaml"))
    assert sorted(str(file.relative_to(installed)) for file in installed.rglob("*.yaml")) == names
