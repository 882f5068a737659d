"""What worker 0 and the others say to each other while a run trains."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import numpy as np
import pytest

from tfrun.errors import Interrupted, WorkerLostError
from tfrun.workers.channel import Channel
from tfrun.workers.cluster import Cluster
from tfrun.workers.follower import Follower, end_of
from tfrun.workers.leader import Leader

CLUSTER = Cluster(("a:1", "b:2"), 0, "TF_CONFIG")


@pytest.fixture
def both() -> Iterator[tuple[Leader, Follower]]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        first = socket.create_connection(server.getsockname())
        second = server.accept()[0]
    leader = Leader(CLUSTER, {1: Channel(first, first.makefile("rb"))})
    follower = Follower(CLUSTER, Channel(second, second.makefile("rb")))
    yield leader, follower
    follower.close()
    leader.end(1)


def test_what_is_announced_is_received_in_order(both: tuple[Leader, Follower]) -> None:
    leader, follower = both
    follower.say("ready")
    leader.wait_until_ready()
    leader.announce("run", first_step=3, num_steps=2)
    leader.announce("evaluate", {"rows": np.arange(3)})
    assert follower.next() == {"do": "run", "first_step": 3, "num_steps": 2}
    np.testing.assert_array_equal(follower.next()["arrays"]["rows"], [0, 1, 2])


def test_a_signal_of_any_worker_stops_the_run(both: tuple[Leader, Follower]) -> None:
    leader, follower = both
    received: list[int] = []
    signals = leader.signals(received)
    assert not signals
    follower.say("stop", number=15)
    until = time.monotonic() + 10
    while not signals and time.monotonic() < until:
        time.sleep(0.01)
    assert list(signals) == [15]
    received.append(2)
    assert signals[0] == 2 and len(signals) == 2


def test_a_signal_that_only_tensorflow_has_received_stops_the_run(both: tuple[Leader, Follower]) -> None:
    leader, _ = both
    signals = leader.signals([])
    leader.stop(15)
    assert list(signals) == [15]


def test_a_worker_that_fails_says_why(both: tuple[Leader, Follower]) -> None:
    leader, follower = both
    follower.fail(ValueError("no such column\nsecond line"))
    follower.close()
    error = leader.why_lost(10)
    assert error is not None and error.exit_code == 1
    assert str(error) == "strategy: worker 1 (b:2) has failed: ValueError: no such column"
    with pytest.raises(WorkerLostError):
        leader.announce("run")
        leader.wait_until_ready()


def test_the_end_of_worker_0_comes_with_its_exit_code(both: tuple[Leader, Follower]) -> None:
    leader, follower = both
    leader.end(4, "the loss is not finite")
    error = follower.why_lost(10)
    assert error is not None and error.exit_code == 4
    assert str(error) == "worker 0 (a:1) has ended: the loss is not finite"


def test_a_worker_0_that_is_gone_is_named(both: tuple[Leader, Follower], monkeypatch: pytest.MonkeyPatch) -> None:
    leader, follower = both
    monkeypatch.setattr("tfrun.workers.leader.END_SECONDS", 0.1)  # which it waits for the follower
    leader.end(0)
    assert follower.next() == {"do": "end", "code": 0, "message": ""}
    with pytest.raises(WorkerLostError, match=r"worker 0 \(a:1\) is gone: it has ended"):
        follower.next()


def test_a_signal_is_no_error() -> None:
    error = end_of(CLUSTER, {"code": 143, "message": "stopped by SIGTERM"})
    assert isinstance(error, Interrupted) and error.exit_code == 143
