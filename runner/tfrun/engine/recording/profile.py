"""Profiles some steps of a run: `trainer.profile=[10,20]`.

TensorFlow's profiler writes what TensorBoard's profile plugin reads, `plugins/profile/<time>/<host>.xplane.pb`. The
plugin is a package of its own, so there is also a trace for Perfetto (ui.perfetto.dev) or chrome://tracing, and a table
of the operations that took the most time.
"""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfrun.engine.private import parse_profile
from tfrun.engine.training.block_result import BlockResult
from tfrun.engine.training.loop import Observer
from tfrun.files import strict_json
from tfrun.files.disk import refuse_links_inside, write_atomically

NUM_OPERATIONS = 10
MAX_EVENTS = 200_000  # of the trace; the shortest ones are left out
MAX_LETTERS = 44  # of an operation's name
SCOPES = re.compile(r"(while|body|cond|then|else|loop_body|_\d+)")  # of loops and branches, which say little
PICOSECONDS = 1e12

log = logging.getLogger("tfrun")


@dataclass(frozen=True)
class Operation:
    """What an operation took in all.

    Attributes:
        name: of the operation, or of the kernel into which XLA has fused several.
        calls: how often it ran.
        seconds: its own time, without that of operations inside it.
        share: of the own time of all operations, from 0 to 1.
    """

    name: str
    calls: int
    seconds: float
    share: float


class Profile(Observer):
    """Profiles the steps after step `first`, up to step `last`; those that are left in a run that is resumed.

    A block ends at both (`Plan.profile`). What goes wrong is in the log, and ends no run.

    Args:
        folder: that of the run's event files of training.
        run: the run's folder.
        first, last: numbers of steps done.
    """

    def __init__(self, folder: Path, run: Path, *, first: int, last: int):
        self._folder = folder
        self._run = run
        self._first, self._last = first, last
        self._begun: int | None = None  # the step at which the profiler was started
        self._ended: int | None = None

    def begin(self, step: int) -> None:
        """Starts the profiler if a step that it profiles comes next."""
        if self._begun is not None or not self._first <= step < self._last:
            return
        self._begun = step
        try:
            refuse_links_inside(self._run, self._folder)
            # of an attempt that was killed: these steps are trained again
            shutil.rmtree(self._sessions, ignore_errors=True)
            tf.profiler.experimental.start(str(self._folder))
        except Exception:  # another run of this process is being profiled, for example
            log.warning("trainer.profile: the profiler can't be started", exc_info=True)
            self._first = self._last = -1

    def on_block(self, first_step: int, result: BlockResult) -> None:
        step = first_step + len(result.losses)
        if self._is_running and (step >= self._last or not result.finite or result.stopped):
            self.end(step)
        self.begin(step)

    def end(self, step: int) -> None:
        """Stops the profiler if it runs, and writes its file."""
        if self._is_running:
            self._ended = step
            try:
                tf.profiler.experimental.stop()
            except Exception:
                log.warning("trainer.profile: the profile can't be written", exc_info=True)

    def read(self) -> tuple[str, list[Operation]] | None:
        """Writes the trace, and returns a title and the operations that took the most time; None if there are none.

        A run that was killed after these steps has left their profile without a trace.
        """
        if self._begun is None:
            title = "profile from before the run was resumed"
            is_unread = self.trace is None and any(self._sessions.glob("*/*.xplane.pb"))
        else:
            title = f"profile of steps {self._begun:,} to {self._ended or 0:,}"
            is_unread = self._ended not in (None, self._begun)
        if not is_unread:
            return None
        try:
            (path,) = self._sessions.glob("*/*.xplane.pb")
            space = parse_profile(path.read_bytes())
            write_atomically(path.with_name("trace.json"), strict_json.dumps({"traceEvents": trace_events(space)}))
            return title, dearest(space)
        except Exception:
            log.warning("trainer.profile: the profile can't be read", exc_info=True)
            return None

    @property
    def trace(self) -> Path | None:
        """The file for Perfetto, if it has been written."""
        return next(self._sessions.glob("*/trace.json"), None)

    @property
    def _sessions(self) -> Path:
        return self._folder / "plugins" / "profile"

    @property
    def _is_running(self) -> bool:
        return self._begun is not None and self._ended is None and self._last >= 0


