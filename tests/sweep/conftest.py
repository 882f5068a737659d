from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tfrun.config.compose import Configs, open_configs

PROGRAMS_OF_DEBIAN = sorted(Path("/usr/lib/postgresql").glob("*/bin"))  # it keeps the server off the PATH


@pytest.fixture(scope="module")
def hydra(request: pytest.FixtureRequest) -> Iterator[Configs]:
    """Hydra and the components, for command lines that begin with the words of the module's `BASE`."""
    with open_configs(request.module.BASE) as opened:
        yield opened


@pytest.fixture
def postgresql() -> Iterator[str]:
    """The address, with user and password, of a server that listens only on loopback."""
    path = os.pathsep.join([os.environ["PATH"], *map(str, PROGRAMS_OF_DEBIAN)])
    initdb, postgres = shutil.which("initdb", path=path), shutil.which("postgres", path=path)
    if initdb is None or postgres is None:
        pytest.skip("PostgreSQL's server isn't installed")
    pytest.importorskip("psycopg")
    # it refuses to run as root
    user: dict[str, str] = {"user": "nobody"} if os.geteuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    if user:
        shutil.chown(folder, "nobody")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder, **user}
    (folder / "password").write_text("pass/word")
    login = ["-A", "scram-sha-256", "-U", "db_owner", f"--pwfile={folder / 'password'}"]
    subprocess.run([initdb, "-D", folder / "data", *login], check=True, **quiet)
    options = ["-p", str(port), "-k", str(folder), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
    server = subprocess.Popen([postgres, "-D", folder / "data", *options], **quiet)
    try:
        import psycopg

        address = f"postgresql://db_owner:pass%2Fword@127.0.0.1:{port}/postgres"
        for _ in range(100):
            try:
                psycopg.connect(address).close()
                break
            except psycopg.OperationalError:
                time.sleep(0.1)
        yield address
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(timeout=30)
        shutil.rmtree(folder, ignore_errors=True)
