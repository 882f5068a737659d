"""The meeting of all workers before any of them makes TensorFlow's strategy.

    worker 0 listens on its own address; the others connect, and each says who it is and what it would train
    once all are there and would train the same, worker 0 welcomes them; the connections stay open
    otherwise all end, with one line that names who is missing, or who differs in what

Making the strategy can't be interrupted while it waits for a worker, and notices no difference between their configs.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NoReturn

from tfrun.config.changes import differences
from tfrun.errors import ConfigError, DataError, ResourceError, TfrunError
from tfrun.workers.channel import Channel, Message, error_of, read_message, write_message
from tfrun.workers.cluster import Cluster

RETRY_SECONDS = 0.2
HELLO_SECONDS = 10.0  # within which one who connects says who it is
MAX_HELLO_BYTES = 2**22
MAX_DIFFERENCES = 3  # in a message


@dataclass(frozen=True)
class Identity:
    """What a worker would train; the same for all workers of a run.

    Attributes:
        version: tfrun's, TensorFlow's and others', by name.
        config: with the keys that may differ between machines left out.
        data: the fingerprint of the raw rows.
    """

    version: Mapping[str, str]
    config: Mapping[str, Any]
    data: str

    def refusal(self, other: Mapping[str, Any], name: str) -> TfrunError | None:
        """Returns the error for a worker that would train something else, or None. `name` is the worker's."""
        for what, mine, others in (
            ("versions", self.version, other.get("version")),
            ("config", self.config, other.get("config")),
        ):
            changed = differences(mine, others if isinstance(others, dict) else {})
            if changed:
                listed = "; ".join(
                    f"{key}: {first!r} for worker 0, {second!r} for {name}"
                    for key, (first, second) in list(changed.items())[:MAX_DIFFERENCES]
                )
                more = f"; and {len(changed) - MAX_DIFFERENCES} more" if len(changed) > MAX_DIFFERENCES else ""
                return ConfigError(f"strategy: all workers must have the same {what}. Received: {listed}{more}")
        if self.data != other.get("data"):
            return DataError(
                "strategy: all workers must read the same rows. Received: rows with the fingerprint "
                f"{self.data[:12]} for worker 0, {str(other.get('data'))[:12]} for {name}"
            )
        return None


@dataclass
class _Arrived:
    """A worker that has connected and said who it is."""

    connection: socket.socket
    reader: Any
    hello: Message


@dataclass
class Meeting:
    """The meeting as worker 0 holds it: a context in which its address is bound.

    Attributes:
        cluster: the workers.
        identity: what worker 0 would train.
        seconds: how long it waits for the others.
    """

    cluster: Cluster
    identity: Identity
    seconds: float
    _arrived: dict[int, _Arrived] = field(default_factory=dict)

    def hold(self, welcome: Mapping[str, Any], is_alive: Callable[[], object]) -> dict[int, Channel]:
        """Returns a channel to each other worker, once all are there.

        Args:
            welcome: what all of them are sent then.
            is_alive: called again and again while it waits; raises an error if a worker can't come any more.

        Raises:
            ResourceError: the address can't be bound, or a worker is missing.
            ConfigError, DataError: workers would not train the same.
        """
        until = time.monotonic() + self.seconds
        with contextlib.closing(_listen(self.cluster)) as listener:
            try:
                while missing := [index for index in self.cluster.others if index not in self._arrived]:
                    is_alive()
                    if time.monotonic() > until:
                        raise self._missing(missing)
                    self._accept(listener)
                for arrived in self._arrived.values():
                    write_message(arrived.connection, {"do": "welcome", **welcome}, {})
            except BaseException as error:
                self._dismiss(error)
                raise
        return {index: Channel(each.connection, each.reader) for index, each in sorted(self._arrived.items())}

    def _accept(self, listener: socket.socket) -> None:
        """Lets one worker in, if one is there; anything else that connects is ignored."""
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            return
        connection.settimeout(HELLO_SECONDS)
        reader = connection.makefile("rb")
        try:
            hello = read_message(reader, MAX_HELLO_BYTES)
        except (OSError, ValueError):
            hello = None
        if hello is None or hello.get("do") != "join tfrun":
            connection.close()
            return
        self._check(hello, _Arrived(connection, reader, hello))

    def _check(self, hello: Message, arrived: _Arrived) -> None:
        """Adds a worker to those that have arrived. Raises ConfigError or DataError if it doesn't fit."""
        index, addresses = hello.get("index"), hello.get("addresses")
        host = str(hello.get("host"))
        if not isinstance(index, int) or not isinstance(addresses, list):
            arrived.connection.close()
            return
        before = self._arrived.get(index)
        self._arrived[index if before is None else -index] = arrived  # so that it is dismissed with the others
        if addresses != list(self.cluster.addresses) or index not in self.cluster.others:
            raise ConfigError(
                f"{self.cluster.source}: all workers must name the same workers. Received: "
                f"{', '.join(self.cluster.addresses)} for worker 0, "
                f"{', '.join(map(str, addresses))} for worker {index} on {host}"
            )
        if before is not None:
            raise ConfigError(
                f"{self.cluster.source}: each worker must have an index of its own. Received: {index} for two workers, "
                f"on {before.hello.get('host')} and on {host}"
            )
        if refusal := self.identity.refusal(hello, f"{self.cluster.name(index)} on {host}"):
            raise refusal

    def _missing(self, missing: Sequence[int]) -> ResourceError:
        names = ", ".join(self.cluster.name(index) for index in missing)
        here = ", ".join(str(index) for index in (0, *sorted(self._arrived)))
        return ResourceError(
            f"strategy: {names} didn't come within {self.seconds:g} s (strategy.meeting_seconds). "
            f"Received: only {'workers' if self._arrived else 'worker'} {here}"
        )

    def _dismiss(self, error: BaseException) -> None:
        """Tells all who have come why the run doesn't begin."""
        is_known = isinstance(error, TfrunError)
        message = str(error) if is_known else "worker 0 has ended"
        code = error.exit_code if isinstance(error, TfrunError) else 1
        for arrived in self._arrived.values():
            with contextlib.suppress(OSError):
                write_message(arrived.connection, {"do": "end", "code": code, "message": message}, {})
            arrived.connection.close()


