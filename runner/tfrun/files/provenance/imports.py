"""The modules that plugins import, found by reading their source: nothing is imported, so nothing is run."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterable, Iterator, Mapping

MAX_MODULES = 500
MAX_BYTES = 2**20  # of a module that is read


def follow(modules: Mapping[str, str], folder: str) -> dict[str, str]:
    """Returns name -> file of the modules that some modules import, directly or not, without these.

    Only modules that lie in a folder, or beside one of the given modules, count: others belong to Python or to a
    distribution, or can't be known without running the code.

    Args:
        modules: name -> file.
        folder: the current folder, where Python looks first.
    """
    files = dict(modules)
    waiting = list(files)
    while waiting and len(files) < len(modules) + MAX_MODULES:
        name = waiting.pop()
        for imported in _imports(name, files[name]):
            if imported not in files:
                for root in dict.fromkeys((folder, root_of(name, files[name]))):
                    file = _file(imported, root)
                    if file is not None:
                        files[imported] = file
                        waiting.append(imported)
                        break
    return {name: file for name, file in files.items() if name not in modules}


def root_of(name: str, file: str) -> str:
    """Returns the folder from which Python imports a module by its name."""
    is_package = os.path.basename(file) == "__init__.py"
    for _ in range(name.count(".") + 1 + is_package):
        file = os.path.dirname(file)
    return file


def _file(name: str, root: str) -> str | None:
    """Returns the file of a module or a package in a folder, or None."""
    path = os.path.join(root, *name.split("."))
    return next((file for file in (f"{path}{os.sep}__init__.py", f"{path}.py") if os.path.isfile(file)), None)


def _imports(name: str, file: str) -> Iterator[str]:
    """Yields the names of modules that a file may import; `from a import b` may mean a, and a.b."""
    try:
        if os.path.getsize(file) > MAX_BYTES:
            return
        with open(file, "rb") as opened:
            tree = ast.parse(opened.read(MAX_BYTES))
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return
    package = name if os.path.basename(file) == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from _with_parents(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(package, node)
            if base:
                yield from _with_parents([base, *(f"{base}.{alias.name}" for alias in node.names)])


def _absolute(package: str, node: ast.ImportFrom) -> str:
    """Returns the full name of what an import is from; empty if it leads out of the package."""
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    if node.level > len(parts):
        return ""
    return ".".join([*parts[: len(parts) - node.level + 1], *((node.module or "").split("."))]).strip(".")


def _with_parents(names: Iterable[str]) -> Iterator[str]:
    """Yields names after the packages that they are in, which Python imports too."""
    for name in names:
        parts = name.split(".")
        if all(part.isidentifier() for part in parts):
            yield from (".".join(parts[:k]) for k in range(1, len(parts) + 1))
