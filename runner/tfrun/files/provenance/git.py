"""Reads what git knows of a folder, without running any program that the repository names.

A repository that someone else has made may name programs in its config and its attributes: hooks, filters, monitors of
the file system, drivers that show or compare files. All of them are turned off for every command here, and submodules,
which have configs of their own, are never entered by the git of the repository above them.
"""

from __future__ import annotations

import functools
import os
import re
import stat
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tfrun.files.masking import masked

MAX_PATCH_BYTES = 10 * 2**20
MAX_COMPARED_BYTES = 32 * 2**20  # of the changed files, before and now; git needs a multiple of it as memory
MAX_CHANGED = 10_000  # files
MAX_LISTING_BYTES = 64 * 2**20
MAX_SUBMODULES = 50
SECONDS = 15.0  # for one command
WRITE_SECONDS = 300.0  # for one that writes all files of a commit

# Settings of git, which win over those of the repository.
HARMLESS = {
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "safe.bareRepository": "explicit",
    "status.submoduleSummary": "false",
}
PLAIN_PATCH = {  # so that the patch is one that `git apply` takes, whatever a person likes to see
    "core.safecrlf": "false",
    "diff.autoRefreshIndex": "true",
    "diff.mnemonicPrefix": "false",
    "diff.noprefix": "false",
    "diff.orderFile": os.devnull,
    "diff.relative": "false",
}
PLAIN_CHECKOUT = {  # so that files are what their commit and the patch say
    "apply.ignoreWhitespace": "no",
    "apply.whitespace": "nowarn",
    "core.autocrlf": "false",
    "submodule.recurse": "false",
}
NO_PROGRAMS = {  # nothing is written, asked for, or fetched, with whatever program, because an object is missing
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "none",
}
DIFF = (
    *("diff", "--no-ext-diff", "--no-textconv", "--no-color", "--no-renames"),
    *("--submodule=short", "--ignore-submodules=dirty"),
)
PATCH = ("--binary", "--full-index", "--src-prefix=a/", "--dst-prefix=b/", "--unified=3", "--inter-hunk-context=0")
SUBMODULE = "160000"  # its mode in git's lists


class TooLargeError(Exception):
    """A command of git has printed more than was wanted."""


@functools.cache
def git(folder: str = ".") -> dict[str, Any] | None:
    """Returns a folder's commit and whether tracked files have changes, or None outside of git."""
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        unset = _without_filters(folder)
        # a submodule has a config of its own, which could name programs as well, so git doesn't look into it
        status = ("status", "--porcelain", "--untracked-files=no", "--ignore-submodules=dirty")
        return {"commit": commit, "dirty": bool(_git(folder, *status, settings=unset))}
    except (OSError, subprocess.SubprocessError):
        return None


@dataclass(frozen=True)
class WorkTree:
    """A folder in a repository: what is checked out, and what has changed since.

    Attributes:
        root: the repository's top folder.
        commit: that is checked out.
        branch: None if none is.
        remote: where the repository is from, without user and password; None if that isn't known.
        submodules: path -> their commit and whether they have changes, None for one that isn't there.
        tracked: the paths of all files that git has, as seen from the root.
        changed: those that differ from the commit; None if there are too many to list.
        settings: what turns off the programs that the repository names.
    """

    root: str
    commit: str
    branch: str | None
    remote: str | None
    submodules: dict[str, dict[str, Any] | None]
    tracked: frozenset[str]
    changed: Mapping[str, tuple[str, str]] | None
    settings: Mapping[str, str] = field(repr=False)

    @classmethod
    def read(cls, folder: str) -> WorkTree:
        """Reads the work tree that a folder is in.

        Raises:
            OSError: there is no git, or it can't be started.
            subprocess.SubprocessError: git refuses, or takes too long.
            ValueError: the repository's files are elsewhere.
            TooLargeError: it has more files than can be listed.
        """
        root, commit = root_and_commit(folder)
        settings = {**_without_filters(folder), **PLAIN_PATCH}
        listing = _read(root, "ls-files", "--stage", "-z", settings=settings, limit=MAX_LISTING_BYTES)
        entries = [entry.partition("\t") for entry in os.fsdecode(listing).split("\0") if entry]
        modules = [path for info, _, path in entries if info.startswith(SUBMODULE)]
        return cls(
            root=root,
            commit=commit,
            branch=_branch(root),
            remote=_remote(root),
            submodules={path: _submodule(os.path.join(root, path)) for path in modules[:MAX_SUBMODULES]},
            tracked=frozenset(path for _, _, path in entries) - frozenset(modules),
            changed=_changes(root, settings),
            settings=settings,
        )

    @property
    def is_dirty(self) -> bool:
        """Whether a tracked file differs from the commit."""
        return self.changed is None or bool(self.changed)

    def patch(self) -> tuple[bytes, str]:
        """Returns what `git apply` turns the commit into the work tree with, or b"" and why there is none."""
        if self.changed is None:
            return b"", f"more than {MAX_CHANGED:,} files differ from the commit"
        try:
            size = self._changed_bytes(self.changed)
            if size > MAX_COMPARED_BYTES:
                return b"", f"the changed files have {size:,} bytes, more than {MAX_COMPARED_BYTES:,}"
            return _read(self.root, *DIFF, *PATCH, "HEAD", "--", settings=self.settings, limit=MAX_PATCH_BYTES), ""
        except TooLargeError:
            return b"", f"it has more than {MAX_PATCH_BYTES:,} bytes"
        except (OSError, subprocess.SubprocessError) as error:
            return b"", reason_of(error)

    def _changed_bytes(self, changed: Mapping[str, tuple[str, str]]) -> int:
        """Returns the size of the changed files, before and now."""
        size = 0
        for path in changed:
            try:
                status = os.lstat(os.path.join(self.root, path))
            except OSError:
                continue
            size += status.st_size if stat.S_ISREG(status.st_mode) else 0
        names = {before for mode, before in changed.values() if mode not in (SUBMODULE, "000000")}
        lines = _read(
            self.root,
            "cat-file",
            "--batch-check=%(objectsize)",
            stdin="".join(f"{name}\n" for name in names).encode(),
            limit=MAX_LISTING_BYTES,
        )
        return size + sum(int(line) for line in lines.split() if line.isdigit())

    def ignored(self, paths: Sequence[str]) -> set[str]:
        """Returns those of some paths, as seen from the root, that the repository's rules ignore."""
        if not paths:
            return set()
        stdin = b"".join(os.fsencode(path) + b"\0" for path in paths)
        try:
            names = _read(self.root, "check-ignore", "-z", "--stdin", stdin=stdin, limit=MAX_LISTING_BYTES)
        except subprocess.CalledProcessError:  # none is
            return set()
        return set(os.fsdecode(names).split("\0")[:-1])


