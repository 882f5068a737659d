"""Work that training needn't wait for: a thread that does one job after another.

    training:    block 1   block 2   copy of the state   block 3   …              wait
                    ╲         ╲             ╲               ╲                       ╱
    background:       write 1   write 2       flush, save     write 3   …   write n

The jobs are done in the order in which they are submitted, which is that of the run. So when a checkpoint is saved, the
journals contain everything from before it and nothing from after it, as if one thread did it all.
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
    done: threading.Event = field(default_factory=threading.Event)


class Background:
    """Does jobs in a thread, in the order in which they are submitted.

    When a job raises an error, no later job is done, since nothing may be written after what could not be written. The
    error is raised again in the thread that submits jobs: at its next `submit` or `wait`, or when the context is left.

    A context manager: when it is left, all jobs are done, or one has failed. The thread starts when it is entered, so
    that a process that forks before has no thread.

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

    def submit(self, function: Callable[..., object], *arguments: Any) -> threading.Event:
        """Submits a job, after waiting for a place in the queue if it is full.

        Args:
            function: the job.
            arguments: what it is called with.

        Returns:
            An event that is set once the job is done, or dropped because an earlier one has failed.

        Raises:
            BaseException: the error of an earlier job.
        """
        self._raise_error()
        job = _Job(function, arguments)
        self._jobs.put(job)
        return job.done

    def wait(self) -> None:
        """Returns once all jobs are done. Raises the error of the one that has failed, if any."""
        self.submit(lambda: None).wait()
        self._raise_error()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                if self._error is None:
                    job.function(*job.arguments)
            except BaseException as error:
                self._error = error
            done = job.done
            del job  # frees the arguments, a copy of the state for instance, before the job counts as done
            done.set()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error
