"""The meeting of all workers before any of them makes TensorFlow's strategy.

    worker 0 listens on its own address; the others connect, and each says who it is and what it would train
    once all are there and would train the same, worker 0 welcomes them; the connections stay open
    otherwise all end, with one line that names who is missing, or who differs in what

Making the strategy can't be interrupted while it waits for a worker, and notices no difference between their configs.
"""

from __future__ import annotations

import contextlib
import errno
import re
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NoReturn

from tfrun.config.changes import differences
from tfrun.errors import ConfigError, DataError, ResourceError, TfrunError
from tfrun.workers.channel import Channel, Message, error_of, message_of, read_message, write_message
from tfrun.workers.cluster import Cluster
from tfrun.workers.reception import LINE_SECONDS, Reception

RETRY_SECONDS = 0.2
FAREWELL_SECONDS = 3.0  # for which a worker that has failed tries to let the others know
JOIN = "join tfrun"
MAX_DIFFERENCES = 3  # in a message
HASH = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Identity:
    """What a worker would train; the same for all workers of a run.

    Attributes:
        version: tfrun's, TensorFlow's and others', by name.
        config: with the keys that may differ between machines left out.
        files: by name the hash of tfrun's code, of each module of the plugins, and of the other runs that are read on
            each machine.
        data: the fingerprint of the raw rows.
    """

    version: Mapping[str, str]
    config: Mapping[str, Any]
    files: Mapping[str, str]
    data: str

    def refusal(self, other: Mapping[str, Any], name: str) -> TfrunError | None:
        """Returns the error for a worker that would train something else, or None. `name` is the worker's."""
        for what, mine, others in (
            ("versions", self.version, other.get("version")),
            ("config", self.config, other.get("config")),
            ("files", self.files, other.get("files")),
        ):
            changed = differences(mine, others if isinstance(others, dict) else {})
            if changed:
                listed = "; ".join(
                    f"{key}: {_short(first)} for worker 0, {_short(second)} for {name}"
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


def _short(value: Any) -> str:
    text = repr(value)
    return f"{text[:13]}…'" if HASH.fullmatch(str(value)) else text


@dataclass
class _Arrived:
    """A worker that has connected and said who it is."""

    connection: socket.socket
    hello: Message

    @property
    def host(self) -> str:
        return str(self.hello.get("host"))


@dataclass
class Meeting:
    """The meeting as worker 0 holds it, at its own address.

    Attributes:
        cluster: the workers.
        seconds: how long it waits for the others.
        farewell_seconds: how long it still waits, if the run can't begin, for others who are to be sent the reason.
    """

    cluster: Cluster
    seconds: float
    farewell_seconds: float = FAREWELL_SECONDS
    _arrived: dict[int, _Arrived] = field(default_factory=dict)

    def hold(
        self, identity: Identity, welcome: Mapping[str, Any], is_alive: Callable[[], object]
    ) -> dict[int, Channel]:
        """Returns a channel to each other worker, once all are there.

        Args:
            identity: what worker 0 would train.
            welcome: what all of them are sent then.
            is_alive: called again and again while it waits; raises an error if a worker can't come any more.

        Raises:
            ResourceError: the address can't be bound, or a worker is missing or has ended.
            ConfigError, DataError: workers would not train the same.
            TfrunError: a worker has failed before it came; with its exit code.
        """
        until = time.monotonic() + self.seconds
        with contextlib.closing(_listen(self.cluster)) as listener, Reception(listener) as reception:
            try:
                while missing := [index for index in self.cluster.others if index not in self._arrived]:
                    is_alive()
                    if time.monotonic() > until:
                        raise self._missing(missing)
                    for connection, line in reception.receive(RETRY_SECONDS):
                        self._let_in(reception, connection, line, identity)
                for index, arrived in self._arrived.items():
                    self._welcome(index, arrived, welcome)
            except BaseException as error:
                is_quick = time.monotonic() > until or not isinstance(error, TfrunError)
                self._dismiss(reception, error, seconds=0.0 if is_quick else self.farewell_seconds)
                raise
        return {
            index: Channel(each.connection, each.connection.makefile("rb"))
            for index, each in sorted(self._arrived.items())
        }

    def cancel(self, error: BaseException) -> None:
        """Sends the others the error with which worker 0 has failed before the meeting, as far as they come."""
        with (
            contextlib.suppress(TfrunError),
            contextlib.closing(_listen(self.cluster)) as listener,
            Reception(listener) as reception,
        ):
            self._dismiss(reception, error, seconds=self.farewell_seconds)

    def _let_in(self, reception: Reception, connection: socket.socket, line: bytes, identity: Identity) -> None:
        """Adds a worker to those that have arrived; anything else that connects is ignored.

        Raises:
            ConfigError, DataError: it doesn't fit.
            TfrunError: it has failed, or one that had arrived has ended.
        """
        if not line:
            index = next(index for index, each in self._arrived.items() if each.connection is connection)
            left = self._arrived.pop(index)
            connection.close()
            raise ResourceError(f"strategy: {self.cluster.name(index)} on {left.host} has ended before the run began")
        arrived = _arrived(connection, line)
        if arrived is None:
            connection.close()
            return
        try:
            self._check(arrived, identity)
        except TfrunError as error:
            _send_end(arrived, error)
            raise
        self._arrived[arrived.hello["index"]] = arrived
        reception.watch(connection)

    def _check(self, arrived: _Arrived, identity: Identity) -> None:
        """Raises ConfigError or DataError if a worker doesn't fit, and its error if it has failed."""
        hello, host = arrived.hello, arrived.host
        index, addresses = hello["index"], hello["addresses"]
        if addresses != list(self.cluster.addresses) or index not in self.cluster.others:
            raise ConfigError(
                f"{self.cluster.source}: all workers must name the same workers. Received: "
                f"{', '.join(self.cluster.addresses)} for worker 0, "
                f"{', '.join(map(str, addresses))} for worker {index} on {host}"
            )
        name = f"{self.cluster.name(index)} on {host}"
        if isinstance(failure := hello.get("failed"), dict):
            error = error_of(failure)
            error.args = (f"strategy: {name} has failed before the run began: {error}",)
            raise error
        if before := self._arrived.get(index):
            raise ConfigError(
                f"{self.cluster.source}: each worker must have an index of its own. Received: {index} for two workers, "
                f"on {before.host} and on {host}"
            )
        if refusal := identity.refusal(hello, name):
            raise refusal

    def _welcome(self, index: int, arrived: _Arrived, welcome: Mapping[str, Any]) -> None:
        arrived.connection.settimeout(LINE_SECONDS)
        try:
            write_message(arrived.connection, {"do": "welcome", **welcome}, {})
        except OSError as error:
            raise ResourceError(
                f"strategy: {self.cluster.name(index)} on {arrived.host} has ended before the run began"
            ) from error

    def _missing(self, missing: Sequence[int]) -> ResourceError:
        names = ", ".join(self.cluster.name(index) for index in missing)
        here = ", ".join(str(index) for index in (0, *sorted(self._arrived)))
        return ResourceError(
            f"strategy: {names} didn't come within {self.seconds:g} s (strategy.meeting_seconds). "
            f"Received: only {'workers' if self._arrived else 'worker'} {here}"
        )

    def _dismiss(self, reception: Reception, error: BaseException, *, seconds: float) -> None:
        """Sends those who have come, and those who still come within so many seconds, why the run doesn't begin."""
        for arrived in self._arrived.values():
            reception.unwatch(arrived.connection)
            _send_end(arrived, error)
        waiting = set(self.cluster.others) - self._arrived.keys()
        until = time.monotonic() + seconds
        while waiting:
            left = until - time.monotonic()
            for connection, line in reception.receive(min(RETRY_SECONDS, max(0.0, left))):
                late = _arrived(connection, line) if line else None
                if late is None:
                    connection.close()
                    continue
                _send_end(late, error)
                waiting.discard(late.hello["index"])
            if left < 0:
                return


def _arrived(connection: socket.socket, line: bytes) -> _Arrived | None:
    """Returns the worker that has sent a line; None if it is no worker's."""
    try:
        hello = message_of(line)
    except ValueError:
        return None
    is_worker = type(hello.get("index")) is int and isinstance(hello.get("addresses"), list)
    return _Arrived(connection, hello) if is_worker and hello.get("do") == JOIN else None


def _send_end(arrived: _Arrived, error: BaseException) -> None:
    """Sends a worker why the run doesn't begin, and closes the connection."""
    with contextlib.suppress(OSError):
        arrived.connection.settimeout(RETRY_SECONDS)
        write_message(arrived.connection, {"do": "end", **_reason_of(error)}, {})
    arrived.connection.close()


def _reason_of(error: BaseException) -> Message:
    if isinstance(error, TfrunError):
        return {"code": error.exit_code, "message": str(error)}
    return {"code": 1, "message": "worker 0 has ended"}


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
    until = time.monotonic() + seconds
    connection = _connect(cluster, until, seconds)
    reader = connection.makefile("rb")
    connection.settimeout(seconds + LINE_SECONDS)  # as long, worker 0 waits for the others
    try:
        write_message(connection, _hello(cluster) | asdict(identity), {})
        welcome = read_message(reader)
    except (OSError, ValueError):
        welcome = None
    if welcome is not None and welcome.get("do") == "end":
        raise error_of(welcome)
    if welcome is None or welcome.get("do") != "welcome":
        raise ResourceError(f"strategy: {cluster.name(0)} has ended, or is no worker of tfrun, before the run began")
    return Channel(connection, reader), welcome


def report_failure(cluster: Cluster, error: TfrunError, seconds: float = FAREWELL_SECONDS) -> None:
    """Sends worker 0 the error with which this worker has failed before the meeting, if it can be reached in time."""
    with (
        contextlib.suppress(OSError, ResourceError),
        _connect(cluster, time.monotonic() + seconds, seconds) as connection,
    ):
        write_message(connection, _hello(cluster) | {"failed": _reason_of(error)}, {})


def _hello(cluster: Cluster) -> Message:
    addresses = list(cluster.addresses)
    return {"do": JOIN, "index": cluster.index, "addresses": addresses, "host": socket.gethostname()}


def _connect(cluster: Cluster, until: float, seconds: float) -> socket.socket:
    while True:
        left = max(RETRY_SECONDS, until - time.monotonic())
        try:
            return socket.create_connection(cluster.endpoint(0), timeout=min(LINE_SECONDS, left))
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
    except OSError:
        listener.close()
        raise
    return listener


def _refuse(cluster: Cluster, error: OSError) -> NoReturn:
    raise ResourceError(
        f"strategy: the address of {cluster.name(cluster.index)} can't be used: {error.strerror}. "
        f"It is from {cluster.source}"
    ) from error
