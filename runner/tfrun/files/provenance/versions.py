"""The versions of the packages that a result depends on, for `run.json`."""

from __future__ import annotations

import functools
import platform
from importlib import metadata

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
