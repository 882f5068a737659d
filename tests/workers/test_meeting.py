"""The meeting before a run: who is missing, and who would train something else."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tfrun.errors import ConfigError, DataError, ResourceError, TfrunError
from tfrun.workers.channel import Channel
from tfrun.workers.cluster import Cluster, free_addresses
from tfrun.workers.meeting import Identity, Meeting, attend, report_failure

IDENTITY = Identity({"tfrun": "1"}, {"seed": 1, "model.name": "mlp"}, {"tfrun": "a" * 64}, "f" * 64)


def cluster(index: int, count: int = 3) -> Cluster:
    return Cluster(free_addresses(count), index, "TF_CONFIG")


def meet(
    leader: Cluster,
    others: list[tuple[Cluster, Identity]],
    *,
    seconds: float = 20.0,
    pause: float = 0.0,
    after: threading.Thread | None = None,
) -> tuple[Any, list[Any], list[dict[str, Any]]]:
    """Lets workers meet in threads, once another thread has ended, if any, with a pause between them.

    Returns worker 0's channels or error, the others' errors, and their welcomes.
    """
    errors: list[Any] = [None] * len(others)
    welcomes: list[dict[str, Any]] = [{} for _ in others]
    channels: list[Channel] = []

    def come(k: int) -> None:
        if after is not None:
            after.join()
        time.sleep(k * pause)
        try:
            channel, welcomes[k] = attend(*others[k], seconds)
            channels.append(channel)
        except TfrunError as error:
            errors[k] = error

    threads = [threading.Thread(target=come, args=(k,)) for k in range(len(others))]
    for thread in threads:
        thread.start()
    try:
        met: Any = Meeting(leader, seconds, farewell_seconds=0.2).hold(IDENTITY, {"logs": "x"}, lambda: None)
    except TfrunError as error:
        met = error
    for thread in threads:
        thread.join()
    for channel in [*channels, *(met.values() if isinstance(met, dict) else [])]:
        channel.close()
    return met, errors, welcomes


def of(leader: Cluster, index: int) -> Cluster:
    return replace(leader, index=index)


def test_all_who_come_are_welcomed_and_others_are_ignored() -> None:
    leader = cluster(0)

    def knock() -> None:
        """Connects before the others do, and is none of them."""
        while True:
            with (
                contextlib.suppress(ConnectionRefusedError),
                socket.create_connection(leader.endpoint(0)) as connection,
            ):
                connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
                return

    knocker = threading.Thread(target=knock)
    knocker.start()
    met, errors, welcomes = meet(leader, [(of(leader, 2), IDENTITY), (of(leader, 1), IDENTITY)], after=knocker)
    assert list(met) == [1, 2] and errors == [None, None]
    assert welcomes == [{"do": "welcome", "logs": "x"}] * 2


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (lambda leader: replace(IDENTITY, config={"seed": 2, "model.name": "mlp"}), ConfigError,
         r"the same config\. Received: seed: 1 for worker 0, 2 for worker 1 \(127"),
        (lambda leader: replace(IDENTITY, version={"tfrun": "2"}), ConfigError, "the same versions"),
        (lambda leader: replace(IDENTITY, files={"tfrun": "b" * 64}), ConfigError,
         r"the same files\. Received: tfrun: 'aaaaaaaaaaaa…' for worker 0, 'bbbbbbbbbbbb…' for worker 1"),
        (lambda leader: replace(IDENTITY, data="e" * 64), DataError,
         r"the same rows.*ffffffffffff for worker 0, eeeeeeeeeeee for worker 1"),
    ],
)  # fmt: skip
def test_one_who_would_train_something_else_is_named(
    change: Callable[[Cluster], Identity], kind: type[TfrunError], message: str
) -> None:
    leader = cluster(0, 2)
    met, (error,), _ = meet(leader, [(of(leader, 1), change(leader))])
    assert type(met) is kind and error.exit_code == kind.exit_code and str(error) == str(met)
    with pytest.raises(kind, match=message):
        raise met


def test_others_who_have_come_end_with_the_same_line() -> None:
    leader = cluster(0)
    met, errors, _ = meet(leader, [(of(leader, 1), IDENTITY), (of(leader, 1), IDENTITY)], pause=0.3)
    assert "each worker must have an index of its own. Received: 1 for two workers" in str(met)
    assert {str(error) for error in errors if error.exit_code == 2} == {str(met)}


def test_one_with_another_cluster_is_refused() -> None:
    leader = cluster(0, 2)
    other = Cluster((leader.addresses[0], *free_addresses(1)), 1, "TF_CONFIG")
    met, (error,), _ = meet(leader, [(other, IDENTITY)])
    assert "all workers must name the same workers" in str(met) and str(error) == str(met)


def test_who_is_missing_is_named() -> None:
    leader = cluster(0)
    met, (error,), _ = meet(leader, [(of(leader, 1), IDENTITY)], seconds=0.5)
    assert isinstance(met, ResourceError) and str(met).startswith(
        f"strategy: {leader.name(2)} didn't come within 0.5 s"
    )
    assert str(met).endswith("Received: only workers 0, 1") and str(error) == str(met)


def test_worker_0_may_be_missing() -> None:
    with pytest.raises(ResourceError, match=r"worker 0 \(127.*can't be reached within 0\.1 s.*Connection refused"):
        attend(cluster(1), IDENTITY, 0.1)


@pytest.mark.parametrize("index", [0, 1])
def test_an_address_that_is_in_use_is_named(index: int) -> None:
    taken = cluster(index)
    with socket.create_server(taken.endpoint(index)), pytest.raises(ResourceError) as caught:
        Meeting(taken, 5).hold(IDENTITY, {}, lambda: None) if index == 0 else attend(taken, IDENTITY, 5)
    assert f"the address of {taken.name(index)} can't be used: Address already in use" in str(caught.value)


def hello(leader: Cluster, **fields: Any) -> bytes:
    """Returns the line with which worker 1 says who it is."""
    said = {"do": "join tfrun", "index": 1, "addresses": list(leader.addresses), "host": "there", **fields}
    return json.dumps(said).encode() + b"\n"


def join(leader: Cluster, line: bytes) -> socket.socket:
    """Returns a connection to worker 0, over which a line was sent."""
    while True:
        with contextlib.suppress(ConnectionRefusedError):
            connection = socket.create_connection(leader.endpoint(0))
            connection.sendall(line)
            return connection


STRANGERS = [
    b"",  # silent
    b'{"do": "join',  # which never ends
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    bytes(range(256)) * 20 + b"\n",
    b"[" * 100_000 + b"\n",
    b'{"do": "join tfrun", "arrays": [1]}\n',
    b'{"do": "join tfrun", "arrays": [["x", "float64", [4611686018427387904]]]}\n',
    b'{"do": "join tfrun", "index": true, "addresses": []}\n',
    b'{"do": "join tfrun", "index": 1, "addresses": 1}\n',
]


def test_strangers_do_not_keep_the_workers_from_meeting() -> None:
    """None of the strangers closes its connection, and there are more of them than may wait."""
    leader = cluster(0, 2)
    strangers: list[socket.socket] = []
    knocker = threading.Thread(target=lambda: strangers.extend(join(leader, line) for line in STRANGERS * 20))
    knocker.start()
    met, errors, _ = meet(leader, [(of(leader, 1), IDENTITY)], seconds=9.0, after=knocker)
    for each in strangers:
        each.close()
    assert errors == [None] and list(met) == [1]


def test_one_who_has_come_and_ends_is_named_at_once() -> None:
    leader = cluster(0)
    said = {"version": dict(IDENTITY.version), "config": dict(IDENTITY.config), "files": dict(IDENTITY.files)}
    guest = threading.Thread(target=lambda: join(leader, hello(leader, **said, data=IDENTITY.data)).close())
    guest.start()
    met, _, _ = meet(leader, [])
    guest.join()
    assert isinstance(met, ResourceError)
    assert str(met) == f"strategy: {leader.name(1)} on there has ended before the run began"


def test_one_who_has_failed_ends_the_meeting_with_its_exit_code() -> None:
    leader = cluster(0)
    failed = threading.Thread(target=report_failure, args=(of(leader, 2), DataError("x.csv: no such file"), 20.0))
    failed.start()
    met, (error,), _ = meet(leader, [(of(leader, 1), IDENTITY)])
    failed.join()
    assert met.exit_code == error.exit_code == 3 and str(met) == str(error)
    assert str(met).startswith(f"strategy: {leader.name(2)} on ")
    assert str(met).endswith(" has failed before the run began: x.csv: no such file")


def test_a_worker_0_that_has_failed_ends_the_others() -> None:
    leader = cluster(0, 2)
    cancelled = threading.Thread(
        target=Meeting(leader, 0.0, farewell_seconds=20.0).cancel, args=(DataError("no rows"),)
    )
    cancelled.start()
    with pytest.raises(TfrunError, match="no rows") as caught:
        attend(of(leader, 1), IDENTITY, 20.0)
    cancelled.join()
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("line", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b'{"do": "ping"}\n', b'{"arrays": [1]}\n'])
def test_an_address_where_no_worker_0_is_is_one_line(line: bytes) -> None:
    follower = cluster(1, 2)
    with socket.create_server(follower.endpoint(0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            connection.sendall(line)
            connection.recv(2**16)
            connection.close()

        other = threading.Thread(target=answer)
        other.start()
        with pytest.raises(ResourceError, match=r"worker 0 \(127.* has ended, or is no worker of tfrun"):
            attend(follower, IDENTITY, 20.0)
        other.join()
