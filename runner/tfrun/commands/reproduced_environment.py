"""Reproduces a run with its own packages: asks whether they may be installed, and says what can't be had."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

from tfrun.errors import CheckpointError, ConfigError, some
from tfrun.files.provenance import record as records
from tfrun.files.provenance.installing import Packages, install, log_of, python_of
from tfrun.files.provenance.packages import read_packages
from tfrun.files.provenance.record import Package
from tfrun.files.runs import RunFolder
from tfrun.folders import shown

MAX_NAMED = 200  # packages in a question


def python_of_run(folder: RunFolder, *, may_install: bool) -> Path:
    """Returns the interpreter of an environment with a run's packages, which is made if it isn't there.

    Args:
        folder: the run's.
        may_install: whether the command line says so; otherwise a person at a terminal is asked.

    Raises:
        CheckpointError: the run has no record of its packages.
        ConfigError: nobody has said that they may be installed.
        ResourceError: they can't be.
    """
    from tfrun.console import Terminal, is_live, say, say_wrapped

    record = records.read(folder.path)
    if record is None or not record.packages:
        raise CheckpointError(f"env=venv: {shown(folder.path)} has no record of its packages")
    packages = Packages.of(record.packages)
    console = Terminal()
    for name, why in packages.left_out:
        say_wrapped(console, f"warning: {name} can't be had: it {why}", indent=2)
    if python := python_of(packages.folder):
        say(console, f"packages of the run in {packages.folder}")
        return python
    _ask(packages, may_install=may_install)
    say(console, f"installing {_count(packages)} into {packages.folder}; what pip says: {log_of(packages.folder)}")
    with console.status("installing, which takes some minutes") if is_live() else contextlib.nullcontext():
        return install(packages)


def _ask(packages: Packages, *, may_install: bool) -> None:
    """Asks whether the packages may be installed. Raises ConfigError if the answer isn't yes."""
    from tfrun.console import Terminal, say, say_wrapped

    if may_install:
        return
    installed = {entry["name"]: Package(**entry) for entry in read_packages(sys.path)}
    new = packages.missing_from(installed)
    others = f"{len(new):,} of them not installed here: {some(new, MAX_NAMED)}" if new else "all of them installed here"
    facts = f"{_count(packages)}, {others}"
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise ConfigError(
            f"env=venv: would install {facts}. Installing a package can run its code: say yes=true if it may"
        )
    say_wrapped(Terminal(), f"env=venv installs {facts}. Installing a package can run its code.", indent=2)
    say(Terminal(), f"They are kept in {packages.folder}.")
    try:
        answer = input("Install them? [y/N] ")
    except EOFError:
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        raise ConfigError("env=venv: nothing was installed, as the answer wasn't yes")


def _count(packages: Packages) -> str:
    count = len(packages.requirements)
    return f"{count:,} package{'' if count == 1 else 's'}"