def root_and_commit(folder: str) -> tuple[str, str]:
    """Returns the top folder of the repository that a folder is in, and the commit that is checked out.

    Raises:
        OSError, subprocess.SubprocessError, ValueError: as `WorkTree.read`.
    """
    printed = _git(folder, "rev-parse", "--show-toplevel", "--absolute-git-dir", "HEAD")
    root, git_folder, commit = printed.rsplit("\n", 2)
    # its config could name any folder, even one that has a repository of its own
    is_there = os.path.lexists(os.path.join(root, ".git"))
    if not is_there or _git(root, "rev-parse", "--absolute-git-dir") != git_folder:
        raise ValueError(f"the repository in {git_folder} isn't that of its work tree, {root}")
    return root, commit


def has_commit(folder: str, commit: str) -> bool:
    """Returns whether a repository has a commit, given as all digits of its name."""
    try:
        _git(folder, "cat-file", "-e", f"{commit}^{{commit}}")
    except subprocess.CalledProcessError:
        return False
    return True


def write(folder: str, *arguments: str, stdin: bytes = b"") -> None:
    """Runs a command of git that writes files, with what the repository names turned off.

    Raises:
        OSError, subprocess.SubprocessError: git refuses, or takes too long.
    """
    settings = {**_without_filters(folder), **PLAIN_PATCH, **PLAIN_CHECKOUT}
    done = subprocess.run(
        ["git", "--no-pager", "-C", folder, *arguments],
        capture_output=True,
        input=stdin,
        timeout=WRITE_SECONDS,
        env=_environment(settings),
    )
    if done.returncode:
        printed = done.stderr.decode(errors="replace")
        raise subprocess.CalledProcessError(done.returncode, done.args, stderr=printed)


def reason_of(error: BaseException) -> str:
    """Returns in one line why git gave no answer."""
    if isinstance(error, FileNotFoundError):
        return "there is no git"
    if isinstance(error, subprocess.TimeoutExpired):
        return f"git took longer than {SECONDS:g} s"
    if isinstance(error, TooLargeError):
        return "git printed too much"
    printed = getattr(error, "stderr", None) or ""
    first = next((line for line in printed.splitlines() if line.strip()), "")
    return masked(first or " ".join(str(error).split()))[:500]


def _changes(root: str, settings: Mapping[str, str]) -> dict[str, tuple[str, str]] | None:
    """Returns path -> (mode, object) before, of the files that differ from HEAD; None if they are too many."""
    try:
        text = os.fsdecode(
            _read(root, *DIFF, "--raw", "-z", "--no-abbrev", "HEAD", "--", settings=settings, limit=MAX_LISTING_BYTES)
        )
    except TooLargeError:
        return None
    words = text.split("\0")[:-1]
    if len(words) > 2 * MAX_CHANGED:
        return None
    pairs = zip(words[::2], words[1::2], strict=True)
    return {path: (info[1:].split()[0], info.split()[2]) for info, path in pairs}


