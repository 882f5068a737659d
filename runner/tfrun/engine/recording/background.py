"""Work that the training needn't wait for: a thread that does one job after another.

    training:    block 1   block 2   copy of the state   block 3   …              wait
                    ╲         ╲             ╲               ╲                       ╱
    background:       write 1   write 2       flush, save     write 3   …   write n

The order of the jobs is that of the run. So when a checkpoint is saved, the journals hold what came before it and
nothing else, as if all were done in one thread.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

MAX_WAITING = 32  # blocks: about five seconds of training before a slow disk holds it up


@dataclass(frozen=True)
class _Job:
    function: Callable[..., object]
    arguments: tuple[Any, ...]
    ended: threading.Event = field(default_factory=threading.Event)


class Background:
    """Does jobs in a thread of its own, in the order in which they are handed over.

    A job's error is raised in the thread that hands jobs over, where it does so next, and no later job is done:
    nothing is written after what could not be written.

    A context manager: all jobs are done, or one has failed, when it is left. The thread starts when it is entered, so
    that a process which forks before has none.

    Args:
        max_waiting: how many jobs may wait.
    """

    def __init__(self, max_waiting: int = MAX_WAITING):
        self._jobs: queue.Queue[_Job | None] = queue.Queue(max_waiting)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="background", daemon=True)

    def __enter__(self) -> Background:
        self._thread.start()
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self._jobs.put(None)
        self._thread.join()
        if error is not self._error:
            self._raise_error()

    def do(self, function: Callable[..., object], *arguments: Any) -> threading.Event:
        """Hands a job over; waits while too many do. Returns what is set once it is done or dropped.

        Raises:
            BaseException: what an earlier job raised.
        """
        self._raise_error()
        job = _Job(function, arguments)
        self._jobs.put(job)
        return job.ended

    def wait(self) -> None:
        """Returns once all jobs are done. Raises what one of them raised."""
        self.do(lambda: None).wait()
        self._raise_error()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                if self._error is None:
                    job.function(*job.arguments)
            except BaseException as error:
                self._error = error
            ended = job.ended
            del job  # with what it holds, a copy of the state for instance
            ended.set()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error
