"""How long something that all workers do together may take, until they count as stuck."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from tfrun.engine import private

STUCK = "a block of steps, an evaluation or an exchange of the state took longer than strategy.timeout_seconds"


@contextlib.contextmanager
def exchange_limit(seconds: float | None) -> Iterator[None]:
    """Makes every exchange between workers fail, with `STUCK`, if the context is open for longer.

    TensorFlow's own limit, `CommunicationOptions(timeout_seconds=…)`, can't be used: for each exchange a thread sleeps
    until the limit is over, although the exchange has ended long ago. After 2,000 steps of a small model no further
    thread could be started, and the process was aborted.

    Args:
        seconds: None sets no limit.
    """
    if seconds is None:
        yield
        return
    timer = threading.Timer(seconds, private.abort_exchanges, [STUCK])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
