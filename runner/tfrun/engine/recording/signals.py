"""Signals that stop a run: the first one asks it to save and stop, the second ends the process at once."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial

from rich.console import Console

from tfrun.console import say_wrapped
from tfrun.errors import ResourceError
from tfrun.files.runs import RunFolder, now
from tfrun.stop_signals import ANNOUNCEMENTS, is_repeated, stop_signals


@contextlib.contextmanager
def stop_on_signals(on_first: Callable[[int], None], before_end: Callable[[int], object] | None) -> Iterator[list[int]]:
    """Yields a list to which the numbers of arriving signals are appended.

    A thread receives them, since Python's own handlers wait while the program runs or XLA compiles.

    Args:
        on_first: called with the first signal's number, in that thread.
        before_end: called with the second signal's number, in that thread, before it ends the process; None if no
            signal ends it, since the process that has started it does so.
    """
    received: list[int] = []
    numbers = stop_signals()
    reader, writer = socket.socketpair()
    writer.setblocking(False)

    def watch() -> None:
        while data := reader.recv(1):
            number = data[0]
            if number in numbers and not is_repeated(number, received):
                received.append(number)
                if len(received) == 1:
                    on_first(number)
                elif before_end is not None:
                    before_end(number)
                    os._exit(128 + number)

    thread = threading.Thread(target=watch, name="signals", daemon=True)
    thread.start()
    earlier_fd = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    # Python writes to the descriptor only those signals that have a handler in Python, which need do nothing itself
    earlier_handlers = [signal.signal(number, lambda *_: None) for number in numbers]
    try:
        yield received
    finally:
        for number, handler in zip(numbers, earlier_handlers, strict=True):
            signal.signal(number, handler)
        signal.set_wakeup_fd(earlier_fd)
        writer.close()  # ends the thread
        thread.join()
        reader.close()


@contextlib.contextmanager
def stopping_on_signals(console: Console, folder: RunFolder, *, ends_at_once: bool = True) -> Iterator[list[int]]:
    """Yields a list to which the signals that stop the run are appended.

    Args:
        console: where to say so.
        folder: the run's.
        ends_at_once: whether a second signal ends the process at once.
    """

    def report(number: int) -> None:
        name = signal.Signals(number).name
        second = "Ctrl-C" if number in ANNOUNCEMENTS else "a second signal"
        end = f"; {second} stops at once, without saving" if ends_at_once else ""
        say_wrapped(console, f"{name}: stopping after this block, saving the state{end}")

    before_end = partial(end_at_once, console, folder) if ends_at_once else None
    with stop_on_signals(report, before_end) as signals:
        yield signals


def end_at_once(console: Console, folder: RunFolder, *, number: int) -> None:
    """Restores the terminal and writes `run.json`, before a second signal ends the process."""
    console.show_cursor()
    run = folder.read_run()
    if run.get("status") != "running":  # it is resumed, and nothing has been written yet
        return
    message = f"ended at once by a second signal; saved up to step {run['step']}"
    error = {"type": "Interrupted", "message": message, "exit_code": 128 + number}
    with contextlib.suppress(ResourceError):
        folder.write_run(run | {"status": "stopped", "ended": now(), "error": error})
