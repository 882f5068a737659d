"""Reads the provenance of a run, and says what differs between two."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfrun.errors import CheckpointError
from tfrun.files import json_files

FOLDER = "provenance"  # in the folder of a run or a sweep
FIRST = "provenance.json"
RESUMED = re.compile(r"resumed-([1-9][0-9]*)\.json")
MAX_BYTES = 32 * 2**20  # of a record; a thousand packages take 100 kB


@dataclass(frozen=True)
class Patch:
    """The changes of tracked files.

    Attributes:
        file: the patch, which `git apply` takes; None if it was left out.
        sha256: of the file.
        why_no_file: why it was left out.
    """

    file: Path | None
    sha256: str | None
    why_no_file: str | None


@dataclass(frozen=True)
class Git:
    """The repository that a run was started in.

    Attributes:
        root: its top folder, then.
        commit: that was checked out.
        branch: None if none was.
        remote: where it is from, without user and password.
        is_dirty: whether tracked files had changes.
        submodules: path -> commit and whether it had changes; None for one that wasn't checked out.
        patch: None if nothing had changed.
    """

    root: str
    commit: str
    branch: str | None
    remote: str | None
    is_dirty: bool
    submodules: Mapping[str, Mapping[str, Any] | None]
    patch: Patch | None


@dataclass(frozen=True)
class Package:
    """An installed distribution.

    Attributes:
        origin: None if it is from an index of packages; otherwise `editable` or `folder` with a path, `git` (or
            another system) with an address and the `commit`, or `archive` with an address and its `sha256`.
    """

    name: str
    version: str | None
    origin: Mapping[str, Any] | None


@dataclass(frozen=True)
class SourceFile:
    """A file of a plugin or a config.

    Attributes:
        kind: `plugin`, `import` (of a plugin), or `config`.
        name: of the module, or of the file as seen from its folder of configs.
        path: where it was.
        root: the folder from which Python or Hydra found it.
        sha256: None if it wasn't read.
        git: `committed`, `changed`, `untracked`, `ignored`, `outside` of the repository, or `installed`.
        copy: the copy, if it was made.
        why_no_copy: why not, if git doesn't have it either.
    """

    kind: str
    name: str
    path: str
    root: str
    sha256: str | None
    git: str
    copy: Path | None
    why_no_copy: str | None


@dataclass(frozen=True)
class Provenance:
    """The record of what a run was made from.

    Attributes:
        file: the JSON file that says it.
        at: when, ISO 8601.
        folder: the current folder of the command.
        tfrun: its `version`, `folder` and, from a checkout, `git`.
        git: None outside of a repository, or if git refused.
        python: `version`, `implementation`, `executable`, `optimize`.
        packages: the installed distributions by name.
        machine: as `machine.read_machine` returns it.
        environment: the variables of `environment.NAMES` that were set.
        files: of plugins and configs.
        has_configs: whether folders of configs were looked at; not if a single run was resumed.
        left_out: what could not be recorded, and why.
    """

    file: Path
    at: str
    folder: str
    tfrun: Mapping[str, Any]
    git: Git | None
    python: Mapping[str, Any]
    packages: Mapping[str, Package]
    machine: Mapping[str, Any]
    environment: Mapping[str, str]
    files: tuple[SourceFile, ...]
    has_configs: bool
    left_out: tuple[tuple[str, str], ...]

    @property
    def other_packages(self) -> dict[str, Package]:
        """The packages without tfrun, which is compared as code."""
        return _without(self.packages, "tfrun")


@dataclass(frozen=True)
class Difference:
    """Something that two records don't agree on.

    Attributes:
        aspect: `code`, `patch`, `sources`, `packages`, `python`, `machine` or `environment`.
        name: of what differs, a package for example.
        before: None if it wasn't there.
        after: None if it isn't there.
    """

    aspect: str
    name: str
    before: Any
    after: Any


def read(run: Path) -> Provenance | None:
    """Returns the record of a run: its own, or else that of the sweep that it is a job of; None for earlier versions.

    Raises:
        CheckpointError: it is damaged.
    """
    for folder in _folders(run):
        if (folder / FOLDER / FIRST).exists():
            return read_file(folder / FOLDER / FIRST)
    return None


def read_resumed(run: Path) -> list[Provenance]:
    """Returns the records of a run's resumes that found something changed, the oldest first.

    A job has those of its sweep, and then its own.

    Raises:
        CheckpointError: one is damaged.
    """
    records = []
    for folder in reversed(_folders(run)):
        numbers = sorted(int(match[1]) for path in _files(folder) if (match := RESUMED.fullmatch(path.name)))
        records += [read_file(folder / FOLDER / f"resumed-{number}.json") for number in numbers]
    return records


def newest(run: Path) -> Provenance | None:
    """Returns the record of a run's last start that found something changed, or None. Raises CheckpointError."""
    resumed = read_resumed(run)
    return resumed[-1] if resumed else read(run)


