"""What all tests share. Nothing goes onto sys.path: the tests run on the installed package."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What the runs of the tests find out about speed stays with the tests."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def housing_csv() -> Path:
    """California housing: 20640 rows, numbers and one text column."""
    path = ROOT.parent / "shared" / "data" / "housing.csv"
    if not path.is_file():
        pytest.skip(f"the data file {path} is not there")
    return path


@pytest.fixture
def tfrun(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the console script in tmp_path: `tfrun("show", "loss=huber")`; `env` is added to the environment."""
    script = Path(sys.executable).with_name("tfrun")

    def run(*args: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        environ = {**os.environ, **(env or {})}
        return subprocess.run([script, *args], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120)

    return run
