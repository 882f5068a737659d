"""Who connects to worker 0's address before a run: any number of connections, of which none holds up the others."""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

LINE_SECONDS = 10.0  # within which one who connects sends a line
MAX_LINE_BYTES = 2**22
MAX_WAITING = 64  # connections that have sent no line yet; the oldest is closed for a further one
PIECE_BYTES = 2**16


@dataclass
class _Waiting:
    """A connection that has sent no whole line yet."""

    until: float
    received: bytearray = field(default_factory=bytearray)


class Reception:
    """Accepts connections and receives one line from each; a context that closes those that have sent none.

    Args:
        listener: listens; it stays open.
    """

    def __init__(self, listener: socket.socket):
        listener.setblocking(False)
        self._listener = listener
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)
        self._waiting: dict[socket.socket, _Waiting] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        for connection in list(self._waiting):
            self._close(connection)
        self._selector.close()

    def receive(self, seconds: float) -> Iterator[tuple[socket.socket, bytes]]:
        """Waits for something to happen, and yields the connections that have sent a line, with that line.

        A connection that is watched is yielded with an empty line when it has ended, or sends anything more.

        Args:
            seconds: how long to wait at most.
        """
        for key, _ in self._selector.select(seconds):
            if key.fileobj is self._listener:
                self._accept()
                continue
            connection = key.fileobj
            assert isinstance(connection, socket.socket)
            if connection.fileno() < 0:  # closed a moment ago, for a newer one
                continue
            waiting = self._waiting.get(connection)
            if waiting is None:
                self._selector.unregister(connection)
                yield connection, b""
            elif (line := self._line(connection, waiting)) is not None:
                yield connection, line
        now = time.monotonic()
        for connection in [each for each, waiting in self._waiting.items() if waiting.until < now]:
            self._close(connection)

    def watch(self, connection: socket.socket) -> None:
        """Watches a connection that has sent its line for its end."""
        self._selector.register(connection, selectors.EVENT_READ)

    def unwatch(self, connection: socket.socket) -> None:
        """Stops to watch a connection, which may be closed then."""
        self._selector.unregister(connection)

    def _accept(self) -> None:
        """Accepts every connection that is there."""
        with contextlib.suppress(OSError):  # none is left, or it has ended already, or there are too many open files
            while True:
                connection, _ = self._listener.accept()
                connection.setblocking(False)
                self._waiting[connection] = _Waiting(time.monotonic() + LINE_SECONDS)
                self._selector.register(connection, selectors.EVENT_READ)
                if len(self._waiting) > MAX_WAITING:
                    self._close(next(iter(self._waiting)))

    def _line(self, connection: socket.socket, waiting: _Waiting) -> bytes | None:
        """Returns the line that a connection has sent, or None; closes a connection that sends something else."""
        try:
            piece = connection.recv(PIECE_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            piece = b""
        waiting.received += piece
        end = piece.find(b"\n")
        if not piece or 0 <= end < len(piece) - 1 or len(waiting.received) > MAX_LINE_BYTES:
            self._close(connection)
            return None
        if end < 0:
            return None
        del self._waiting[connection]
        self._selector.unregister(connection)
        return bytes(waiting.received)

    def _close(self, connection: socket.socket) -> None:
        del self._waiting[connection]
        self._selector.unregister(connection)
        connection.close()
