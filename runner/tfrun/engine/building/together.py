"""Who trains a run's blocks: its own program, or one that trains several runs together.

A run is a coroutine. It awaits its engine, and then each block; alone it never has to wait. Runs that are driven
together wait for each other: when all have asked for their next block, one call of one program trains it for all of
them, and each goes on by itself, to write, to save, or to end.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfrun.engine.building import devices
from tfrun.engine.building.pieces import Kept, Session, with_program
from tfrun.engine.training import modes
from tfrun.engine.training.feed import Feed
from tfrun.engine.training.loop import Timing
from tfrun.engine.training.mode_cache import Choices
from tfrun.engine.training.program import BlockResult, Program
from tfrun.engine.training.vectorize import Lanes
from tfrun.errors import LibraryChangedError

VECTORIZED = "vectorized"
FIRST_BLOCK_STEPS = 256
BLOCK_SECONDS = 1.0  # between two blocks each run has something to do


class Engine(NamedTuple):
    """What trains a run.

    Attributes:
        session: the run's, perhaps over the variables of an earlier one.
        program: compiled for it.
        told: what `run.json` says.
        run: trains a block, from a step on about so many steps.
        show: gives the variables the run's own values, which blocks that train several runs leave alone.
    """

    session: Session
    program: Program
    told: dict[str, Any]
    run: Callable[[int, int], Awaitable[BlockResult]]
    show: Callable[[], None]


Take = Callable[[Session, Mapping[str, Any], Timing], Awaitable[Engine]]
# session, what was picked when the run began, which a run that goes on keeps, and what takes the seconds of compiling


def finish(run: Coroutine[Any, Any, int]) -> int:
    """Drives a run that is alone to its end, and returns what it returns."""
    try:
        run.send(None)
    except StopIteration as end:
        return end.value
    raise RuntimeError("a run that is alone has nothing to wait for")


async def alone(session: Session, before: Mapping[str, Any], timing: Timing) -> Engine:
    """Picks where the examples lie and how the program is compiled."""
    settings = session.settings
    why_stream = modes.why_stream(before.get("residency") or settings.data.residency, session.bytes_to_load)
    session, kept = with_program(session, streams=bool(why_stream))
    program, compile = kept.program, before.get("loop") or settings.trainer.compile
    key = compile, session.plan
    choice = kept.choices.get(key) or modes.choose(
        compile,
        session.strategy,
        session.parts.model,
        session.plan,
        program,
        session.state(program),
        session.choices,
    )
    kept.choices[key] = replace(choice, compile_seconds=0.0)
    program.mode, timing.compile_seconds = choice.mode, choice.compile_seconds
    picked = {
        "mode": "stream" if why_stream else choice.mode,
        "why": "; ".join(filter(None, [why_stream, choice.why])),
        "loop": choice.mode,
        "residency": "stream" if why_stream else "device",
    }

    async def run(first_step: int, num_steps: int) -> BlockResult:
        return program.run(first_step, num_steps)

    if before and before["mode"] != VECTORIZED:  # else it goes on alone
        picked = dict(before)
    return Engine(session, program, picked | {"devices": devices.device_names()}, run, lambda: None)


class _Wait:
    """Waits for whoever drives a run to answer."""

    def __init__(self, asked: Any):
        self._asked = asked

    def __await__(self) -> Generator[Any, Any, Any]:
        return (yield self._asked)


@dataclass(frozen=True)
class _Member:
    """A run of the group: its session over the shared variables, its batches, its hyperparameters, its first values."""

    session: Session
    feed: Feed
    inputs: dict[str, float]
    values: list[np.ndarray]


class Group:
    """Runs that are trained together, where they are of one structure and that is faster.

    Attributes:
        why: why they are, or aren't.
    """

    def __init__(self) -> None:
        self.why = ""
        self._kept: Kept | None = None
        self._members: list[_Member] = []
        self._lanes: Lanes | None = None
        self._compile_seconds = 0.0
        self._shown: int | None = None

    async def take(self, session: Session, before: Mapping[str, Any], timing: Timing) -> Engine:
        """Is every run's way to its engine."""
        number = self._join(session)
        await _Wait(number)
        if number is None or self._lanes is None:
            if number is not None:
                session = self._put_back(number)
            engine = await alone(session, before, timing)
            return engine._replace(told=engine.told | {"why": f"{engine.told['why']}; {self.why}"})
        session, program = self._members[number].session, self._program
        timing.compile_seconds = self._compile_seconds

        async def run(first_step: int, num_steps: int) -> BlockResult:
            return await _Wait(first_step)

        picked = {"mode": VECTORIZED, "why": self.why, "loop": program.mode, "residency": "device"}
        return Engine(session, program, picked | {"devices": devices.device_names()}, run, lambda: self._show(number))

    def drive(
        self,
        runs: Sequence[Coroutine[Any, Any, int]],
        ended: Callable[[int, BaseException | None], None],
        within: Callable[[int], contextlib.AbstractContextManager[Any]],
    ) -> None:
        """Drives runs to their ends; each one's exception does not concern the others.

        Args:
            runs: whose engines are this group's.
            ended: called with a run's place once it has ended, and its exception, if there was one.
            within: gives what is entered while a run does something of its own.
        """
        asked: dict[int, Any] = {}

        def go_on(k: int, answer: Any = None) -> None:
            try:
                with within(k):
                    asked[k] = runs[k].send(answer)
            except (Exception, SystemExit) as error:
                asked.pop(k, None)
                ended(k, None if isinstance(error, StopIteration) else error)

        for k in range(len(runs)):
            go_on(k)
        numbers = {k: number for k, number in asked.items() if number is not None}
        try:
            self._settle()
        except LibraryChangedError:
            raise
        except Exception as error:
            self._lanes, self.why = None, f"can't be trained together: {_first_line(error)}"
        if self._lanes is not None:
            for k in numbers:
                go_on(k)
            wanted = FIRST_BLOCK_STEPS
            while waiting := {k: step for k, step in asked.items() if k in numbers}:
                (first,) = set(waiting.values())
                on = [False] * len(self._members)
                for k in waiting:
                    on[numbers[k]] = True
                count = self._members[0].session.plan.block_steps(first, min(wanted, self._program.max_steps))
                started = time.perf_counter()
                results = self._train(on, first, count)
                wanted = min(8 * wanted, max(1, int(count * BLOCK_SECONDS / (time.perf_counter() - started))))
                for k in waiting:
                    go_on(k, results[numbers[k]])
        for k in list(asked):  # one after the other, to its end
            go_on(k)

    @property
    def _program(self) -> Program:
        assert self._kept is not None
        return self._kept.program

    def _join(self, session: Session) -> int | None:
        """Returns a run's number in the group; None where it has to be trained alone."""
        reason = _why_alone(session)
        if reason:
            self.why = reason
            return None
        if self._kept is None:
            over, self._kept = with_program(session, streams=False)
        elif self._is_like_the_first(session):
            over = self._kept.take(session, streams=False)
        else:
            self.why = "not together: of another structure or other data than the first"
            return None
        values = [variable.numpy() for variable in self._variables(over)]
        inputs = over.parts.inputs.read()
        self._members.append(_Member(over, self._program.feed, inputs, values))
        return len(self._members) - 1

    def _is_like_the_first(self, session: Session) -> bool:
        assert self._kept is not None
        first = self._members[0].session
        is_equal = (first.plan, id(first.examples)) == (session.plan, id(session.examples))
        return is_equal and self._kept.fits(session, session.structure(streams=False))

    def _variables(self, session: Session) -> list[Any]:
        program = self._program
        return [*session.state(program).variables, *session.parts.inputs.variables, *program.val_variables]

    def _settle(self) -> None:
        """Picks whether to train together, and compiles the program if so."""
        count = len(self._members)
        if self._kept is None or count < 2:
            self.why = self.why or "there is one run of its structure"
            return
        session, values = self._members[0].session, [member.values for member in self._members]
        choices = session.choices(lanes=count)
        known = choices.read()
        if known and known["mode"] == "alone":
            self.why = known["why"]
            return
        started = time.perf_counter()
        lanes = self._kept.choices.get(("lanes", count))
        if lanes is None:
            optimizers = [group.optimizer for group in session.parts.step.active]
            lanes = self._kept.choices["lanes", count] = Lanes(self._variables(session), optimizers, values)
        else:
            lanes.write(values)
        self._program.mode = "graph_loop" if _wants_graph(session) else "xla_loop"
        self._lanes = lanes
        self._train([False] * count, 0, 1)  # compiles
        self._compile_seconds = time.perf_counter() - started
        if known:
            self.why = known["why"]
        elif self._is_faster(session.plan.last_step, choices):
            lanes.write(values)
        else:
            self._lanes = None

    def _is_faster(self, last_step: int, choices: Choices) -> bool:
        """Measures whether to train together is faster, where the runs are long enough for that to pay."""
        count, program = len(self._members), self._program
        together = 0.0
        for longest in (modes.ROUGH_STEPS, program.max_steps):  # most runs are so short that a rough look will do
            most = min(longest, program.max_steps)
            together = count * modes.rate(lambda steps: self._train([True] * count, 0, steps), most)
            seconds = last_step * count / together
            if modes.is_too_short(seconds, self._compile_seconds):
                self.why = f"{count} runs in at most {seconds:,.0f} s: too short to compare with one after another"
                return True
        program.run(0, 1)  # compiles
        alone = modes.rate(lambda steps: program.run(0, steps), program.max_steps)
        self.why = f"measured: {count} together {together:,.0f} steps/s, one after another {alone:,.0f} steps/s"
        choices.write({"mode": "together" if together > alone else "alone", "why": self.why})
        return together > alone

    def _train(self, on: Sequence[bool], first_step: int, num_steps: int) -> list[BlockResult]:
        assert self._lanes is not None
        program, first, self._shown = self._program, self._members[0], None
        program.take(first.feed, first.session.examples.splits["val"])
        parts = [program.batches(member.feed, first_step, num_steps) for member in self._members]
        return program.run_lanes(self._lanes, parts, on, first_step, num_steps)

    def _put_back(self, number: int) -> Session:
        """Gives the variables a run's first values, and returns its session over them."""
        member = self._members[number]
        for variable, value in zip(self._variables(member.session), member.values, strict=True):
            variable.assign(value)
        member.session.parts.inputs.take(member.inputs)
        return member.session

    def _show(self, number: int) -> None:
        """Has the variables, and all else that a run looks at, be of one run."""
        if self._shown == number:
            return
        assert self._lanes is not None
        self._shown, member = number, self._members[number]
        self._lanes.show(number)
        member.session.parts.inputs.take(member.inputs)
        self._program.take(member.feed, member.session.examples.splits["val"])


def _why_alone(session: Session) -> str:
    """Returns why a run can't be trained with others, if it can't."""
    settings, step = session.settings, session.parts.step
    trainer = settings.trainer
    variables = session.state().variables
    reasons = {
        "strategy": session.strategy.num_replicas_in_sync > 1 and "several replicas",
        "residency": modes.why_stream(settings.data.residency, session.bytes_to_load),
        "compile": trainer.compile == "eager" and "trainer.compile=eager",
        "microbatches": step.microbatches > 1 and "trainer.microbatches",
        "on_divergence": trainer.on_divergence == "rollback" and "trainer.on_divergence=rollback",
        "max_seconds": trainer.max_seconds is not None and "trainer.max_seconds",
        "variables": any(isinstance(own, tf.Variable) for own in variables) and "a component has a tf.Variable",
    }
    return next((f"not together: {reason}" for reason in reasons.values() if reason), "")


def _wants_graph(session: Session) -> bool:
    on_cpu = not tf.config.list_logical_devices("GPU")
    return session.settings.trainer.compile == "graph" or (on_cpu and modes.has_convolutions(session.parts.model))


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
