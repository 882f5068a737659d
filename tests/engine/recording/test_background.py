"""Jobs in a background thread."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import traceback
import weakref

import numpy as np
import pytest

from tfrun.engine.recording.background import Background
from tfrun.errors import ResourceError

PATIENCE_SECONDS = 20.0


def full_disk() -> None:
    raise ResourceError("no space left")


def test_jobs_are_done_in_order_in_another_thread() -> None:
    done: list[tuple[int, bool]] = []
    with Background() as background:
        for number in range(100):
            background.submit(lambda n: done.append((n, threading.current_thread() is threading.main_thread())), number)
        background.wait()
        assert done == [(number, False) for number in range(100)]


def test_an_event_is_set_when_a_job_is_done() -> None:
    gate = threading.Event()
    with Background() as background:
        first, second = background.submit(gate.wait), background.submit(lambda: None)
        assert not first.wait(0.05) and not second.is_set()
        gate.set()
        assert second.wait(PATIENCE_SECONDS) and first.is_set()


def test_leaving_waits_for_all_jobs() -> None:
    done: list[int] = []
    with Background() as background:
        for number in range(5):
            background.submit(time.sleep, 0.01)
            background.submit(done.append, number)
    assert done == [0, 1, 2, 3, 4]


def test_an_error_in_the_context_waits_for_the_jobs_before_it() -> None:
    done: list[int] = []
    with pytest.raises(ZeroDivisionError), Background() as background:
        background.submit(time.sleep, 0.05)
        background.submit(done.append, 1)
        raise ZeroDivisionError
    assert done == [1]


def test_an_error_is_raised_where_the_next_job_is_submitted_and_no_later_one_is_done() -> None:
    done: list[int] = []
    gate = threading.Event()
    with pytest.raises(ResourceError, match="no space left") as caught, Background() as background:
        background.submit(done.append, 1)
        background.submit(gate.wait)
        background.submit(full_disk)
        last = background.submit(done.append, 2)
        gate.set()
        assert last.wait(PATIENCE_SECONDS)  # dropped
        background.submit(done.append, 3)
    assert done == [1]
    assert traceback.extract_tb(caught.value.__traceback__)[-1].name == "full_disk"


def test_an_error_is_raised_by_wait() -> None:
    with pytest.raises(ResourceError), Background() as background:
        background.submit(full_disk)
        background.wait()
        pytest.fail("it has not waited")


def test_an_error_is_raised_on_leaving() -> None:
    with pytest.raises(ResourceError), Background() as background:
        background.submit(full_disk)


def test_the_error_of_a_job_comes_before_one_in_the_context() -> None:
    """The job was submitted earlier, and what training reports, that a state is saved for instance, may be untrue."""
    with pytest.raises(ResourceError) as caught, Background() as background:
        background.submit(full_disk)
        raise ZeroDivisionError
    assert isinstance(caught.value.__context__, ZeroDivisionError)


def test_submitting_waits_while_too_many_jobs_wait() -> None:
    gate, submitted = threading.Event(), threading.Semaphore(0)
    most = 0
    with Background(max_waiting=3) as background:

        def submit_jobs() -> None:
            for _ in range(20):
                background.submit(gate.wait)
                submitted.release()

        training = threading.Thread(target=submit_jobs)
        training.start()
        while submitted.acquire(timeout=0.2):
            most += 1
        assert most == 4  # one in work, three waiting
        gate.set()
        training.join()


def test_the_arguments_of_a_job_are_freed_before_it_counts_as_done() -> None:
    array = np.zeros(3)
    gone = weakref.ref(array)
    with Background() as background:
        ended = background.submit(lambda array: time.sleep(0.05), array)
        del array
        assert gone() is not None
        assert ended.wait(PATIENCE_SECONDS) and gone() is None


def test_there_is_a_thread_only_inside_the_context() -> None:
    before = threading.active_count()
    background = Background()
    assert threading.active_count() == before
    with background:
        assert threading.active_count() == before + 1
    assert threading.active_count() == before


def test_a_process_that_ends_is_not_kept_alive() -> None:
    code = "import time; from tfrun.engine.recording.background import Background\n"
    code += "Background().__enter__().submit(time.sleep, 60)"
    assert subprocess.run([sys.executable, "-c", code], timeout=PATIENCE_SECONDS).returncode == 0