def dearest(space: Any, count: int = NUM_OPERATIONS) -> list[Operation]:
    """Returns the operations with the most time of their own, the longest first.

    Args:
        space: an `XSpace`, as TensorFlow's profiler writes it.
        count: how many at most.
    """
    seconds: dict[str, float] = {}
    calls: dict[str, int] = {}
    for plane in space.planes:
        for line in plane.lines:
            operations = [event for event in line.events if is_operation(plane, event)]
            for event, own in _own_times(operations):
                name = plane.event_metadata[event.metadata_id].name
                seconds[name] = seconds.get(name, 0.0) + own / PICOSECONDS
                calls[name] = calls.get(name, 0) + 1
    total = sum(seconds.values())
    names = sorted(seconds, key=lambda name: -seconds[name])[:count]
    return [Operation(name, calls[name], seconds[name], seconds[name] / total) for name in names if total]


def is_operation(plane: Any, event: Any) -> bool:
    """Returns whether an event is an operation: of XLA, of a graph (`dense/MatMul:MatMul`), or of a device."""
    name = plane.event_metadata[event.metadata_id].name
    if plane.name.startswith("/device:"):
        return True
    if any(plane.stat_metadata[stat.metadata_id].name == "hlo_op" for stat in event.stats):
        return True
    scope, colon, kind = name.partition(":")
    return bool(colon and scope and kind.lstrip("_").isalnum() and not scope.startswith("__inference"))


def _own_times(events: Sequence[Any]) -> Iterator[tuple[Any, int]]:
    """Yields each event of a line with its time in picoseconds, without that of the events inside it."""
    inside: dict[int, int] = {}
    ordered = sorted(events, key=lambda event: (event.offset_ps, -event.duration_ps))
    parents: list[tuple[int, int]] = []  # the places of those that are open, and their ends
    for place, event in enumerate(ordered):
        while parents and parents[-1][1] <= event.offset_ps:
            parents.pop()
        if parents:
            parent = parents[-1][0]
            inside[parent] = inside.get(parent, 0) + event.duration_ps
        parents.append((place, event.offset_ps + event.duration_ps))
    for place, event in enumerate(ordered):
        yield event, max(0, event.duration_ps - inside.get(place, 0))


def trace_events(space: Any) -> list[dict[str, Any]]:
    """Returns the events of an `XSpace` in Chrome's trace format, times in microseconds.

    Source: "Trace Event Format", Google, 2016: complete events ("X") and metadata ("M").
    """
    events: list[dict[str, Any]] = []
    names: list[dict[str, Any]] = []
    for process, plane in enumerate(space.planes):
        names.append({"ph": "M", "pid": process, "name": "process_name", "args": {"name": plane.name}})
        for thread, line in enumerate(plane.lines):
            name = line.display_name or line.name
            names.append({"ph": "M", "pid": process, "tid": thread, "name": "thread_name", "args": {"name": name}})
            for event in line.events:
                if event.duration_ps:
                    began = line.timestamp_ns / 1e3 + event.offset_ps / 1e6
                    what = {"name": plane.event_metadata[event.metadata_id].name, "ph": "X"}
                    place = {"pid": process, "tid": thread, "ts": began, "dur": event.duration_ps / 1e6}
                    events.append(what | place)
    events = sorted(events, key=lambda event: -event["dur"])[:MAX_EVENTS]
    return [*names, *sorted(events, key=lambda event: event["ts"])]


def as_markdown(title: str, operations: Sequence[Operation]) -> str:
    """Returns the table for TensorBoard's Text tab."""
    lines = [f"| {name} | {calls} | {time} | {share} |" for name, calls, time, share in cells(operations)]
    return "\n".join([title, "", "| operation | calls | ms | share |", "|---|--:|--:|--:|", *lines])


def cells(operations: Sequence[Operation]) -> list[tuple[str, str, str, str]]:
    """Returns the table's cells: name, calls, own milliseconds, share."""
    return [
        (_shown(each.name), f"{each.calls:,}", f"{1e3 * each.seconds:.3g}", f"{each.share:.0%}") for each in operations
    ]


def _shown(name: str) -> str:
    """Returns an operation's name without the scopes of loops, and not too long: its end says the most."""
    kept = "/".join(part for part in name.split("/") if not SCOPES.fullmatch(part))
    return kept if len(kept) <= MAX_LETTERS else f"…{kept[1 - MAX_LETTERS :]}"
