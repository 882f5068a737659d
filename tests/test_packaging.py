"""What is on disk is in setup.cfg and in the wheel."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tfrun import __version__

FOLDERS = {"runner": "tfrun", "components": "tfrun.components", "conf": "tfrun.conf"}


def setup_cfg(root: Path, key: str) -> list[str]:
    config = configparser.ConfigParser()
    config.read(root / "setup.cfg")
    return config["options"][key].split("\n")[1:]


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
    for folder in FOLDERS:
        shutil.copytree(root / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / file, source)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*command, "-w", out, source], check=True)
    return zipfile.ZipFile(out / f"tfrun-{__version__}-py3-none-any.whl")


def test_package_list_equals_the_folders(root: Path) -> None:
    assert setup_cfg(root, "package_dir") == [f"{package} = {folder}" for folder, package in FOLDERS.items()]
    on_disk = {path.removesuffix("/__init__.py").replace("/", ".") for path in in_package(root, "__init__.py")}
    assert sorted(setup_cfg(root, "packages")) == sorted(on_disk)


def test_every_folder_with_python_is_a_package(root: Path) -> None:
    folders = {file.parent for file in in_package(root, "*.py").values()}
    assert [folder for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []


@pytest.mark.parametrize("pattern", ["*.py", "*.yaml", "py.typed"])
def test_wheel_has_every_file(root: Path, wheel: zipfile.ZipFile, pattern: str) -> None:
    files = in_package(root, pattern)
    assert files
    assert sorted(set(files) - set(wheel.namelist())) == []


def test_wheel_has_nothing_else(root: Path, wheel: zipfile.ZipFile) -> None:
    top = {name.partition("/")[0] for name in wheel.namelist()}
    assert top == {"tfrun", f"tfrun-{__version__}.dist-info"}


def test_wheel_has_the_license(wheel: zipfile.ZipFile) -> None:
    assert any(name.endswith("licenses/LICENSE") for name in wheel.namelist())


@pytest.mark.parametrize("folder", ["runner", "components"])
def test_folder_is_refused_under_its_own_name(root: Path, folder: str) -> None:
    """Else a second registry would appear beside tfrun's."""
    command = [sys.executable, "-c", f"import {folder}"]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert result.returncode == 1
    assert f"ImportError: import it as '{FOLDERS[folder]}', not as '{folder}'" in result.stderr


@pytest.mark.wheel
def test_every_config_is_installed(root: Path) -> None:
    import tfrun.conf

    installed = Path(tfrun.conf.__file__).parent
    names = sorted(str(file.relative_to(root / "conf")) for file in (root / "conf").rglob("*.yaml"))
    assert sorted(str(file.relative_to(installed)) for file in installed.rglob("*.yaml")) == names
