from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tfrun.config.compose import Configs, open_configs

TFRUN = Path(sys.executable).with_name("tfrun")
PROGRAMS_OF_DEBIAN = sorted(Path("/usr/lib/postgresql").glob("*/bin"))  # it keeps the server off the PATH
SMALL = ("model=mlp", "model.hidden_units=[4]", "trainer.compile=graph", "name=small")
BAD = '''
import os, signal, sys, time
import tensorflow as tf
from tfrun import register

@register.loss("bad")
def bad(y_true, y_pred, how: str = "fine"):
    """Ends the process in several ways while the program is traced."""
    if how == "raise":
        raise ValueError("a bug in a loss")
    if how == "die":
        os._exit(9)
    if how == "leave":
        sys.exit(0)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "hang":
        time.sleep(600)
    return tf.reduce_sum(tf.square(y_true - y_pred), axis=1)
'''


@dataclass
class Sweep:
    """A sweep that has ended."""

    returncode: int
    stdout: str
    stderr: str
    folder: Path

    def run(self, number: int) -> dict[str, Any]:
        return json.loads((self.folder / str(number) / "run.json").read_text())

    def log(self, number: int) -> str:
        return (self.folder / str(number) / "tfrun.log").read_text()


class Command:
    """`tfrun -m …` of small jobs, whose loss `bad` can fail in several ways."""

    small = SMALL

    def __init__(self, server: Callable[[str], Any]):
        self._server = server

    @staticmethod
    def write_plugin(folder: Path) -> None:
        (folder / "bad.py").write_text(BAD)

    def start(self, folder: Path, *words: str) -> Any:
        """Starts a sweep in a process that has imported TensorFlow already."""
        self.write_plugin(folder)
        return self._server("tfrun").process(["-m", *SMALL, *words], cwd=folder)

    @classmethod
    def start_cold(cls, folder: Path, *words: str) -> subprocess.Popen[str]:
        """Starts a sweep with the console script, as the plugins of Hydra need it that a test installs."""
        cls.write_plugin(folder)
        command = [str(TFRUN), "-m", *SMALL, *words]
        return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    @staticmethod
    def finish(folder: Path, process: Any) -> Sweep:
        out, err = process.communicate(timeout=300)
        (path,) = [line.split()[1] for line in out.splitlines() if line.startswith("sweep ")]
        return Sweep(process.returncode, out, err, folder / path)

    def call(self, folder: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """Runs another command, which mustn't fail on its own."""
        done: subprocess.CompletedProcess[str] = self._server("tfrun").process(words, cwd=folder).completed(300)
        return done

    @staticmethod
    def states(folder: Path) -> dict[int, str]:
        """Returns the last state of each trial in the ledger of a sweep."""
        lines = [json.loads(line) for line in (folder / "trials.jsonl").read_text().splitlines()]
        return {line["trial"]: line["state"] for line in lines if "trial" in line}


@pytest.fixture(scope="session")
def sweep_command(warm_server: Callable[[str], Any]) -> Command:
    return Command(warm_server)


@pytest.fixture(scope="session")
def wait_for() -> Callable[..., None]:
    """Returns a function that waits until a condition holds."""

    def wait_for(happened: Callable[[], bool], seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not happened():
            assert time.monotonic() < deadline
            time.sleep(0.05)

    return wait_for


@pytest.fixture(scope="module")
def hydra(request: pytest.FixtureRequest) -> Iterator[Configs]:
    """Hydra and the components, for command lines that begin with the words of the module's `BASE`."""
    with open_configs(request.module.BASE) as opened:
        yield opened


@dataclass
class PostgreSQL:
    """A server that listens only on loopback, and its address with user and password."""

    address: str
    command: list[str | Path]
    options: dict[str, Any]
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it, and returns once it can be used."""
        import psycopg

        self.process = subprocess.Popen(self.command, **self.options)
        for _ in range(100):
            try:
                psycopg.connect(self.address).close()
                return
            except psycopg.OperationalError:
                time.sleep(0.1)

    def stop(self) -> None:
        """Ends it as if its machine went down: with all connections."""
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(timeout=30)


@pytest.fixture
def postgresql(postgresql_server: PostgreSQL) -> str:
    """The address, with user and password, of a server that runs."""
    return postgresql_server.address


@pytest.fixture
def postgresql_server() -> Iterator[PostgreSQL]:
    """A server that runs, and can be stopped and started."""
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
    address = f"postgresql://db_owner:pass%2Fword@127.0.0.1:{port}/postgres"
    server = PostgreSQL(address, [postgres, "-D", folder / "data", *options], quiet)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
