"""The meeting before a run: who is missing, and who would train something else."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tfrun.errors import ConfigError, DataError, ResourceError, TfrunError
from tfrun.workers.channel import Channel
from tfrun.workers.cluster import Cluster, free_addresses
from tfrun.workers.meeting import Identity, Meeting, attend

IDENTITY = Identity({"tfrun": "1"}, {"seed": 1, "model.name": "mlp"}, "f" * 64)


def cluster(index: int, count: int = 3) -> Cluster:
    return Cluster(free_addresses(count), index, "TF_CONFIG")


def meet(
    leader: Cluster,
    others: list[tuple[Cluster, Identity]],
    *,
    seconds: float = 20.0,
    after: threading.Thread | None = None,
) -> tuple[Any, list[Any], list[dict[str, Any]]]:
    """Lets workers meet in threads, once another thread has ended, if any.

    Returns worker 0's channels or error, the others' errors, and their welcomes.
    """
    errors: list[Any] = [None] * len(others)
    welcomes: list[dict[str, Any]] = [{} for _ in others]
    channels: list[Channel] = []

    def come(k: int) -> None:
        if after is not None:
            after.join()
        try:
            channel, welcomes[k] = attend(*others[k], seconds)
            channels.append(channel)
        except TfrunError as error:
            errors[k] = error

    threads = [threading.Thread(target=come, args=(k,)) for k in range(len(others))]
    for thread in threads:
        thread.start()
    try:
        met: Any = Meeting(leader, IDENTITY, seconds).hold({"logs": "x"}, lambda: None)
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
    met, errors, _ = meet(leader, [(of(leader, 1), IDENTITY), (of(leader, 1), IDENTITY)])
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
        Meeting(taken, IDENTITY, 5).hold({}, lambda: None) if index == 0 else attend(taken, IDENTITY, 5)
    assert f"the address of {taken.name(index)} can't be used: Address already in use" in str(caught.value)
