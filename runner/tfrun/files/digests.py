"""SHA-256 digests: of a file, and of `preprocessing.json` by statistic and column.

Those of `preprocessing.json` are for the manifest of a checkpoint: they show what changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tfrun.files import strict_json

MODEL_FILES = "model_files"  # in the manifest of a checkpoint: the files that a model's architecture is read from

Digests = dict[str, str | dict[str, str]]


def digests(fields: Mapping[str, Any]) -> Digests:
    """Returns the digest of each field, or of each of its entries if it is a mapping, by column for example."""
    return {
        key: {name: _digest(item) for name, item in value.items()} if isinstance(value, dict) else _digest(value)
        for key, value in fields.items()
    }


def changed(saved: Mapping[str, Any], fields: Mapping[str, Any]) -> list[str]:
    """Returns the fields and entries that are not as they were: `means.age`, `task`.

    Fields that were not there then are left out: a later version of tfrun has added them.

    Args:
        saved: the digests.
        fields: the content of the file now.
    """
    paths = []
    now = digests(fields)
    for key, old in saved.items():
        new = now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            paths += [f"{key}.{name}" for name in {**old, **new} if old.get(name) != new.get(name)]
        elif old != new:
            paths.append(key)
    return paths


def file_sha256(path: Path) -> str:
    """Returns the SHA-256 of a file's contents, in hexadecimal. Raises OSError."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def of_files(paths: Iterable[str]) -> dict[str, str]:
    """Returns the SHA-256 of files by their paths. Raises OSError."""
    return {path: file_sha256(Path(path)) for path in paths}


def changed_files(saved: Mapping[str, str]) -> list[str]:
    """Returns the files that aren't as they were; those that are gone are left out, as who needs them says so."""
    return [path for path, digest in saved.items() if Path(path).is_file() and file_sha256(Path(path)) != digest]


def _digest(value: Any) -> str:
    return hashlib.sha256(strict_json.dumps(value, sort_keys=True).encode()).hexdigest()
