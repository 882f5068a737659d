"""The script that runs tfrun from a checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def checkout(root: Path) -> Iterator[Path]:
    """A checkout that nobody may write to, in a folder that everybody may enter."""
    folder = Path(tempfile.mkdtemp(prefix="tfrun"))
    try:
        (folder / "scripts").mkdir()
        shutil.copy(root / "scripts" / "tfrun", folder / "scripts")
        for name in ("setup.cfg", "pyproject.toml", "scripts/constraints.txt"):
            (folder / name).touch()
        for path in (*folder.rglob("*"), folder):
            path.chmod(0o555)
        yield folder
    finally:
        folder.chmod(0o755)
        (folder / "scripts").chmod(0o755)
        shutil.rmtree(folder)


def test_a_checkout_that_can_t_be_written_is_one_line(checkout: Path) -> None:
    user = "nobody" if os.geteuid() == 0 else None  # root may write everywhere
    done = subprocess.run(
        [checkout / "scripts" / "tfrun", "--help"], user=user, cwd="/", capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 5
    assert done.stderr.startswith(f"tfrun: {checkout} can't be written") and done.stderr.count("\n") == 1
