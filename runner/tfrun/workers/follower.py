"""The side of a worker that follows worker 0: it receives what to do, and may ask to stop."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

from tfrun.errors import Interrupted, TfrunError, WorkerLostError
from tfrun.workers.channel import SILENCE_SECONDS, Channel, ClosedError, Message
from tfrun.workers.cluster import Cluster


class Follower:
    """Follows worker 0.

    Args:
        cluster: the workers.
        channel: to worker 0.
    """

    def __init__(self, cluster: Cluster, channel: Channel):
        self.cluster = cluster
        self._channel = channel

    def next(self, *, silence: float = SILENCE_SECONDS) -> Message:
        """Returns what to do next. Raises WorkerLostError if worker 0 is gone."""
        try:
            message = self._channel.receive(silence=silence)
        except ClosedError as error:
            raise self._lost(str(error)) from error
        assert message is not None
        return message

    def say(self, do: str, **fields: Any) -> None:
        """Sends worker 0 a message, if it is still there."""
        with contextlib.suppress(ClosedError):
            self._channel.send({"do": do, **fields})

    def fail(self, error: BaseException) -> None:
        """Sends worker 0 why this worker ends."""
        is_known = isinstance(error, TfrunError)
        message = str(error) if is_known else f"{type(error).__name__}: {error}".splitlines()[0]
        self.say("failed", code=error.exit_code if isinstance(error, TfrunError) else 1, message=message)

    def why_lost(self, seconds: float) -> WorkerLostError | None:
        """Returns why worker 0 has ended, if it ends within `seconds`; else None."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            try:
                message = self._channel.receive(left, silence=3.0)
            except ClosedError as error:
                return self._lost(str(error))
            if message is not None and message["do"] == "end":
                return _failed(self.cluster, message)
        return None

    def when_lost(self, call: Callable[[], object]) -> None:
        """Calls a function, in another thread, when worker 0 has ended unexpectedly."""
        self._channel.when_lost(call)

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def _lost(self, why: str) -> WorkerLostError:
        return WorkerLostError(f"strategy: {self.cluster.name(0)} is gone: {why}")


def end_of(cluster: Cluster, message: Message) -> TfrunError:
    """Returns what to raise when worker 0 has ended with an exit code that isn't 0, and has said why."""
    if message["code"] > 128:
        return Interrupted(message["code"] - 128, f"{cluster.name(0)}: {message.get('message')}")
    return _failed(cluster, message)


def _failed(cluster: Cluster, message: Message) -> WorkerLostError:
    error = WorkerLostError(f"{cluster.name(0)} has ended: {message.get('message')}")
    error.exit_code = int(message.get("code", error.exit_code))
    return error