def next_name(folder: Path) -> str:
    """Returns the name, without `.json`, of the next record of a resume: `resumed-1` for example."""
    numbers = [int(match[1]) for path in _files(folder) if (match := RESUMED.fullmatch(path.name))]
    return f"resumed-{max(numbers, default=0) + 1}"


def read_file(file: Path) -> Provenance:
    """Returns the record in a JSON file. Raises CheckpointError if it is damaged, a link, or far too large."""
    try:
        status = os.lstat(file)
    except OSError as error:
        raise CheckpointError(f"{file}: can't be read: {error.strerror}") from None
    if file.parent.is_symlink() or not stat.S_ISREG(status.st_mode):
        raise CheckpointError(f"{file}: is no file in the run's folder, and isn't read")
    if status.st_size > MAX_BYTES:
        raise CheckpointError(f"{file}: has {status.st_size:,} bytes, and isn't a record of tfrun")
    fields = json_files.read_object(file)
    try:
        _check_kinds(fields)
        return from_fields(fields, file)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise CheckpointError(f"{file}: is damaged, or not of a run of tfrun: {error!r}") from None


def from_fields(fields: Mapping[str, Any], file: Path) -> Provenance:
    """Returns the record that the fields of a JSON file describe."""

    def path(name: str | None) -> Path | None:
        return None if name is None else _inside(file.parent, name)

    def git(entry: Mapping[str, Any]) -> Git:
        patch = entry["patch"]
        return Git(
            root=entry["root"],
            commit=entry["commit"],
            branch=entry["branch"],
            remote=entry["remote"],
            is_dirty=entry["dirty"],
            submodules=dict(entry["submodules"]),
            patch=None if patch is None else Patch(path(patch["copy"]), patch["sha256"], patch["why_no_copy"]),
        )

    files = (
        SourceFile(**{**entry, "root": fields["roots"][entry["root"]], "copy": path(entry["copy"])})
        for entry in fields["files"]
    )
    return Provenance(
        file=file,
        at=fields["at"],
        folder=fields["folder"],
        tfrun=dict(fields["tfrun"]),
        git=None if fields["git"] is None else git(fields["git"]),
        python=dict(fields["python"]),
        packages={entry["name"]: Package(**entry) for entry in fields["packages"]},
        machine=dict(fields["machine"]),
        environment=dict(fields["environment"]),
        files=tuple(files),
        has_configs=bool(fields["has_configs"]),
        left_out=tuple((entry["what"], entry["why"]) for entry in fields["left_out"]),
    )


