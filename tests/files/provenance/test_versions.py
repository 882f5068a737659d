from __future__ import annotations

import platform
from importlib import metadata

import tfrun
from tfrun.files.provenance.versions import versions


def test_versions_are_those_that_are_installed() -> None:
    installed = versions()
    assert installed["python"] == platform.python_version() and installed["tfrun"] == tfrun.__version__
    assert installed["numpy"] == metadata.version("numpy")
