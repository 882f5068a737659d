"""Installs the npm packages of `tests/javascript`, which programs in tests are run with."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

FILES = [Path(__file__).with_name("javascript") / name for name in ("package.json", "package-lock.json")]
QUIET = ("--no-audit", "--no-fund", "--ignore-scripts")


def installed() -> Path:
    """Returns a folder `node_modules`, installed once for all processes and sessions; skips where that can't be."""
    missing = [program for program in ("node", "npm") if shutil.which(program) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} isn't installed")
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in FILES)).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"tfrun-tests-{os.getuid()}-{digest}"
    if not folder.is_dir():
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix="tfrun-npm-") as temporary:
            made = Path(temporary, "made")
            made.mkdir()
            for file in FILES:
                shutil.copy(file, made)
            done = subprocess.run(["npm", "ci", *QUIET], cwd=made, capture_output=True, text=True, timeout=300)
            if done.returncode:
                pytest.skip(f"npm can't install TensorFlow.js: {done.stderr.strip().splitlines()[-1:]}")
            try:
                made.rename(folder)
            except OSError:
                assert folder.is_dir()  # another process was faster
    return folder / "node_modules"
