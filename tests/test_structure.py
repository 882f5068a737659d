"""The arrows: who may import whom, and where TensorFlow lives."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

TENSORFLOW = ("tensorflow", "keras")
PACKAGE = "runner/tfrun"
TENSORFLOW_IN_DATA = ("data/preprocessing.py",)
CONFIG = ("tfrun.cli", "tfrun.commands", "tfrun.config.compose", "hydra", "omegaconf")  # it stops above the engine


def files(root: Path, folder: str, outside: tuple[str, ...] = ()) -> list[Path]:
    """Returns the Python files of a folder; links are not followed, and `outside` names what is left out of it."""
    skipped = [root / folder / path for path in outside]
    return [
        file for file in sorted((root / folder).rglob("*.py")) if not any(file.is_relative_to(path) for path in skipped)
    ]


def nodes(node: ast.AST, in_functions: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if in_functions or not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield child
            yield from nodes(child, in_functions)


def imports(file: Path, in_functions: bool = True) -> Iterator[tuple[str, int]]:
    """Yields the dotted names that a file imports, with their lines; `from a import b` is both a and a.b."""
    for node in nodes(ast.parse(file.read_text()), in_functions):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            yield base, node.lineno
            yield from ((f"{base}.{alias.name}", node.lineno) for alias in node.names)


def offences(paths: list[Path], forbidden: tuple[str, ...], in_functions: bool = True) -> list[str]:
    assert paths
    return sorted(
        {
            f"{path}:{line} imports {name}"
            for path in paths
            for name, line in imports(path, in_functions)
            if any(name == prefix or name.startswith(f"{prefix}.") for prefix in forbidden)
        }
    )


def test_tensorflow_lives_in_the_engine_and_the_components(root: Path) -> None:
    rooms = ("engine", "sweep", "components", *TENSORFLOW_IN_DATA)
    assert offences(files(root, PACKAGE, outside=rooms), TENSORFLOW) == []


def test_sweep_imports_tensorflow_only_inside_functions(root: Path) -> None:
    assert offences(files(root, f"{PACKAGE}/sweep"), TENSORFLOW, in_functions=False) == []


def test_only_functions_reach_into_the_engine(root: Path) -> None:
    outside = files(root, PACKAGE, outside=("engine", "components", *TENSORFLOW_IN_DATA))
    assert offences(outside, ("tfrun.engine",), in_functions=False) == []


def test_engine_knows_no_config_system(root: Path) -> None:
    assert offences(files(root, f"{PACKAGE}/engine"), CONFIG) == []


def test_components_know_neither_the_engine_nor_the_command_line(root: Path) -> None:
    assert offences(files(root, "components"), ("tfrun.engine", *CONFIG)) == []


def test_datasets_need_no_tensorflow(root: Path) -> None:
    assert offences(files(root, "components/datasets"), TENSORFLOW) == []


@pytest.mark.parametrize("folder", [PACKAGE, "components", "conf", "tests"])
def test_imports_are_absolute_and_by_the_installed_name(root: Path, folder: str) -> None:
    paths = files(root, folder)
    assert offences(paths, ("runner", "components", "conf")) == []
    assert [f"{path}:{line}" for path in paths for name, line in imports(path) if name.startswith(".")] == []


def test_no_file_means_nothing(root: Path) -> None:
    assert [file for file in [*files(root, PACKAGE), *files(root, "components")] if file.name == "utils.py"] == []


def test_keras_names_are_unique(root: Path) -> None:
    """Keras lets the later of two classes of one registered name replace the earlier silently."""
    names = [
        f"{ast.unparse(decorator)} {node.name}"
        for file in files(root, "components")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ClassDef)
        for decorator in node.decorator_list
        if "register_keras_serializable" in ast.unparse(decorator)
    ]
    assert sorted(name for name in set(names) if names.count(name) > 1) == []


def loaded_after_importing(names: list[str]) -> str:
    code = f"import importlib, sys\nfor name in {names}: importlib.import_module(name)\n"
    code += f"print(*(name for name in {TENSORFLOW} if name in sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def module_names(root: Path, folder: str, package: str, outside: tuple[str, ...] = ()) -> list[str]:
    paths = [file.relative_to(root / folder).with_suffix("") for file in files(root, folder, outside)]
    names = [".".join((package, *path.parts)).removesuffix(".__init__") for path in paths]
    return [name for name in names if not name.endswith("__main__")]


@pytest.mark.wheel
def test_importing_tfrun_loads_no_tensorflow(root: Path) -> None:
    names = module_names(root, PACKAGE, "tfrun", outside=("engine", *TENSORFLOW_IN_DATA))
    assert loaded_after_importing(["tfrun.components", "tfrun.conf", *names]) == ""


@pytest.mark.wheel
def test_importing_the_datasets_loads_no_tensorflow(root: Path) -> None:
    assert loaded_after_importing(module_names(root, "components/datasets", "tfrun.components.datasets")) == ""


def test_the_engine_comes_without_scikit_learn_which_can_still_be_imported() -> None:
    code = "import sys\nfrom tfrun.load_engine import engine\nwith engine(None): pass\n"
    code += "assert 'keras' in sys.modules and 'sklearn' not in sys.modules\nimport sklearn.datasets"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr


def test_each_promise_has_its_test(root: Path) -> None:
    """docs/guarantees.md names tests that are there."""
    sources = {path.name: path.read_text() for path in (root / "tests").rglob("test_*.py")}
    name = ""
    found = re.findall(r"`(test_\w+\.py)?(?:::(test_\w+))?`", (root / "docs" / "guarantees.md").read_text())
    named = [pair for pair in found if any(pair)]
    assert len(named) > 12
    for file, function in named:
        name = file or name
        assert name in sources
        assert not function or f"def {function}(" in sources[name], function
