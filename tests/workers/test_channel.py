"""Messages between two workers, and what becomes of them when one is gone."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tfrun.workers.channel import Channel, ClosedError


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    channels = [Channel(each, each.makefile("rb")) for each in connected()]
    yield channels[0], channels[1]
    for channel in channels:
        channel.close()


def connected() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        first = socket.create_connection(server.getsockname())
        return first, server.accept()[0]


def test_messages_and_arrays_arrive_as_they_were(ends: tuple[Channel, Channel]) -> None:
    first, second = ends
    arrays: dict[str, Any] = {
        "rows": np.arange(600_000, dtype=np.int64).reshape(2, -1),  # longer than a piece
        "scalar": np.float32(0.1),
        "empty": np.zeros((0, 3), np.float16),
        "flags": np.array([True, False]),
    }
    first.send({"do": "write", "step": 3}, {name: np.asarray(array) for name, array in arrays.items()})
    first.send({"do": "end"})
    message = second.receive(10)
    assert message is not None and (message["do"], message["step"]) == ("write", 3)
    for name, array in arrays.items():
        assert message["arrays"][name].dtype == array.dtype
        np.testing.assert_array_equal(message["arrays"][name], array)
    assert second.receive(10) == {"do": "end"}
    assert second.receive(0) is None


def test_an_end_that_nobody_has_announced_is_noticed(ends: tuple[Channel, Channel]) -> None:
    first, second = ends
    lost = threading.Event()
    second.when_lost(lost.set)
    first.send({"do": "last"})
    first.close()
    assert second.receive(10) == {"do": "last"}  # what was sent before isn't lost
    with pytest.raises(ClosedError, match="it has ended"):
        second.receive(10)
    assert lost.wait(10)


def test_after_a_goodbye_the_end_is_expected(ends: tuple[Channel, Channel]) -> None:
    first, second = ends
    lost = threading.Event()
    first.when_lost(lost.set)
    first.say_goodbye({"do": "end"})
    assert second.receive(10) == {"do": "end"}
    second.close()
    first.wait_until_closed(10)
    assert first.is_closed and not lost.is_set()


def test_a_silent_end_is_noticed_and_signs_of_life_are_no_messages() -> None:
    mine, other = connected()
    channel = Channel(mine, mine.makefile("rb"))
    other.sendall(json.dumps({"do": "ping"}).encode() + b"\n")
    with pytest.raises(ClosedError, match=r"silent for 0\.1 s"):
        channel.receive(silence=0.1)
    channel.close()
    other.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\n",
        b"[" * 100_000 + b"\n",
        b'{"arrays": [1]}\n',
        b'{"arrays": [["x", "object", [1]]]}\n12345678',
        b'{"arrays": [["x", "no such", [1]]]}\n',
        b'{"arrays": [["x", "float64", [-1]]]}\n',
        b'{"arrays": [["x", "float64", [4611686018427387904]]]}\n',
    ],
)
def test_what_is_no_message_closes_the_channel(sent: bytes) -> None:
    mine, other = connected()
    channel = Channel(mine, mine.makefile("rb"))
    other.sendall(sent)
    with pytest.raises(ClosedError, match="it has ended"):
        channel.receive(10)
    channel.close()
    other.close()


def test_half_an_array_is_no_message() -> None:
    mine, other = connected()
    channel = Channel(mine, mine.makefile("rb"))
    other.sendall(b'{"arrays": [["x", "float64", [2]]]}\n12345678')
    other.close()
    with pytest.raises(ClosedError):
        channel.receive(10)
    channel.close()


def test_a_message_to_one_who_is_gone_is_refused(ends: tuple[Channel, Channel]) -> None:
    first, second = ends
    second.close()
    with pytest.raises(ClosedError):
        for _ in range(1000):
            first.send({"do": "run"})
            time.sleep(0.01)
