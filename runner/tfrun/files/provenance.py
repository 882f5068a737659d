"""The provenance of a run: versions of packages, and the git commit of the folder that it was started in."""

from __future__ import annotations

import functools
import platform
import subprocess
from importlib import metadata
from typing import Any

PACKAGES = ("tensorflow", "keras", "numpy", "hydra-core", "omegaconf", "pyarrow", "scikit-learn", "tensorboard")


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
        return {"commit": commit, "dirty": bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: str, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", folder, *arguments], capture_output=True, text=True, timeout=5, check=True)
    return done.stdout.strip()
