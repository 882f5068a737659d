"""The files of plugins and configs: what they were, and copies of those that git doesn't have."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tfrun.files.masking import has_secrets
from tfrun.files.provenance.git import WorkTree
from tfrun.files.provenance.imports import follow, root_of

MAX_FILE_BYTES = 2**20  # of a copy
MAX_BYTES = 10 * 2**20  # of all copies
MAX_HASHED_BYTES = 64 * 2**20  # of a file whose hash is computed
MAX_FILES = 2000
MAX_VISITED = 50_000  # files and folders that are looked at in folders of configs
HAS_SECRETS = "it has an address with a user or a password"
CONFIG_SUFFIXES = (".yaml", ".yml")
NO_CONFIGS = ("outputs", "multirun", "site-packages", "node_modules")  # folders that hold others' YAML files

COMMITTED, CHANGED, UNTRACKED, IGNORED, OUTSIDE, INSTALLED = (
    "committed",
    "changed",
    "untracked",
    "ignored",
    "outside",
    "installed",
)


@dataclass(frozen=True)
class Wanted:
    """A file to be recorded.

    Attributes:
        kind: `plugin`, `import` (of a plugin), or `config`.
        name: of the module, or of the file as seen from its folder.
        path: absolute.
        root: the folder that it is found in: Python's, or Hydra's.
    """

    kind: str
    name: str
    path: str
    root: str


class Sources:
    """Collects the entries of files, and the contents of those that are copied.

    Args:
        tree: what git knows; None without git.
        installed: folders of installed distributions.
        copies_changed: whether files with changes are copied too, because there is no patch with them.
        is_asked: whether files are copied at all.

    Attributes:
        entries: for `provenance.json`; `copy` is the number of a content, or None.
        roots: the folders that entries are found in, the current one first.
        contents: of the copies.
    """

    def __init__(
        self, folder: str, tree: WorkTree | None, *, installed: Sequence[str], copies_changed: bool, is_asked: bool
    ):
        self.entries: list[dict[str, Any]] = []
        self.roots = [folder]
        self.contents: list[bytes] = []
        self._tree = tree
        self._installed = [os.path.realpath(path) for path in installed]
        self._copied = {UNTRACKED, IGNORED, OUTSIDE, *([CHANGED] if copies_changed else [])}
        self._is_asked = is_asked
        self._left = MAX_BYTES

    def add(self, files: Sequence[Wanted]) -> None:
        """Adds files, each once."""
        unique = list({file.path: file for file in reversed(files)}.values())[::-1]
        states = self._states([file.path for file in unique])
        for file in unique:
            root = self._root(file)
            digest, content, why = _read(file.path, root)
            state = states[file.path]
            entry = {
                "kind": file.kind,
                "name": file.name,
                "path": file.path,
                "root": self.roots.index(root),
                "sha256": digest,
                "git": state,
                "copy": None,
                "why_no_copy": None,
            }
            if state in self._copied:
                entry |= self._copy(content, why)
            self.entries.append(entry)

    def _root(self, file: Wanted) -> str:
        """Returns the folder that a file is seen from: the current one if it is in there."""
        root = next((root for root in self.roots if _is_inside(file.path, root)), file.root)
        if root not in self.roots:
            self.roots.append(root)
        return root

    def _copy(self, content: bytes | None, why: str | None) -> dict[str, Any]:
        if not self._is_asked:
            return {"why_no_copy": "provenance.sources=false"}
        if content is None:
            return {"why_no_copy": why}
        if has_secrets(content):
            return {"why_no_copy": HAS_SECRETS}
        if len(content) > self._left:
            return {"why_no_copy": f"all copies would have more than {MAX_BYTES:,} bytes"}
        self._left -= len(content)
        self.contents.append(content)
        return {"copy": len(self.contents) - 1}

    def _states(self, paths: Sequence[str]) -> dict[str, str]:
        """Returns what git has of each file."""
        states, untracked = {}, {}
        for path in paths:
            real = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
            if any(_is_inside(real, folder) for folder in self._installed):
                states[path] = INSTALLED
                continue
            states[path] = OUTSIDE
            tree = self._tree
            if tree is None or not _is_inside(real, tree.root):
                continue
            seen = os.path.relpath(real, tree.root)
            if seen in tree.tracked:
                is_same = tree.changed is not None and seen not in tree.changed
                states[path] = COMMITTED if is_same else CHANGED
            elif not any(seen.startswith(f"{module}{os.sep}") for module in tree.submodules):
                untracked[path] = seen
        ignored = self._tree.ignored(list(untracked.values())) if self._tree else set()
        return states | {path: IGNORED if seen in ignored else UNTRACKED for path, seen in untracked.items()}


def modules(given: Sequence[tuple[str, str]], folder: str) -> list[Wanted]:
    """Returns the modules of plugins, and those that they import.

    Args:
        given: name and file of each module.
        folder: the current folder.
    """
    imported = follow(dict(given), folder)
    wanted = [Wanted("plugin", name, file, root_of(name, file)) for name, file in given]
    return wanted + [Wanted("import", name, file, root_of(name, file)) for name, file in sorted(imported.items())]


def configs(folders: Sequence[str]) -> tuple[list[Wanted], str | None]:
    """Returns the YAML files in folders of configs, and what was left out, if anything."""
    wanted: list[Wanted] = []
    for count, (root, path) in enumerate(_walk(folders)):
        if count >= MAX_VISITED or len(wanted) >= MAX_FILES:
            return wanted, f"the folders of configs have more than {MAX_FILES:,} files, or {MAX_VISITED:,} of any kind"
        if path.endswith(CONFIG_SUFFIXES):
            wanted.append(Wanted("config", os.path.relpath(path, root), path, root))
    return wanted, None


def _walk(folders: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yields folder and path of everything in folders; links to folders aren't followed."""
    for root in folders:
        for above, names, files in os.walk(root):
            names[:] = sorted(name for name in names if name[:1] != "." and name not in NO_CONFIGS)
            yield from ((root, os.path.join(above, name)) for name in [*sorted(files), *names])


def _is_inside(path: str, folder: str) -> bool:
    return path.startswith(folder.rstrip(os.sep) + os.sep)


def _read(path: str, root: str) -> tuple[str | None, bytes | None, str | None]:
    """Returns a file's SHA-256, its content if it is small enough for a copy, and why either is missing."""
    if not _is_inside(os.path.realpath(path), os.path.realpath(root)):
        return None, None, "a link leads out of the folder"
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                return None, None, "no regular file"
            if status.st_size > MAX_HASHED_BYTES:
                return None, None, f"it has more than {MAX_FILE_BYTES:,} bytes"
            content = file.read(MAX_FILE_BYTES + 1)
            digest = hashlib.sha256(content)
            if len(content) <= MAX_FILE_BYTES:
                return digest.hexdigest(), content, None
            while piece := file.read(2**20):
                digest.update(piece)
            return digest.hexdigest(), None, f"it has more than {MAX_FILE_BYTES:,} bytes"
    except OSError as error:
        return None, None, f"can't be read: {error.strerror}"