def attend(cluster: Cluster, identity: Identity, seconds: float) -> tuple[Channel, Message]:
    """Meets worker 0, and returns the channel to it and its welcome.

    Args:
        cluster: the workers; this one isn't worker 0.
        identity: what this worker would train.
        seconds: how long it tries, and then waits for the others.

    Raises:
        ResourceError: worker 0 can't be reached, or another worker is missing.
        TfrunError: the workers would not train the same; with the exit code of worker 0.
    """
    _listen(cluster).close()  # a port that is in use is reported now, and not by TensorFlow
    hello = {"do": "join tfrun", "index": cluster.index, "addresses": list(cluster.addresses), **asdict(identity)}
    until = time.monotonic() + seconds
    connection = _connect(cluster, until, seconds)
    reader = connection.makefile("rb")
    connection.settimeout(
        seconds + HELLO_SECONDS
    )  # worker 0 waits for the others as long, and then says who is missing
    try:
        write_message(connection, hello | {"host": socket.gethostname()}, {})
        welcome = read_message(reader)
    except (OSError, ValueError):
        welcome = None
    if welcome is None:
        raise ResourceError(f"strategy: {cluster.name(0)} has ended, or is no worker of tfrun, before the run began")
    if welcome.get("do") == "end":
        raise error_of(welcome)
    return Channel(connection, reader), welcome


def _connect(cluster: Cluster, until: float, seconds: float) -> socket.socket:
    while True:
        try:
            return socket.create_connection(cluster.endpoint(0), timeout=HELLO_SECONDS)
        except OSError as error:
            if time.monotonic() > until:
                raise ResourceError(
                    f"strategy: {cluster.name(0)} can't be reached within {seconds:g} s (strategy.meeting_seconds). "
                    f"Received: {error.strerror or error}"
                ) from error
        time.sleep(RETRY_SECONDS)


def _listen(cluster: Cluster) -> socket.socket:
    """Returns a socket that listens on this worker's address, where TensorFlow will listen later."""
    host, port = cluster.endpoint(cluster.index)
    try:
        return _listener(host, port)
    except OSError as error:
        if error.errno != errno.EADDRNOTAVAIL and not isinstance(error, socket.gaierror):
            _refuse(cluster, error)
    try:  # the host's name is one that others know it by
        return _listener("", port)
    except OSError as error:
        _refuse(cluster, error)


def _listener(host: str, port: int) -> socket.socket:
    family = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen()
        listener.settimeout(RETRY_SECONDS)
    except OSError:
        listener.close()
        raise
    return listener


def _refuse(cluster: Cluster, error: OSError) -> NoReturn:
    raise ResourceError(
        f"strategy: the address of {cluster.name(cluster.index)} can't be used: {error.strerror}. "
        f"It is from {cluster.source}"
    ) from error
