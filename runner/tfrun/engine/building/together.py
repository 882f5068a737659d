"""Drives several runs of one structure as one program, if that is faster than one after another.

start each run, up to its pieces
choose:  together, or one after another
together, while runs ask for blocks:
    one call of the program trains the block of all of them
    send each run its result; it writes, saves or ends
drive the others to their ends, one after another
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf

from tfrun.engine.building import devices
from tfrun.engine.building.alone import (
    VECTORIZED,
    AloneDriver,
    Engine,
    Ready,
    Request,
    Run,
    finish_alone,
)
from tfrun.engine.building.pieces import Pieces
from tfrun.engine.building.reuse import KeptProgram, Reuse
from tfrun.engine.building.threads import num_threads
from tfrun.engine.training import modes, residency
from tfrun.engine.training.block_result import BlockResult
from tfrun.engine.training.feed import Feed
from tfrun.engine.training.loop import Block, BlockSizer
from tfrun.engine.training.mode_cache import ModeCache
from tfrun.engine.training.program import Program
from tfrun.engine.training.vectorize import Lanes
from tfrun.errors import LibraryChangedError

FIRST_BLOCK_STEPS = 256
BLOCK_SECONDS = 1.0  # between two blocks each of the runs has work to do


@dataclass(frozen=True)
class _Member:
    """A run of the group.

    Attributes:
        pieces: its pieces, over the shared variables.
        feed: its batches.
        inputs: the values of its program's inputs, by path.
        values: the first values of its variables.
    """

    pieces: Pieces
    feed: Feed
    inputs: dict[str, Any]
    values: list[np.ndarray]


class Together:
    """Trains runs together, if they are of one structure and that is faster.

    Args:
        reuse: has the program of an earlier run, which is used if it fits.

    Attributes:
        why: why the runs are trained together, or aren't.
    """

    def __init__(self, reuse: Reuse) -> None:
        self.why = ""
        self._reuse = reuse
        self._kept: KeptProgram | None = None
        self._members: list[_Member] = []
        self._lanes: Lanes | None = None
        self._compile_seconds = 0.0
        self._loaded: int | None = None  # the member whose values the variables have

    def drive(
        self,
        runs: Sequence[Run],
        *,
        on_end: Callable[[int, BaseException | None], None],
        context: Callable[[int], contextlib.AbstractContextManager[Any]],
    ) -> None:
        """Drives runs to their ends. An exception of one of them doesn't concern the others.

        Args:
            runs: not started yet.
            on_end: called with a run's index once it has ended, and its exception, if any.
            context: returns what is entered while a run works on its own.
        """
        requests: dict[int, Request] = {}
        lanes: dict[int, int] = {}  # a run's index → its lane

        def advance(k: int, step: Callable[[], Request]) -> None:
            """Lets a run work up to its next request."""
            try:
                with context(k):
                    requests[k] = step()
            except (Exception, SystemExit) as error:
                requests.pop(k, None)
                on_end(k, None if isinstance(error, StopIteration) else error)

        for k, run in enumerate(runs):
            advance(k, functools.partial(self._start, run, k, lanes))
        self._choose_or_say_why()
        if self._lanes is not None:
            self._drive_lanes(runs, lanes, requests=requests, advance=advance)
        for k, request in list(requests.items()):
            try:
                with context(k):
                    self._finish(runs[k], request, lane=lanes.get(k))
            except (Exception, SystemExit) as error:
                on_end(k, error)
            else:
                on_end(k, None)

    def _drive_lanes(
        self,
        runs: Sequence[Run],
        lanes: Mapping[int, int],
        *,
        requests: Mapping[int, Request],
        advance: Callable[[int, Callable[[], Request]], None],
    ) -> None:
        """Trains the runs that have a lane together, until none asks for a block any more.

        Args:
            runs: all of them, started.
            lanes: a run's index → its lane.
            requests: a run's index → what it asks for; `advance` changes it.
            advance: lets the run of an index work up to its next request.
        """
        sizer = BlockSizer(BLOCK_SECONDS, FIRST_BLOCK_STEPS, max_steps=self._program.max_steps)
        for k, lane in lanes.items():
            advance(k, functools.partial(runs[k].send, self._engine(lane, sizer)))
        while blocks := {k: block for k, block in requests.items() if isinstance(block, Block)}:
            try:
                results = self._train_block(blocks, lanes, sizer=sizer)
            except Exception as error:  # raised in each of the runs, which records it in its folder
                for k in blocks:
                    advance(k, functools.partial(runs[k].throw, error))
            else:
                for k in blocks:
                    advance(k, functools.partial(runs[k].send, results[lanes[k]]))

    @property
    def _program(self) -> Program:
        assert self._kept is not None
        return self._kept.program

    def _start(self, run: Run, k: int, lanes: dict[int, int]) -> Request:
        """Builds a run's pieces, and makes it a member if it can be trained with the others."""
        ready = next(run)
        assert isinstance(ready, Ready)
        try:
            lane = self._join(ready.pieces)
        except BaseException as error:
            return run.throw(error)
        if lane is not None:
            lanes[k] = lane
        return ready

    def _engine(self, lane: int, sizer: BlockSizer) -> Engine:
        program = self._program
        description = {"mode": VECTORIZED, "why": self.why, "loop": program.mode, "residency": "device"}
        return Engine(
            pieces=self._members[lane].pieces,
            program=program,
            description=description | {"devices": devices.device_names(), "threads": num_threads()},
            sizer=sizer,
            compile_seconds=self._compile_seconds,
            load_variables=lambda: self._load(lane),
        )

    def _train_block(
        self, blocks: dict[int, Block], lanes: Mapping[int, int], *, sizer: BlockSizer
    ) -> list[BlockResult]:
        """Trains the block that all of the runs ask for, and returns the results by lane."""
        (block,) = set(blocks.values())  # there is one: all began at the first step, with the same plan
        on = [False] * len(self._members)
        for k in blocks:
            on[lanes[k]] = True
        started = time.perf_counter()
        results = self._train(on, block.first_step, num_steps=block.num_steps)
        sizer.update(block.num_steps, time.perf_counter() - started)
        return results

    def _finish(self, run: Run, request: Request, *, lane: int | None) -> None:
        """Drives a run to its end, alone."""
        if lane is not None and isinstance(request, Ready):
            request = replace(request, pieces=self._restore(lane))
        finish_alone(run, request, driver=AloneDriver(self._reuse, note=self.why))

    def _join(self, pieces: Pieces) -> int | None:
        """Returns a run's lane in the group; None if it has to be trained alone."""
        reason = _reason_to_train_alone(pieces)
        if reason:
            self.why = reason
            return None
        if self._kept is None:
            shared, self._kept = self._reuse.program(pieces, streams=False)
        elif self._is_like_the_first(pieces):
            shared = self._kept.adopt(pieces, streams=False)
        else:
            self.why = "not together: of another structure or other data than the first"
            return None
        values = [variable.numpy() for variable in self._variables(shared)]
        self._members.append(_Member(shared, self._program.feed, shared.parts.inputs.read(), values))
        return len(self._members) - 1

    def _is_like_the_first(self, pieces: Pieces) -> bool:
        assert self._kept is not None
        first = self._members[0].pieces
        is_equal = (first.plan, id(first.examples)) == (pieces.plan, id(pieces.examples))
        return is_equal and self._kept.fits(pieces, pieces.structure(streams=False))

    def _variables(self, pieces: Pieces) -> list[Any]:
        program = self._program
        return [*pieces.state(program).variables, *pieces.parts.inputs.variables, *program.val_variables]

    def _choose_or_say_why(self) -> None:
        """Chooses whether to train together, which isn't done if the program can't be compiled for it."""
        try:
            self._choose()
        except LibraryChangedError:
            raise
        except Exception as error:
            self._lanes = None
            self.why = f"can't be trained together: {_first_line(error)}"

    def _choose(self) -> None:
        """Chooses whether to train together, and compiles the program if so."""
        count = len(self._members)
        if self._kept is None or count < 2:
            self.why = self.why or "there is one run of its structure"
            return
        pieces = self._members[0].pieces
        values = [member.values for member in self._members]
        cache = pieces.mode_cache(num_runs=count)
        known = cache.read()
        if known and known["mode"] == "alone":
            self.why = known["why"]
            return
        started = time.perf_counter()
        self._lanes = self._make_lanes(pieces, values)
        self._program.mode = "graph_loop" if _wants_graph(pieces) else "xla_loop"
        self._train([False] * count, 0, num_steps=1)  # compiles
        self._compile_seconds = time.perf_counter() - started
        if known:
            self.why = known["why"]
        elif self._is_faster(pieces.plan.last_step, cache):
            self._lanes.write(values)
        else:
            self._lanes = None

    def _make_lanes(self, pieces: Pieces, values: Sequence[Sequence[np.ndarray]]) -> Lanes:
        """Returns lanes with the runs' first values: those made for earlier runs, if there were as many."""
        assert self._kept is not None
        lanes = self._kept.lanes.get(len(values))
        if lanes is not None:
            lanes.write(values)
            return lanes
        optimizers = [group.optimizer for group in pieces.parts.step.active]
        lanes = Lanes(self._variables(pieces), optimizers=optimizers, values=values)
        self._kept.lanes[len(values)] = lanes
        return lanes

    def _is_faster(self, last_step: int | None, cache: ModeCache) -> bool:
        """Measures whether to train together is faster, if the runs are long enough for that to pay."""
        count = len(self._members)
        program = self._program
        together = 0.0
        for longest in (modes.ROUGH_STEPS, program.max_steps):  # a quick estimate is enough for most runs
            max_steps = min(longest, program.max_steps)
            together = count * modes.steps_per_second(
                lambda steps: self._train([True] * count, 0, num_steps=steps), max_steps
            )
            seconds = float("inf") if last_step is None else last_step * count / together
            if modes.is_too_short(seconds, self._compile_seconds):
                self.why = f"{count} runs in at most {seconds:,.0f} s: too short to compare with one after another"
                return True
        program.run(0, 1)  # compiles
        alone = modes.steps_per_second(lambda steps: program.run(0, steps), program.max_steps)
        self.why = f"measured: {count} together {together:,.0f} steps/s, one after another {alone:,.0f} steps/s"
        cache.write({"mode": "together" if together > alone else "alone", "why": self.why})
        return together > alone

    def _train(self, on: Sequence[bool], first_step: int, *, num_steps: int) -> list[BlockResult]:
        assert self._lanes is not None
        program = self._program
        first = self._members[0]
        self._loaded = None
        program.use_feed(first.feed, first.pieces.val_rows)
        batches = [program.batches(member.feed, first_step, num_steps=num_steps) for member in self._members]
        return program.run_lanes(self._lanes, batches, on=on, first_step=first_step, num_steps=num_steps)

    def _restore(self, lane: int) -> Pieces:
        """Restores a run's first values and returns its pieces."""
        member = self._members[lane]
        for variable, value in zip(self._variables(member.pieces), member.values, strict=True):
            variable.assign(value)
        member.pieces.parts.inputs.assign(member.inputs)
        return member.pieces

    def _load(self, lane: int) -> None:
        """Loads one run's lane into the shared variables, inputs and feed."""
        if self._loaded == lane:
            return
        assert self._lanes is not None
        self._loaded = lane
        member = self._members[lane]
        self._lanes.load(lane)
        member.pieces.parts.inputs.assign(member.inputs)
        self._program.use_feed(member.feed, member.pieces.val_rows)


def _reason_to_train_alone(pieces: Pieces) -> str:
    """Returns why a run can't be trained with others, or an empty string."""
    trainer = pieces.settings.trainer
    step = pieces.parts.step
    reasons = {
        "several replicas": pieces.strategy.num_replicas_in_sync > 1,
        "trainer.compile=eager": trainer.compile == "eager",
        "trainer.microbatches": step.options.microbatches > 1,
        "trainer.on_divergence=rollback": trainer.on_divergence == "rollback",
        "trainer.max_seconds": trainer.max_seconds is not None,
        "tables are updated by rows": bool(step.tables),
        "stages of training": step.stages.are_several,
        "a component has a tf.Variable": any(isinstance(v, tf.Variable) for v in pieces.state().variables),
    }
    streams = residency.reason_to_stream(pieces.settings.data.residency, pieces.bytes_to_load)
    reason = streams or next((text for text, applies in reasons.items() if applies), "")
    return f"not together: {reason}" if reason else ""


def _wants_graph(pieces: Pieces) -> bool:
    return pieces.settings.trainer.compile == "graph" or modes.prefers_graph(pieces.parts.model)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