def _branch(root: str) -> str | None:
    try:
        return _git(root, "symbolic-ref", "--quiet", "--short", "HEAD") or None
    except subprocess.CalledProcessError:  # a commit is checked out, no branch
        return None


def _remote(root: str) -> str | None:
    """Returns the address of `origin`, or else of the first remote, without what may be secret in it."""
    try:
        listed = _git(root, "config", "--null", "--get-regexp", r"^remote\..*\.url$")
    except subprocess.CalledProcessError:  # there is none
        return None
    addresses = dict(entry.split("\n", 1) for entry in listed.split("\0") if "\n" in entry)
    address = addresses.get("remote.origin.url") or next(iter(addresses.values()), None)
    return without_query(address) if address else None


def diffstat(root: str, before: str, after: str) -> str:
    """Returns how much differs between two commits: "3 files changed, 8 insertions(+)"; "" if it can't be said.

    The names of the commits may be anyone's: other texts than hashes, options for example, are not given to git.
    """
    if not all(re.fullmatch("[0-9a-f]{40,64}", commit) for commit in (before, after)):
        return ""
    try:
        settings = _without_filters(root)
        options = ("--shortstat", "--no-ext-diff", "--no-textconv", "--ignore-submodules=dirty")
        return _git(root, "diff", *options, before, after, "--", settings=settings)
    except (OSError, subprocess.SubprocessError):
        return ""


def without_query(address: str) -> str:
    """Returns an address without user, password, query and fragment, which may have tokens in them."""
    return masked(address).partition("?")[0].partition("#")[0]


def _submodule(folder: str) -> dict[str, Any] | None:
    """Returns a submodule's commit and whether it has changes; None if it isn't checked out."""
    return git(folder) if os.path.lexists(os.path.join(folder, ".git")) else None


def _without_filters(folder: str) -> dict[str, str]:
    """Returns the settings that turn off a repository's filters, which are programs that git runs on its files.

    A file that a filter has changed then counts as changed, if git has to look into it.
    """
    pattern = r"^filter\..*\.(clean|smudge|process|required)$"
    try:
        names = _git(folder, "config", "--null", "--name-only", "--get-regexp", pattern)
    except subprocess.CalledProcessError:  # there are none
        return {}
    return {name: "false" if name.endswith(".required") else "" for name in names.split("\0") if name}


def _environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Returns the environment of a command; the settings win over those of the repository, messages are English."""
    given = os.environ.get("GIT_CONFIG_COUNT", "")
    first = int(given) if given.isdecimal() else 0  # those that a person has set stay, `safe.directory` for example
    settings = {**settings, **HARMLESS}
    environment = {**os.environ, **NO_PROGRAMS, "LC_ALL": "C", "GIT_CONFIG_COUNT": str(first + len(settings))}
    for number, (name, value) in enumerate(settings.items(), start=first):
        environment |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return environment


def _git(folder: str, *arguments: str, settings: Mapping[str, str] | None = None) -> str:
    """Returns the few lines that git prints."""
    done = subprocess.run(
        ["git", "--no-pager", "-C", folder, *arguments],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        errors="surrogateescape",
        timeout=5,
        check=True,
        env=_environment(settings or {}),
    )
    return done.stdout.strip()


def _read(
    folder: str, *arguments: str, limit: int, settings: Mapping[str, str] | None = None, stdin: bytes = b""
) -> bytes:
    """Returns what git prints, of which no more than `limit` bytes are ever in memory.

    Raises:
        TooLargeError: it is more.
        subprocess.SubprocessError: git refuses, or takes too long.
    """
    command = ["git", "--no-pager", "-C", folder, *arguments]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=_environment(settings or {}),
    ) as process:
        assert process.stdout is not None
        late = threading.Timer(SECONDS, process.kill)
        writer = threading.Thread(target=_write, args=(process, stdin), daemon=True)
        late.start()
        writer.start()
        try:
            printed = process.stdout.read(limit + 1)
            if len(printed) > limit:
                raise TooLargeError(f"{' '.join(arguments[:2])} printed more than {limit} bytes")
        except BaseException:
            process.kill()
            raise
        finally:
            is_late = not late.is_alive()
            late.cancel()
        writer.join()
        code = process.wait()
    if is_late:
        raise subprocess.TimeoutExpired(command, SECONDS)
    if code:
        raise subprocess.CalledProcessError(code, command)
    return printed


def _write(process: subprocess.Popen[bytes], content: bytes) -> None:
    """Writes to a process while its output is read, so that neither waits for the other."""
    if process.stdin is not None:
        try:
            with process.stdin as stdin:
                stdin.write(content)
        except OSError:  # it has ended
            pass
