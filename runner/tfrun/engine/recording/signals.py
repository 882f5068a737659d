"""SIGINT and SIGTERM: the first asks the run to save and stop, the second ends it at once."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

STOPPING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stop_on_signals(on_first: Callable[[int], None], before_end: Callable[[int], object]) -> Iterator[list[int]]:
    """Gives a list that the signals which arrive are put into.

    A thread takes them, since Python's own handlers wait while the program runs or XLA compiles.

    Args:
        on_first: called with the first signal, from the thread.
        before_end: called with the second one, before it ends the process.
    """
    received: list[int] = []
    reader, writer = socket.socketpair()
    writer.setblocking(False)

    def watch() -> None:
        while data := reader.recv(1):
            if data[0] in STOPPING:
                received.append(data[0])
                if len(received) > 1:
                    before_end(data[0])
                    os._exit(128 + data[0])
                on_first(data[0])

    thread = threading.Thread(target=watch, name="signals", daemon=True)
    thread.start()
    earlier_fd = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    earlier = [signal.signal(number, lambda *_: None) for number in STOPPING]
    try:
        yield received
    finally:
        for number, handler in zip(STOPPING, earlier, strict=True):
            signal.signal(number, handler)
        signal.set_wakeup_fd(earlier_fd)
        writer.close()
        thread.join()
        reader.close()
