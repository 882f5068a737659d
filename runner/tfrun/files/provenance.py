"""The provenance of a run: versions of packages, and the git commit of the folder that it was started in."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
from collections.abc import Mapping
from importlib import metadata
from typing import Any

PACKAGES = ("tensorflow", "keras", "numpy", "hydra-core", "omegaconf", "pyarrow", "scikit-learn", "tensorboard")

# Settings of git, which win over those of a repository that someone else has made: it may name programs to run.
HARMLESS = {"core.fsmonitor": "false", "core.hooksPath": os.devnull, "status.submoduleSummary": "false"}
NO_PROGRAMS = {  # nothing is written, asked for, or fetched, with whatever program, because an object is missing
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "none",
}


@functools.cache
def versions() -> dict[str, str]:
    """Returns the versions of Python, tfrun and the packages that a result depends on."""
    from tfrun.version import __version__

    installed = {"python": platform.python_version(), "tfrun": __version__}
    for name in PACKAGES:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return installed


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


def _git(folder: str, *arguments: str, settings: Mapping[str, str] | None = None) -> str:
    """Returns what git prints, without running any program that the repository names in its config."""
    settings = {**HARMLESS, **(settings or {})}
    environment = {**os.environ, **NO_PROGRAMS, "GIT_CONFIG_COUNT": str(len(settings))}
    for number, (name, value) in enumerate(settings.items()):
        environment |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    done = subprocess.run(
        ["git", "--no-pager", "-C", folder, *arguments],
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=5,
        check=True,
        env=environment,
    )
    return done.stdout.strip()
