from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tfrun.files import failpoints
from tfrun.files.failpoints import Failpoint, reach, set_failpoint


@pytest.fixture(autouse=True)
def _none_afterwards() -> object:
    yield
    set_failpoint("")


def fails(place: str, *, is_operation: bool = True) -> bool:
    try:
        reach(place, is_operation=is_operation)
    except OSError as error:
        assert error.strerror == "No space left on device"
        return True
    return False


def test_without_one_nothing_happens() -> None:
    assert failpoints._failpoint is None
    assert not fails("manifest.json.sync")


def test_the_nth_time_that_a_place_is_reached_fails() -> None:
    set_failpoint("manifest.json.sync:3=full")
    assert not fails("state.npz.sync")
    assert [fails("manifest.json.sync") for _ in range(5)] == [False, False, True, False, False]


def test_all_later_times_fail_too() -> None:
    set_failpoint("manifest.json.sync:2=full+")
    assert [fails("manifest.json.sync") for _ in range(4)] == [False, True, True, True]


def test_io_is_every_operation() -> None:
    set_failpoint("io:3=full")
    assert [fails("a"), fails("b", is_operation=False), fails("c"), fails("d"), fails("e")] == [
        False, False, False, True, False,
    ]  # fmt: skip


def test_a_place_without_an_action_kills(tmp_path: Path) -> None:
    code = "from pathlib import Path\nfrom tfrun.files.disk import write_atomically\n"
    code += "write_atomically(Path('a.txt'), 'one')\nwrite_atomically(Path('a.txt'), 'two')"
    environment = {"TFRUN_FAILPOINT": "a.txt.rename:2", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "a.txt").read_text() == "one"
    assert len(list(tmp_path.iterdir())) == 2  # and the file that was written aside


def test_the_count_is_one_without_a_number() -> None:
    failpoint = Failpoint("epoch=full")
    with pytest.raises(OSError):
        failpoint.reach("epoch", is_operation=False)
