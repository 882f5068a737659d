"""Worker 0's side: it says what all workers do next, and receives what the others ask for.

Everything that needs all workers is announced before worker 0 does it itself, so that all of them do the same in the
same order.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tfrun.errors import WorkerLostError
from tfrun.workers.channel import SILENCE_SECONDS, Channel, ClosedError, Message
from tfrun.workers.cluster import Cluster

POLL_SECONDS = 0.05
IMPORT_SECONDS = 300.0  # of silence, while TensorFlow is imported: a worker can't always answer then
END_SECONDS = 20.0  # within which a worker closes its connection at the end of a run
FAILED_SECONDS = 1.0  # the same after an error
FROZEN_SECONDS = 3.0  # of silence, after which a worker is named if an exchange was aborted


class Leader:
    """Leads the other workers of a run.

    Args:
        cluster: the workers.
        channels: to each of the others, by its number.
    """

    def __init__(self, cluster: Cluster, channels: Mapping[int, Channel]):
        self.cluster = cluster
        self._channels = channels
        self._stops: list[int] = []
        self._ready: set[int] = set()
        self._failures: dict[int, Message] = {}

    def announce(self, do: str, arrays: Mapping[str, np.ndarray] | None = None, **fields: Any) -> None:
        """Says what all workers do next. Raises WorkerLostError if one of them is gone."""
        for index, channel in self._channels.items():
            try:
                channel.send({"do": do, **fields}, arrays)
            except ClosedError as error:
                raise self._lost(index, error) from error

    def wait_until_ready(self) -> None:
        """Returns once all workers have said that they are ready. Raises WorkerLostError if one can't be."""
        while len(self._ready) < len(self._channels):
            self._receive(silence=IMPORT_SECONDS)
            time.sleep(POLL_SECONDS)

    def signals(self, received: Sequence[int]) -> Signals:
        """Returns the signals that this process has received, and those that the others have."""
        return Signals(received, self)

    @property
    def stops(self) -> list[int]:
        """The signals that ask another worker, and so all of them, to stop."""
        self._receive()
        return self._stops

    def stop(self, number: int) -> None:
        """Stops the run as if another worker had received a signal."""
        self._stops.append(number)

    def why_lost(self, seconds: float) -> WorkerLostError | None:
        """Returns which worker has ended and why, if one ends within `seconds`; else None."""
        until = time.monotonic() + seconds
        while True:
            try:
                self._receive(silence=FROZEN_SECONDS)
            except WorkerLostError as error:
                return error
            if time.monotonic() > until:
                return None
            time.sleep(POLL_SECONDS)

    def end(self, code: int, message: str = "") -> None:
        """Lets the other workers end with an exit code, and closes the connections once they have.

        One of them may still be receiving its part of the last exchange.
        """
        for channel in self._channels.values():
            channel.say_goodbye({"do": "end", "code": code, "message": message})
        until = time.monotonic() + END_SECONDS
        for channel in self._channels.values():
            channel.wait_until_closed(max(0.0, until - time.monotonic()) if code == 0 else FAILED_SECONDS)
            channel.close()

    def when_lost(self, call: Callable[[], object]) -> None:
        """Calls a function, in another thread, when a worker has ended unexpectedly."""
        for channel in self._channels.values():
            channel.when_lost(call)

    def _receive(self, silence: float = SILENCE_SECONDS) -> None:
        """Receives what the others have sent. Raises WorkerLostError if one of them is gone."""
        for index, channel in self._channels.items():
            try:
                while message := channel.receive(0, silence=silence):
                    if message["do"] == "stop":
                        self._stops.append(int(message["number"]))
                    elif message["do"] == "ready":
                        self._ready.add(index)
                    elif message["do"] == "failed":
                        self._failures[index] = message
            except ClosedError as error:
                raise self._lost(index, error) from error

    def _lost(self, index: int, error: ClosedError) -> WorkerLostError:
        failure = self._failures.get(index)
        if failure is None:
            return WorkerLostError(f"strategy: {self.cluster.name(index)} is gone: {error}")
        lost = WorkerLostError(f"strategy: {self.cluster.name(index)} has failed: {failure.get('message')}")
        lost.exit_code = int(failure.get("code", lost.exit_code))
        return lost


class Signals(Sequence[int]):
    """The signals that stop the run, whichever worker has received them.

    Args:
        received: by this process so far; grows.
        leader: knows those of the others.
    """

    def __init__(self, received: Sequence[int], leader: Leader):
        self._received = received
        self._leader = leader

    def __getitem__(self, index: Any) -> Any:
        return [*self._received, *self._leader.stops][index]

    def __len__(self) -> int:
        return len(self._received) + len(self._leader.stops)
