"""Drives a run that trains alone: chooses its program, and trains the blocks that its loop asks for.

A run is a generator. It yields `Ready` once its pieces are built, and is sent its `Engine`; then it yields each `Block`
and is sent its `BlockResult`. `together` drives several runs at a time.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tfrun.engine.building import devices
from tfrun.engine.building.pieces import Pieces
from tfrun.engine.building.reuse import Reuse
from tfrun.engine.building.threads import num_threads
from tfrun.engine.training import modes, residency
from tfrun.engine.training.block_result import BlockResult
from tfrun.engine.training.loop import Block, BlockSizer
from tfrun.engine.training.program import Program

BLOCK_SECONDS = 0.15  # so that the display moves several times a second
LARGE_BLOCK_SECONDS = 0.5  # a large state takes a few milliseconds to check after each block
LARGE_STATE_BYTES = 2**23
FIRST_BLOCK_STEPS = 1
VECTORIZED = "vectorized"  # the mode of runs that are trained together


@dataclass(frozen=True)
class Ready:
    """A run's pieces are built, and it asks for its engine.

    Attributes:
        pieces: the run's.
        resumed: the entry `engine` in the manifest of the checkpoint that the run is resumed from, so that it keeps its
            mode; empty without a checkpoint.
    """

    pieces: Pieces
    resumed: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Engine:
    """What a run is trained with.

    Attributes:
        pieces: the run's, perhaps over the variables of an earlier run.
        program: compiled for it.
        description: the entry `engine` of run.json.
        sizer: how long its blocks are.
        compile_seconds: what compiling has taken so far.
        load_variables: loads the run's values into the program's variables, which runs that are trained together share.
    """

    pieces: Pieces
    program: Program
    description: dict[str, Any]
    sizer: BlockSizer
    compile_seconds: float
    load_variables: Callable[[], None] = lambda: None


Request = Ready | Block
Run = Generator[Request, Any, int]  # is sent an Engine and BlockResults; returns the exit code


def drive_alone(run: Run, reuse: Reuse) -> int:
    """Drives a run to its end and returns its exit code. Raises what the run raises.

    Args:
        run: not started yet.
        reuse: has the program of an earlier run, which is used if it fits.
    """
    try:
        request = next(run)
    except StopIteration as end:
        return end.value
    return finish_alone(run, request, driver=AloneDriver(reuse))


def finish_alone(run: Run, request: Request, *, driver: AloneDriver) -> int:
    """Answers a run's requests to its end and returns its exit code. Raises what the run raises."""
    while True:
        try:
            request = respond(run, functools.partial(driver, request))
        except StopIteration as end:
            return end.value


def respond(run: Run, compute: Callable[[], Any]) -> Request:
    """Sends a run the answer that `compute` returns, and returns the run's next request.

    An exception of `compute` is raised inside the run, which records it in its folder.

    Raises:
        StopIteration: the run has ended; with its exit code.
    """
    try:
        answer = compute()
    except BaseException as error:
        return run.throw(error)
    return run.send(answer)


def block_seconds(state_bytes: int) -> float:
    """Returns how long a block should take, for a state of this size."""
    return BLOCK_SECONDS if state_bytes < LARGE_STATE_BYTES else LARGE_BLOCK_SECONDS


class AloneDriver:
    """Answers the requests of one run.

    Args:
        reuse: has the program of an earlier run.
        note: is added to the reason for the mode, in run.json.
    """

    def __init__(self, reuse: Reuse, note: str = ""):
        self._reuse = reuse
        self._note = note
        self._engine: Engine | None = None

    def __call__(self, request: Request) -> Engine | BlockResult:
        """Returns the engine for `Ready`, and the result for a `Block`."""
        if isinstance(request, Ready):
            self._engine = self._choose(request)
            return self._engine
        assert self._engine is not None
        started = time.perf_counter()
        result = self._engine.program.run(request.first_step, request.num_steps)
        if not result.compiled:
            self._engine.sizer.update(request.num_steps, time.perf_counter() - started)
        return result

    def _choose(self, ready: Ready) -> Engine:
        """Chooses where the examples lie and how the program is compiled."""
        settings = ready.pieces.settings
        resumed = ready.resumed
        where = resumed.get("residency") or settings.data.residency
        why_stream = residency.reason_to_stream(where, ready.pieces.bytes_to_load)
        ready.pieces.announce("build_program", streams=bool(why_stream))
        pieces, kept = self._reuse.program(ready.pieces, streams=bool(why_stream))
        program = kept.program
        mode = resumed.get("loop") or settings.trainer.compile
        choice = kept.choices.get((mode, pieces.plan)) or modes.choose(
            mode,
            pieces.plan,
            program=program,
            state=pieces.state(program),
            model=pieces.parts.model,
            num_replicas=pieces.strategy.num_replicas_in_sync,
            cache=pieces.mode_cache,
        )
        kept.choices[mode, pieces.plan] = replace(choice, compile_seconds=0.0)
        program.mode = choice.mode
        description = {
            "mode": "stream" if why_stream else choice.mode,
            "why": "; ".join(filter(None, [why_stream, choice.why])),
            "loop": choice.mode,
            "residency": "stream" if why_stream else "device",
        }
        if resumed and resumed["mode"] != VECTORIZED:  # a run that was trained with others is resumed alone
            description = dict(resumed)
        if self._note:
            description["why"] = f"{description['why']}; {self._note}"
        return Engine(
            pieces=pieces,
            program=program,
            description=description | {"devices": devices.device_names(), "threads": num_threads()},
            sizer=BlockSizer(block_seconds(program.state_bytes), FIRST_BLOCK_STEPS, max_steps=program.max_steps),
            compile_seconds=choice.compile_seconds,
        )
