"""Errors that a person or the machine causes: one line for the person, and an exit code for scripts.

Anything else than a `TfrunError` is a bug and keeps its traceback.
"""

from __future__ import annotations

import contextlib
import difflib
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

# words that mean the same quoted and unquoted, for a shell as for Hydra
PLAIN = re.compile(r"(?!(?:null|true|false|nan|inf)$)[A-Za-z_][A-Za-z0-9_.-]*", re.IGNORECASE)


class TfrunError(Exception):
    """An error that is reported in one message, without a traceback; `details` are written to `run.json`."""

    exit_code = 1

    def __init__(self, message: str, **details: Any):
        super().__init__(message)
        self.details = details


class ConfigError(TfrunError):
    """The config or the command line is wrong."""

    exit_code = 2


class DataError(TfrunError):
    """The data can't be read, or doesn't fit the config."""

    exit_code = 3


class DivergedError(TfrunError):
    """The loss or the gradients stopped being finite."""

    exit_code = 4


class ResourceError(TfrunError):
    """The machine lacks something: disk, memory, a permission, a device."""

    exit_code = 5


class WorkerLostError(ResourceError):
    """Another worker of this run is gone. TensorFlow can't continue without it, so the process can only end."""


class CheckpointError(TfrunError):
    """No checkpoint is usable, or it belongs to something else."""

    exit_code = 6


class FolderInUseError(TfrunError):
    """Another process holds the run's folder."""

    exit_code = 7


class SweepError(TfrunError):
    """A sweep ended with failed trials."""

    exit_code = 8


class OtherResultsError(TfrunError):
    """A run was reproduced, with other results."""

    exit_code = 9


class Stopped(KeyboardInterrupt):
    """A signal arrived where nothing handles it yet, while TensorFlow is imported for example.

    Like Ctrl-C, it is no Exception, so that nobody catches it by mistake.
    """

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number


class Interrupted(TfrunError):
    """A signal ended the run, its state saved."""

    def __init__(self, signal_number: int, message: str):
        super().__init__(message)
        self.number = signal_number
        self.exit_code = 128 + signal_number


class LibraryChangedError(RuntimeError):
    """A library no longer has a private name that tfrun relies on: a bug of tfrun, which keeps its traceback.

    All such names stand in `engine/private.py`, `config/hydra_private.py` and `sweep/optuna_private.py`.
    """


def library_changed(library: str, name: str, *, use: str) -> LibraryChangedError:
    """Returns the error for a private name that is gone or means something else; `use` completes "needs it to"."""
    return LibraryChangedError(f"{library} changed {name}, and tfrun needs it to {use}")


def private_name(owner: Any, name: str, *, library: str, use: str) -> Any:
    """Returns a private attribute of a library's module, class or object. Raises LibraryChangedError if it is gone."""
    try:
        return getattr(owner, name)
    except AttributeError as error:
        where = getattr(owner, "__name__", type(owner).__name__)
        raise library_changed(library, f"{where}.{name}", use=use) from error


@contextlib.contextmanager
def private_imports(library: str) -> Iterator[None]:
    """Raises LibraryChangedError if a private module of a library, or a name in one, can't be imported."""
    try:
        yield
    except ImportError as error:
        raise LibraryChangedError(f"{library} changed {error.name}: {error}") from error


def some(names: Sequence[str], most: int = 6) -> str:
    """Returns the first few of several names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def near_miss(name: object, known: Iterable[str]) -> str:
    """Returns ` Did you mean 'x'?` if a known name is close to `name`, else an empty string."""
    by_lower = {other.lower(): other for other in known}
    close = difflib.get_close_matches(str(name).lower(), list(by_lower), n=1, cutoff=0.6)
    return f" Did you mean '{by_lower[close[0]]}'?" if close else ""


def as_typed(key: str, value: str | list[str] | dict[str, str]) -> str:
    """Returns the override `key=value` as it is typed in a shell, for messages that advise it: quoted where need be."""

    def quoted(text: str) -> str:
        escaped = re.sub(r'(\\*)("|$)', lambda end: end[1] * 2 + ("\\" + end[2] if end[2] else ""), text)
        return text if PLAIN.fullmatch(text) else f'"{escaped}"'

    if isinstance(value, dict):  # Hydra's grammar allows no quotes around the keys of a mapping
        names = {name: re.sub(r"([\\()\[\]{}:=, \t])", r"\\\1", name) for name in value}
        return shlex.quote(f"{key}={{{', '.join(f'{names[name]}: {text}' for name, text in value.items())}}}")
    texts = value if isinstance(value, list) else [value]
    written = ",".join(map(quoted, texts))
    word = f"{key}=[{written}]" if isinstance(value, list) else f"{key}={written}"
    return word if all(map(PLAIN.fullmatch, texts)) else shlex.quote(word)


def unknown(where: str, what: str, *, name: object, known: Iterable[str]) -> ConfigError:
    """Returns the error for an unknown name, with the known names and the near miss.

    Args:
        where: the config path.
        what: the noun for the name: `option`, `metric`.
        name: the name that isn't known.
        known: the names that are.
    """
    names = sorted(known)
    listed = ", ".join(names) or "none"
    return ConfigError(f"{where}: unknown {what}. Received: {name!r}. Known: {listed}.{near_miss(name, names)}")
