"""A connection between worker 0 and another worker: messages in both directions, and heartbeats between them.

A message is a line of JSON. One with arrays has an entry that says what they are, and their bytes follow the line.
"""

from __future__ import annotations

import contextlib
import json
import queue
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np

from tfrun.errors import ResourceError
from tfrun.files import strict_json

PING_SECONDS = 1.0
SILENCE_SECONDS = 10.0  # after which a worker counts as frozen, or its host as gone
MAX_LINE_BYTES = 2**26
PIECE_BYTES = 2**20
PING = {"do": "ping"}

Message = dict[str, Any]


class ClosedError(Exception):
    """The other end is gone, or silent."""


class Channel:
    """An open connection. One thread receives, and another one sends a heartbeat every second.

    Args:
        connection: connected.
        reader: reads from it; nothing that has been received may be lost in another one.

    Attributes:
        is_closed: whether the other end has ended, or has closed the connection.
    """

    def __init__(self, connection: socket.socket, reader: BinaryIO):
        connection.settimeout(None)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # of Linux: a host that is gone acknowledges nothing
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(3000 * SILENCE_SECONDS))
        self.is_closed = False
        self._connection = connection
        self._reader = reader
        self._messages: queue.Queue[Message | None] = queue.Queue()
        self._sending = threading.Lock()
        self._last_heard = time.monotonic()
        self._ended = threading.Event()
        self._received_all = threading.Event()
        self._on_lost: Callable[[], object] | None = None
        for work in (self._receive_all, self._ping):
            threading.Thread(target=work, name="worker channel", daemon=True).start()

    @property
    def silent_seconds(self) -> float:
        """How long nothing has arrived."""
        return time.monotonic() - self._last_heard

    def send(self, message: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None) -> None:
        """Sends a message. Raises ClosedError if the other end is gone."""
        try:
            with self._sending:
                write_message(self._connection, message, arrays or {})
        except OSError as error:
            self.is_closed = True
            raise ClosedError(error.strerror or str(error)) from error

    def receive(self, seconds: float | None = None, *, silence: float = SILENCE_SECONDS) -> Message | None:
        """Returns the next message; None if there is none within `seconds`.

        Args:
            seconds: None waits until there is one.
            silence: the longest time, in seconds, without a message or a heartbeat.

        Raises:
            ClosedError: the other end is gone, or silent for too long.
        """
        until = None if seconds is None else time.monotonic() + seconds
        while True:
            left = PING_SECONDS if until is None else min(PING_SECONDS, max(0.0, until - time.monotonic()))
            try:
                message = self._messages.get(timeout=left)
            except queue.Empty:
                if self.silent_seconds > silence:
                    raise ClosedError(f"silent for {silence:g} s") from None
                if until is not None and time.monotonic() >= until:
                    return None
                continue
            if message is None:
                self._messages.put(None)
                raise ClosedError("it has ended")
            return message

    def when_lost(self, call: Callable[[], object]) -> None:
        """Calls a function, in another thread, when the other end is gone although nobody has said goodbye."""
        self._on_lost = call
        if self.is_closed:
            call()

    def say_goodbye(self, message: Mapping[str, Any]) -> None:
        """Sends the last message, after which the other end may be gone."""
        self._ended.set()
        with contextlib.suppress(ClosedError):
            self.send(message)

    def wait_until_closed(self, seconds: float) -> None:
        """Waits until the other end has closed the connection, for at most `seconds`."""
        self._received_all.wait(seconds)

    def close(self) -> None:
        """Closes the connection."""
        self._ended.set()
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()

    def _receive_all(self) -> None:
        try:
            while (message := read_message(self._reader)) is not None:
                self._last_heard = time.monotonic()
                if message != PING:
                    self._messages.put(message)
        except (OSError, ValueError):  # of a message that nobody here has written, too
            pass
        self.is_closed = True
        self._messages.put(None)
        self._received_all.set()
        if self._on_lost is not None and not self._ended.is_set():
            self._on_lost()

    def _ping(self) -> None:
        while not self._ended.wait(PING_SECONDS):
            with contextlib.suppress(ClosedError):
                self.send(PING)


def write_message(connection: socket.socket, message: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Writes a message. Raises OSError."""
    described = [[name, array.dtype.name, list(array.shape)] for name, array in arrays.items()]
    line = strict_json.dumps({**message, "arrays": described} if arrays else dict(message))
    connection.sendall(line.encode() + b"\n")
    for array in arrays.values():
        content = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
        for begin in range(0, len(content), PIECE_BYTES):
            connection.sendall(content[begin : begin + PIECE_BYTES])


def read_message(reader: BinaryIO) -> Message | None:
    """Returns the next message, None at the end. Raises OSError, and ValueError if it isn't one."""
    line = reader.readline(MAX_LINE_BYTES)
    if not line.endswith(b"\n"):
        return None
    message = message_of(line)
    if "arrays" in message:
        try:
            message["arrays"] = {name: _read_array(reader, dtype, shape) for name, dtype, shape in message["arrays"]}
        except (TypeError, MemoryError) as error:
            raise ValueError(f"these are no arrays: {error}") from error
    return message


def message_of(line: bytes) -> Message:
    """Returns the message of a line, without its arrays. Raises ValueError if it isn't one."""
    try:
        message = json.loads(line)
    except RecursionError as error:
        raise ValueError("a message must not be nested so deeply") from error
    if not isinstance(message, dict):
        raise ValueError("a message must be a mapping")
    return message


def _read_array(reader: BinaryIO, dtype: str, shape: Sequence[int]) -> np.ndarray:
    """Returns the next array. Raises ValueError, TypeError or MemoryError if what is described isn't one."""
    array = np.empty(shape, np.dtype(dtype))
    if array.dtype.hasobject:
        raise ValueError(f"an array of {dtype} can't be sent")
    content = array.reshape(-1).view(np.uint8).data
    filled = 0
    while filled < len(content):
        count = reader.readinto(content[filled : filled + PIECE_BYTES])  # type: ignore[attr-defined]
        if not count:
            raise ValueError("the end of an array is missing")
        filled += count
    return array


def error_of(message: Mapping[str, Any]) -> ResourceError:
    """Returns the error with which another worker has ended, with its exit code."""
    error = ResourceError(str(message.get("message", "")))
    error.exit_code = int(message.get("code", ResourceError.exit_code))
    return error
