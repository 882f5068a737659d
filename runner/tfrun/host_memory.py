"""How much memory this process may use: that of the machine, or less if a container limits it.

A container's limit is that of its control group, or of a group above it. See the kernel's documentation of control
groups, version 2 (`memory.max`) and version 1 (`memory.limit_in_bytes`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/")


@dataclass(frozen=True)
class _Version:
    """The names of one version of control groups.

    Attributes:
        mounted: the folder of all groups, from the root on.
        limit, used: the files with the number of bytes.
        cached: the lines of `memory.stat` with the bytes of files, which the kernel drops when memory is needed.
    """

    mounted: str
    limit: str
    used: str
    cached: tuple[str, ...]


SECOND = _Version("sys/fs/cgroup", "memory.max", "memory.current", ("inactive_file", "active_file"))
FIRST = _Version(
    "sys/fs/cgroup/memory",
    "memory.limit_in_bytes",
    "memory.usage_in_bytes",
    ("total_inactive_file", "total_active_file"),
)


def free_bytes(root: Path = ROOT) -> float:
    """Returns the free memory: the least of what the kernel reports and what each control group leaves.

    It is inf if nothing is known about it. Tests pass another root folder.
    """
    return min([_of_machine(root, "MemAvailable"), *(_left(*group) for group in _groups(root))])


def data_bytes() -> float:
    """Returns how much of the memory data may use: half of what is free, or less if `data_limit` is."""
    return min(0.5 * free_bytes(), data_limit())


def data_limit() -> float:
    """Returns the bytes that TFRUN_DATA_MEMORY allows for data; inf if it isn't set, or isn't a number."""
    try:
        return float(os.environ.get("TFRUN_DATA_MEMORY") or "inf")
    except ValueError:
        return float("inf")


def machine_bytes(root: Path = ROOT) -> float:
    """Returns the memory of the machine, whatever a container may use of it; inf if it isn't known."""
    return _of_machine(root, "MemTotal")


def total_bytes(root: Path = ROOT) -> float:
    """Returns the memory that the process could have if nothing else needed any; inf if it isn't known."""
    limits = [_number(folder / version.limit) for folder, version in _groups(root)]
    return min(machine_bytes(root), *limits, float("inf"))


def _of_machine(root: Path, name: str) -> float:
    values = [line.split()[1] for line in _lines(root / "proc/meminfo") if line.startswith(f"{name}:")]
    return 1024.0 * int(values[0]) if values else float("inf")


def _groups(root: Path) -> Iterator[tuple[Path, _Version]]:
    """Yields the folders of this process' control group and of all groups above it.

    Within a container, the folders often begin at the container's own group, whatever the path says. Folders that
    aren't there limit nothing.
    """
    for line in _lines(root / "proc/self/cgroup"):
        number, controllers, path = line.split(":", 2)
        version = FIRST if "memory" in controllers.split(",") else SECOND if number == "0" else None
        if version is None:
            continue
        group = Path(path.lstrip("/"))
        yield from ((root / version.mounted / folder, version) for folder in (group, *group.parents))


def _left(folder: Path, version: _Version) -> float:
    """Returns how much of a group's limit is left; the kernel's cache of files counts as free, as in MemAvailable."""
    stat = dict(line.split(maxsplit=1) for line in _lines(folder / "memory.stat"))
    cached = sum(int(stat.get(key, 0)) for key in version.cached)
    used = _number(folder / version.used)
    return max(0.0, _number(folder / version.limit) - (0.0 if used == float("inf") else used - cached))


def _number(file: Path) -> float:
    """Returns the number in a file; inf for `max`, or if the file isn't there."""
    text = "".join(_lines(file)).strip()
    return float(text) if text.isdigit() else float("inf")


def _lines(file: Path) -> list[str]:
    """Returns a file's lines; none if it can't be read."""
    try:
        return file.read_text().splitlines()
    except OSError:
        return []
