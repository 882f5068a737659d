"""Installs the recorded packages of a run into a virtual environment of its own.

Nothing of a record is run, and none of its addresses is used: pip, or uv, is given names and exact versions only, each
checked against what the index of packages allows (PEP 503, PEP 440), in a file that is written here. Environments are
kept in `$XDG_CACHE_HOME/tfrun/environments` (`~/.cache/tfrun/environments`), one for each list of packages and each
Python, and may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import venv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tfrun.errors import ResourceError
from tfrun.files.disk import refusals
from tfrun.files.provenance.aspects import clean
from tfrun.files.provenance.packages import canonical
from tfrun.files.provenance.record import Package
from tfrun.files.xla_cache import cache_folder

OURS = "tfrun"  # is taken from its code
NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
VERSION = re.compile(
    r"(?:[0-9]+!)?[0-9]+(?:\.[0-9]+)*"
    r"(?:[-_.]?(?:alpha|beta|preview|pre|a|b|c|rc)[-_.]?[0-9]*)?"
    r"(?:-[0-9]+|[-_.]?(?:post|rev|r)[-_.]?[0-9]*)?"
    r"(?:[-_.]?dev[-_.]?[0-9]*)?"
    r"(?:\+[a-z0-9]+(?:[-_.][a-z0-9]+)*)?",
    re.IGNORECASE | re.ASCII,
)
MAX_LETTERS = 300  # of an installer's message
FRAMES = re.compile(r"[╰╭│├─▶×\s]+")


@dataclass(frozen=True)
class Packages:
    """The recorded packages of a run.

    Attributes:
        requirements: `name==version` of those that an index of packages may have, sorted.
        left_out: name, and why it can't be had.
    """

    requirements: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, packages: Mapping[str, Package]) -> Packages:
        """Returns what can be installed of the packages of a record."""
        requirements, left_out = [], []
        for name, package in sorted(packages.items()):
            if canonical(name) == OURS:
                continue
            if why := _why_left_out(package):
                left_out.append((clean(name), why))
            else:
                requirements.append(f"{name}=={package.version}")
        return cls(tuple(requirements), tuple(left_out))

    def missing_from(self, installed: Mapping[str, Package]) -> list[str]:
        """Returns the requirements that aren't among the packages that are installed here."""
        here = {f"{name}=={package.version}" for name, package in installed.items()}
        return [requirement for requirement in self.requirements if requirement not in here]

    @property
    def folder(self) -> Path:
        """The folder of their environment."""
        text = "\n".join((sys.version, sys.base_prefix, *self.requirements))
        return cache_folder() / "environments" / hashlib.sha256(text.encode()).hexdigest()[:16]


def python_of(folder: Path) -> Path | None:
    """Returns the interpreter of an environment, or None if it isn't whole."""
    python = folder / "bin" / "python"
    return python if _marker(folder).is_file() and python.is_file() else None


def install(packages: Packages) -> Path:
    """Makes the environment of packages if it isn't there, and returns its interpreter.

    Raises:
        ResourceError: the disk refuses, or a package can't be installed.
    """
    folder = packages.folder
    with _held(folder):
        python = python_of(folder)
        if python is not None:
            return python
        shutil.rmtree(folder, ignore_errors=True)
        is_whole = False
        try:
            python = _make(folder)
            file = folder / "requirements.txt"
            with refusals(file):
                file.write_text("".join(f"{requirement}\n" for requirement in packages.requirements))
            _install(python, file, log=log_of(folder))
            with refusals(folder):
                _marker(folder).touch()
            is_whole = True
            return python
        finally:
            if not is_whole:
                shutil.rmtree(folder, ignore_errors=True)


def log_of(folder: Path) -> Path:
    """Returns the file with what was printed while an environment was made."""
    return folder.with_suffix(".log")


def commands(python: Path, file: Path) -> Iterator[list[str]]:
    """Yields the commands that install the lines of a file: with uv if it is there, and with this Python's pip."""
    options = ["install", "--no-deps", "-r", str(file)]
    if uv := shutil.which("uv"):
        yield [uv, "pip", *options, "--python", str(python)]
    pip = [sys.executable, "-I", "-m", "pip", "--python", str(python)]
    yield [*pip, *options, "--no-input", "--disable-pip-version-check", "--progress-bar", "off"]


def _why_left_out(package: Package) -> str:
    origin = package.origin or {}
    for kind in ("editable", "folder", "archive"):
        if kind in origin:
            return f"is from {clean(origin[kind])}"
    if origin:
        return f"is from {clean(next(iter(origin.values())))}"
    if not NAME.fullmatch(package.name):
        return "has a name that no package has"
    if package.version is None or not VERSION.fullmatch(package.version):
        return f"has the version {clean(package.version)}, which no package has"
    return ""


def _make(folder: Path) -> Path:
    with refusals(folder):
        venv.EnvBuilder(symlinks=True).create(folder)
    return folder / "bin" / "python"


def _install(python: Path, file: Path, *, log: Path) -> None:
    """Runs the commands until one succeeds. Raises ResourceError with what the last one said."""
    with refusals(log):
        log.write_bytes(b"")
    for command in commands(python, file):
        with refusals(log):
            start = log.stat().st_size
        if not _run(command, log=log):
            return
        with refusals(log):
            said = log.read_bytes()[start:].decode(errors="replace")
    raise ResourceError(f"env=venv: the packages can't be installed: {reason_of(said)}. All that was said: {log}")


def reason_of(said: str) -> str:
    """Returns the end of what pip or uv has said, on one line: from the error on."""
    lines = [FRAMES.sub(" ", line).strip() for line in said.splitlines()]
    errors = [k for k, line in enumerate(lines) if line.lower().startswith("error:")]
    if errors and lines[errors[-1]].startswith("ERROR:"):  # pip's, whose errors have a line each
        return clean(lines[errors[-1]].removeprefix("ERROR:").strip(), MAX_LETTERS).rstrip(".")
    text = " ".join(filter(None, lines[errors[0] :] if errors else lines[-4:]))
    return clean(text or "it said nothing", MAX_LETTERS).rstrip(".")


def _run(command: Sequence[str], *, log: Path) -> int:
    """Runs a command with its output in a log, and returns its exit code; whatever ends this, ends the command too."""
    try:
        with log.open("ab") as output:
            process = subprocess.Popen(
                command,
                cwd=log.parent,  # a folder without settings for uv or pip
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    except OSError as error:
        raise ResourceError(f"env=venv: no process can be started: {error.strerror}") from error
    try:
        return process.wait()
    finally:
        if process.poll() is None:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _marker(folder: Path) -> Path:
    return folder / ".tfrun-installed"


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Waits until no other process makes an environment, and holds it."""
    file = folder.with_suffix(".lock")
    with refusals(file):
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        opened = file.open("wb")
    with opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield
