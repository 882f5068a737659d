"""Profiles: what is read from a file of the profiler, worked out by hand, and that a profiled run is the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from tfrun.engine.recording.profile import Operation, as_markdown, cells, dearest, trace_events
from tfrun.errors import ConfigError
from tfrun.files.runs import RunFolder

NS = 1_000  # picoseconds


@pytest.fixture
def space() -> Any:
    """A loop of 100 ns with two products of 30 ns in it, beside what isn't an operation."""
    result = xplane_pb2.XSpace()
    plane = result.planes.add(name="/host:CPU")
    names = ["while/while:While", "while/body/_3/while/dense/MatMul:MatMul", "ThreadpoolListener::Record", "fusion.1"]
    for number, name in enumerate(names):
        plane.event_metadata[number].name = name
    plane.stat_metadata[9].name = "hlo_op"
    line = plane.lines.add(name="python", timestamp_ns=2_000)
    for number, offset, duration in [(0, 0, 100), (1, 10, 30), (1, 50, 30), (2, 55, 5), (3, 200, 40)]:
        event = line.events.add(metadata_id=number, offset_ps=offset * NS, duration_ps=duration * NS)
        if number == 3:
            event.stats.add(metadata_id=9, str_value="fusion.1")
    return result


def products_of(folder: RunFolder) -> int:
    """Returns how often each product of matrices of the gradients is in the only trace of a run.

    That is once for a step, while an evaluation after the last of them may be in the trace or not.
    """
    (path,) = folder.tensorboard.glob("train/plugins/profile/*/trace.json")
    names = [event["name"] for event in json.loads(path.read_text())["traceEvents"]]
    (count,) = {names.count(name) for name in names if "MatMul:" in name and "gradient_tape" in name}
    return count


def test_the_operations_with_the_most_time_of_their_own(space: Any) -> None:
    found = dearest(space)
    assert [(each.name.rpartition("/")[2], each.calls) for each in found] == [
        ("MatMul:MatMul", 2),
        ("while:While", 1),
        ("fusion.1", 1),
    ]
    assert [each.seconds for each in found] == pytest.approx([60e-9, 40e-9, 40e-9])
    assert [each.share for each in found] == pytest.approx([60 / 140, 40 / 140, 40 / 140])
    assert len(dearest(space, 1)) == 1


def test_the_trace_has_microseconds(space: Any) -> None:
    events = trace_events(space)
    assert [event["args"]["name"] for event in events if event["ph"] == "M"] == ["/host:CPU", "python"]
    products = [event for event in events if event["name"].endswith("MatMul")]
    assert [(event["ts"], event["dur"]) for event in products] == [(2.01, 0.03), (2.05, 0.03)]


def test_the_table() -> None:
    operation = Operation("while/body/_3/while/dense/MatMul:MatMul", 2, 0.0123456, 0.5)
    assert cells([operation]) == [("dense/MatMul:MatMul", "2", "12.3", "50%")]
    assert as_markdown("steps", [operation]).splitlines()[-1] == "| dense/MatMul:MatMul | 2 | 12.3 | 50% |"


def test_a_profiled_run_is_the_same(small: Any) -> None:
    words = ["trainer.compile=graph", "trainer.max_epochs=3"]
    plain = small.train(*words)
    profiled = small.train(*words, "trainer.profile=[7,9]")
    assert profiled.metrics_jsonl.read_bytes() == plain.metrics_jsonl.read_bytes()
    (session,) = profiled.tensorboard.glob("train/plugins/profile/*")
    assert list(session.glob("*.xplane.pb"))
    assert products_of(profiled) == 2  # of the steps 8 and 9, and no other


def test_a_run_that_was_paused_profiles_the_rest(small: Any) -> None:
    words = ["trainer.compile=graph", "trainer.profile=[3,9]"]
    folder = small.train(*words, pause_epoch=1)  # after step 6
    assert products_of(folder) == 3  # of the steps 4, 5 and 6
    assert small.resume(folder, *words, resume=True) == 0
    assert products_of(folder) == 3  # of the steps 7, 8 and 9


def test_the_profile_of_a_run_that_was_killed_later_is_read(small: Any, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["trainer.compile=graph", "trainer.profile=[3,5]"]
    folder = small.train(*words, pause_epoch=1)  # after step 6
    (trace,) = folder.tensorboard.glob("train/plugins/profile/*/trace.json")
    trace.unlink()  # it is written when a run ends, and `kill -9` leaves no time for that
    assert small.resume(folder, *words, resume=True) == 0
    assert products_of(folder) == 2  # of the steps 4 and 5
    assert "profile from before the run was resumed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ("[2,2]", r"^trainer.profile: must be two numbers of steps, 0 <= first < last.* Received: \[2, 2\]"),
        ("[-1,2]", "^trainer.profile: must be two numbers of steps"),
        ("[1]", "^trainer.profile: must be a list of 2, each a whole number, or null"),
        ("[3,13]", r"^trainer.profile: the run has 12 steps. Received: \[3, 13\]"),
    ],
)
def test_steps_that_can_not_be_profiled(small: Any, steps: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        small.pieces(f"trainer.profile={steps}", "trainer.max_epochs=2")
