"""Finds the modules of plugins without importing them."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

from tfrun.errors import ConfigError, near_miss
from tfrun.folders import code_folder
from tfrun.streams import complain

ENTRY_POINT_GROUP = "tfrun.plugins"


@dataclass(frozen=True)
class Module:
    """A .py file and the name that Python imports it by."""

    name: str
    file: Path


@dataclass(frozen=True)
class Plugins:
    """The modules that plugins add, and their `conf/` folders for Hydra's search path."""

    modules: tuple[Module, ...]
    config_dirs: tuple[Path, ...]


def find_plugins(names: Sequence[str]) -> Plugins:
    """Finds the modules of the named plugins and of installed entry points; a package stands for all its files.

    Raises:
        ConfigError: a module that `plugins` names isn't there.
    """
    modules: dict[Path, Module] = {}
    config_dirs = []
    shipped = [*shipped_folders("components"), *shipped_folders("conf")] if names else []
    for name in names:
        location = _locate(name)
        if location is not None and location.resolve() in shipped:
            raise ConfigError(f"plugins: the components in {location} are always there. Received: {name!r}")
        if location is None:
            folder = Path.cwd()
            packages = {init.parent for init in folder.glob("*/__init__.py") if init.parent.resolve() not in shipped}
            known = sorted({file.stem for file in folder.glob("*.py")} | {package.name for package in packages})
            raise ConfigError(
                f"plugins: no module named {name!r} in {folder} or among the installed packages. "
                f"Known here: {', '.join(known) or 'none'}.{near_miss(name, known)}"
            )
        modules.update((module.file, module) for module in _modules(name, location))
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        name = entry.value.partition(":")[0].strip()
        location = _locate(name)
        if location is None:
            complain(f"warning: entry point {entry.name!r} of {ENTRY_POINT_GROUP}: no module {name!r}")
            continue
        modules.update((module.file, module) for module in _modules(name, location))
        if (location / "conf").is_dir():
            config_dirs.append(location / "conf")
    return Plugins(tuple(modules.values()), tuple(config_dirs))


def package_modules(name: str, folder: Path) -> Iterator[Module]:
    """Yields every .py file of a package, sub-packages included, in a fixed order."""
    for file in sorted(folder.rglob("*.py")):
        parts = file.relative_to(folder).with_suffix("").parts
        if all(part.isidentifier() for part in parts):
            yield Module(".".join([name, *parts]).removesuffix(".__init__"), file)


def make_importable() -> None:
    """Puts the folder of plugins first on Python's path, as `python -m` does with the current one."""
    folder = str(code_folder())
    if folder not in sys.path or (code_folder() != Path.cwd() and sys.path[0] != folder):
        sys.path.insert(0, folder)


def _modules(name: str, location: Path) -> Iterator[Module]:
    return package_modules(name, location) if location.is_dir() else iter([Module(name, location)])


def shipped_folders(package: str) -> list[Path]:
    """Returns the folders of `components` or `conf` that ship; in a checkout those that people edit, not the links."""
    spec = importlib.util.find_spec(f"tfrun.{package}")
    return [Path(folder).resolve() for folder in (spec and spec.submodule_search_locations) or ()]


def _locate(name: str) -> Path | None:
    """Returns the file of a module or the folder of a package, the current folder first; nothing is imported."""
    top, *rest = name.split(".")
    if not all(part.isidentifier() for part in (top, *rest)):
        return None
    paths = [str(code_folder()), *sys.path]
    spec = importlib.machinery.PathFinder.find_spec(top, paths) or _editable(top)
    if spec is None:
        return None
    if spec.submodule_search_locations is None:
        return Path(spec.origin) if not rest and spec.origin and spec.origin.endswith(".py") else None
    for folder in spec.submodule_search_locations:
        location = Path(folder, *rest)
        if location.is_dir():
            return location
        if location.with_suffix(".py").is_file():
            return location.with_suffix(".py")
    return None


def _editable(top: str) -> importlib.machinery.ModuleSpec | None:
    """Finds what only an import hook knows, as with editable installs. A top-level name imports nothing."""
    try:
        return importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
