"""The folder in which a command was typed, for commands that work in another one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_code_in: list[Path] = []  # the folder of plugins, if `take_code_from` has been called
_typed_in: list[Path] = []  # the folder in which the command was typed, once `work_in` has left it


def work_in(folder: Path) -> None:
    """Makes a folder the current one; `typed` and `shown` keep to the folder in which the command was typed."""
    if not _typed_in:
        _typed_in.append(Path.cwd())
    os.chdir(folder)


def take_code_from(folder: Path) -> None:
    """Makes plugins be looked for in a folder, an absolute path, instead of in the current one."""
    _code_in[:] = [folder]


def code_folder() -> Path:
    """Returns the folder in which plugins are looked for first: the current one, except after `take_code_from`."""
    return _code_in[0] if _code_in else Path.cwd()


@contextlib.contextmanager
def returning_to_folder() -> Iterator[None]:
    """Makes the folder in which the command was typed the current one again, when the context is left."""
    try:
        yield
    finally:
        _code_in.clear()
        if _typed_in:
            os.chdir(_typed_in.pop())


def typed(path: str | Path) -> Path:
    """Returns a path that was typed as an absolute one."""
    return Path(*_typed_in, Path(path).expanduser()).absolute()


def shown(path: Path) -> str:
    """Returns a path as a person would type it."""
    folder = typed(".")
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)
