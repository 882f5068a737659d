"""How a study's database is connected to."""

from __future__ import annotations

import secrets
import select
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from tfrun.sweep.databases import engine_options

PING = {"pool_pre_ping": True}


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("sqlite:////tmp/study.db", PING),
        ("mysql://user:password@host/db", PING),
        ("postgresql+pg8000://host/db", PING),  # its options have other names
        (
            "postgresql://user:password@host/db",
            PING
            | {
                "connect_args": {
                    "connect_timeout": 30,
                    "tcp_user_timeout": 60_000,  # milliseconds
                    "keepalives_idle": 12,
                    "keepalives_interval": 12,
                    "keepalives_count": 4,
                }
            },
        ),
    ],
)
def test_a_server_that_doesn_t_answer_is_waited_for_as_long_as_others_wait(
    address: str, expected: dict[str, Any]
) -> None:
    assert engine_options(address, patience_seconds=60) == expected


def test_what_the_address_says_stays() -> None:
    options = engine_options("postgresql://host/db?connect_timeout=5&keepalives_idle=7", patience_seconds=2)
    assert options["connect_args"] == {"tcp_user_timeout": 2000, "keepalives_interval": 1, "keepalives_count": 4}


CLIENT = """
import sys
from sqlalchemy import create_engine, exc, text
from tfrun.sweep.databases import engine_options

engine = create_engine(sys.argv[1], **engine_options(sys.argv[1], patience_seconds=10))
for _ in sys.stdin:
    try:
        with engine.connect() as connection:
            print("answer", connection.execute(text("SELECT 1")).scalar(), flush=True)
    except exc.OperationalError:
        print("no answer", flush=True)
"""


@dataclass
class Host:
    """A network namespace that stands in for a host of its own, with a cable to this one."""

    name: str = field(default_factory=lambda: f"tf{secrets.token_hex(4)}")
    here: str = f"198.18.{secrets.randbelow(256)}.1"  # of a range that is kept for tests of networks

    def connect(self) -> None:
        """Makes the namespace. Raises CalledProcessError if this isn't permitted."""
        there = self.here.removesuffix("1") + "2"
        self.ip("netns", "add", self.name)
        self.ip("link", "add", self.name, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        self.ip("addr", "add", f"{self.here}/24", "dev", self.name)
        self.ip("-n", self.name, "addr", "add", f"{there}/24", "dev", "eth0")
        self.ip("link", "set", self.name, "up")
        self.ip("-n", self.name, "link", "set", "eth0", "up")
        # known for ever, so that no kernel says that the other end is gone: everything is dropped without a word
        mac = Path(f"/sys/class/net/{self.name}/address").read_text().strip()
        self.ip("-n", self.name, "neigh", "replace", self.here, "lladdr", mac, "dev", "eth0", "nud", "permanent")

    def drop(self, drops: bool) -> None:
        """Makes the network drop everything, or lets it go on."""
        self.ip("link", "set", self.name, "down" if drops else "up")

    def remove(self) -> None:
        subprocess.run(["ip", "netns", "del", self.name], capture_output=True, check=False)

    @staticmethod
    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host()
    try:
        host.connect()
    except (OSError, subprocess.CalledProcessError):
        host.remove()
        pytest.skip("no network namespace can be made here")
    yield host
    host.remove()


@pytest.fixture
def forwarded(host: Host, postgresql: str) -> Iterator[str]:
    """The address at which the other host reaches the server, which listens on loopback alone."""
    port = make_url(postgresql).port

    class Forward(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection(("127.0.0.1", port)) as server:
                pairs = {self.request: server, server: self.request}
                while data := [(one, one.recv(65536)) for one in select.select(list(pairs), [], [])[0]]:
                    if not all(content for _, content in data):
                        return
                    for one, content in data:
                        pairs[one].sendall(content)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server((host.here, 0), Forward) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield postgresql.replace(f"127.0.0.1:{port}", f"{host.here}:{server.server_address[1]}")
        server.shutdown()


@pytest.mark.slow
def test_a_network_that_drops_everything(host: Host, forwarded: str) -> None:
    """If it is back soon, nothing has happened. Else there is an error, instead of a wait of a quarter of an hour."""
    words = ["ip", "netns", "exec", host.name, sys.executable, "-c", CLIENT, f"{forwarded}?connect_timeout=2"]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True) as client:
        assert client.stdin is not None and client.stdout is not None
        timer = threading.Timer(120, client.kill)  # then there is no line
        timer.start()
        for drops, is_back, expected in (
            (False, False, "answer 1"),
            (True, True, "answer 1"),
            (True, False, "no answer"),
        ):
            host.drop(drops)
            print(file=client.stdin, flush=True)
            if is_back:
                time.sleep(1)
                host.drop(False)
            assert client.stdout.readline().strip() == expected
        timer.cancel()
        client.stdin.close()