def _check_kinds(fields: Mapping[str, Any]) -> None:
    """Raises ValueError if an entry isn't of the kind that is compared and shown."""
    git = fields["git"]
    texts = [
        fields["at"],
        fields["folder"],
        fields["tfrun"]["version"],
        *fields["roots"],
        *fields["environment"].values(),
    ]
    texts += [git["root"], git["commit"]] if git is not None else []
    texts += [entry["name"] for entry in fields["packages"]]
    texts += [entry[key] for entry in fields["files"] for key in ("kind", "name", "path", "git")]
    texts += [entry[key] for entry in fields["left_out"] for key in ("what", "why")]
    optional = [entry["version"] for entry in fields["packages"]]
    optional += [entry[key] for entry in fields["files"] for key in ("sha256", "copy", "why_no_copy")]
    patch = None if git is None else git["patch"]
    optional += [patch[key] for key in ("copy", "sha256", "why_no_copy")] if patch is not None else []
    mappings = [entry["origin"] for entry in fields["packages"]] + [fields["tfrun"]["git"], git, patch]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("a text is expected")
    if not all(isinstance(text, str | None) for text in optional):
        raise ValueError("a text or null is expected")
    if not all(isinstance(mapping, dict | None) for mapping in mappings):
        raise ValueError("a mapping or null is expected")


def differences(before: Provenance, after: Provenance) -> list[Difference]:
    """Returns what differs between two records; empty if a run would be made from the same.

    Where it was started and how much memory is free don't count. Folders of configs are compared only if both records
    have looked at them, and a patch that one of them has left out is compared with nothing.
    """
    aspects: tuple[tuple[str, Callable[[Provenance], Mapping[str, Any]]], ...] = (
        ("code", _code),
        ("packages", _packages),
        ("python", lambda record: _without(record.python, "executable")),
        ("machine", lambda record: record.machine),
        ("environment", lambda record: record.environment),
    )
    result = [item for aspect, part in aspects for item in _compared(aspect, part(before), part(after))]
    with_configs = before.has_configs and after.has_configs
    result += _compared("sources", _sources(before, with_configs), _sources(after, with_configs))
    result += _compared("patch", _patch(before, after), _patch(after, before))
    return result


def _compared(aspect: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Difference]:
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            yield Difference(aspect, name, before.get(name), after.get(name))


def _code(record: Provenance) -> dict[str, Any]:
    """Returns the commits of the repository, of its submodules, and of tfrun itself."""
    commits: dict[str, Any] = {"tfrun": (record.tfrun["version"], record.tfrun["git"])}
    if record.git is not None:
        commits["commit"] = record.git.commit
        commits |= {f"submodule {path}": commit for path, commit in record.git.submodules.items()}
    return commits


def _patch(record: Provenance, other: Provenance) -> dict[str, Any]:
    """Returns the hash of the patch; "changed" if one of both records has changes without a patch."""
    is_known = all(one.git is None or not one.git.patch or one.git.patch.sha256 for one in (record, other))
    if record.git is None or record.git.patch is None:
        return {}
    return {"patch": record.git.patch.sha256 if is_known else "changed"}


def _packages(record: Provenance) -> dict[str, Any]:
    """Returns version and origin of the other packages by name."""
    return {name: (package.version, package.origin) for name, package in record.other_packages.items()}


def _sources(record: Provenance, with_configs: bool) -> dict[str, Any]:
    """Returns the hashes of files by kind and name; two folders may have configs of one name."""
    hashes: dict[str, Any] = {}
    for file in record.files:
        if with_configs or file.kind != "config":
            name, k = f"{file.kind} {file.name}", 2
            while name in hashes:
                name, k = f"{file.kind} {file.name} ({k})", k + 1
            hashes[name] = file.sha256
    return hashes


def _without(fields: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key != name}


def _folders(run: Path) -> list[Path]:
    """Returns the folder of a run, and that of the sweep that it is a job of."""
    is_job = run.name.isdecimal() and (run.parent / "trials.jsonl").exists()
    return [run, run.parent] if is_job else [run]


def _files(folder: Path) -> list[Path]:
    return list((folder / FOLDER).glob("resumed-*.json"))


def _inside(folder: Path, name: str) -> Path:
    """Returns a file of the folder. Raises ValueError for a name that leads out of it, or through a link."""
    path = folder / name
    if (
        Path(name).is_absolute()
        or ".." in Path(name).parts
        or any(p.is_symlink() for p in (path, *path.parents) if p.is_relative_to(folder))
    ):
        raise ValueError(f"{name!r} leads out of the folder")
    return path
