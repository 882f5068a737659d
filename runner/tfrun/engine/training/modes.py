"""How the step loop is compiled: `xla_loop`, `graph_loop` or `eager`, and which one `trainer.compile=auto` chooses.

XLA fuses the loop of a dense network and makes it several times faster than TensorFlow's own graph loop; on a CPU it
makes convolutions ten times slower. So XLA is the first choice except for convolutions and for runs too short to pay
for its compilation, and if a run is long enough `auto` compares the two on the run's own program and state.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import keras
import tensorflow as tf

from tfrun.engine import private
from tfrun.engine.training.mode_cache import ModeCache
from tfrun.engine.training.plan import Plan
from tfrun.engine.training.program import Program, XlaError
from tfrun.engine.training.state import State

FIXED = {"xla": "xla_loop", "graph": "graph_loop", "eager": "eager"}
WORTH_XLA_STEPS = 2000  # a shorter run takes less time than XLA's compilation
WORTH_XLA_IDS = 10_000_000  # the same for tables: of all steps, the rows that are updated
CLEARLY_FASTER = 1.3  # ratios nearer to 1 are ties in noise, and a tie must always fall the same way
SHARE_OF_RUN = 0.05  # that a comparison may cost
COMPARISON_SECONDS = 1.2  # what it costs at least: the graph loop's tracing, its first call and its trial
TRIAL_SECONDS = 0.05  # of a timed block
NUM_TRIALS = 3
ROUGH_STEPS = 64  # of the block that gives a quick estimate, enough to recognize runs too short for a comparison


@dataclass(frozen=True)
class Choice:
    """A mode and why it was chosen.

    Attributes:
        mode: the mode.
        why: the reason, for run.json.
        compile_seconds: what trying it out took; the program is compiled then.
    """

    mode: str
    why: str
    compile_seconds: float = 0.0


def choose(
    compile: str,
    plan: Plan,
    *,
    program: Program,
    state: State,
    model: keras.Model,
    num_replicas: int,
    cache: Callable[[], ModeCache],
) -> Choice:
    """Returns the mode to train in.

    Args:
        compile: the config's `trainer.compile`, or the mode that a resumed run keeps.
        plan: the length of the run.
        program: the program to try out; its mode is left as the last one tried.
        state: the variables that a trial changes; they are restored.
        model: the model that is trained.
        num_replicas: the number of devices that share each batch.
        cache: returns where the answer for this program is remembered.
    """
    if compile in FIXED:
        return Choice(FIXED[compile], f"trainer.compile={compile}")
    if compile in FIXED.values():
        return Choice(compile, "the run was trained in this mode before it was resumed")
    if num_replicas > 1:
        return Choice("graph_loop", "several replicas: collectives run in TensorFlow's own loop")
    if prefers_graph(model):
        return Choice("graph_loop", "convolutions on a CPU run in oneDNN, outside of XLA")
    if plan.last_step is not None and _is_done_sooner(plan.last_step, program.ids_per_step):
        return Choice("graph_loop", f"{plan.last_step} steps take less time than XLA's compilation")
    if program.has_tables:
        return _compiled_for_tables(program)
    answers = cache()
    known = answers.read()
    return Choice(known["mode"], known["why"]) if known else _compared(plan, program, state=state, cache=answers)


def _is_done_sooner(num_steps: int, ids_per_step: int) -> bool:
    """Returns whether a run has been trained by the graph loop before XLA has compiled one that is twice as fast."""
    return num_steps * ids_per_step < WORTH_XLA_IDS if ids_per_step else num_steps < WORTH_XLA_STEPS


def prefers_graph(model: keras.Model) -> bool:
    """Returns whether TensorFlow's own loop is known to be the faster one: a model with convolutions, on a CPU."""
    has_convolutions = any("Conv" in type(layer).__name__ for layer in private.layers_of(model))
    return has_convolutions and not tf.config.list_logical_devices("GPU")


def steps_per_second(train: Callable[[int], object], max_steps: int) -> float:
    """Measures how fast blocks are trained.

    The blocks are long enough for the overhead of a block not to count. The fastest of three counts, since noise can
    only slow down: one block that the machine delayed would decide for this run and for all that remember it.

    Args:
        train: trains a block of the given number of steps.
        max_steps: the longest block.
    """

    def seconds(num_steps: int) -> float:
        started = time.perf_counter()
        train(num_steps)
        return time.perf_counter() - started

    num_steps = 1
    while True:
        fastest = min(seconds(num_steps) for _ in range(NUM_TRIALS))
        if fastest >= TRIAL_SECONDS or num_steps == max_steps:
            return num_steps / fastest
        num_steps = min(max_steps, 4 * num_steps)


def is_too_short(seconds: float, compile_seconds: float) -> bool:
    """Returns whether a run is too short to pay for comparing one way of training with another.

    Args:
        seconds: how long the run trains.
        compile_seconds: what compiling one of the two took; the other one will take about as long.
    """
    return SHARE_OF_RUN * seconds < max(COMPARISON_SECONDS, compile_seconds)


def _compiled_for_tables(program: Program) -> Choice:
    """Chooses XLA's loop, which was measured to be the faster one for tables, unless it can't compile the step.

    A trial would copy the tables before and after.
    """
    started = time.perf_counter()
    program.mode = "xla_loop"
    try:
        program.compile()
    except XlaError:
        return Choice("graph_loop", "XLA can't compile the step", time.perf_counter() - started)
    return Choice("xla_loop", "tables are updated by rows", time.perf_counter() - started)


def _compared(plan: Plan, program: Program, *, state: State, cache: ModeCache) -> Choice:
    """Compares XLA's loop with TensorFlow's, unless the run is too short for that."""
    started = time.perf_counter()
    limit = float("inf") if plan.last_step is None else plan.last_step
    num_steps = int(min(program.max_steps, limit, program.steps_of_first_stage))
    xla = 0.0
    for longest in (min(ROUGH_STEPS, num_steps), num_steps):  # most runs are so short that a quick estimate is enough
        try:
            xla = _measure(program, "xla_loop", state=state, max_steps=longest)
        except XlaError:
            return Choice("graph_loop", "XLA can't compile the step", time.perf_counter() - started)
        compile_seconds = time.perf_counter() - started
        seconds = min(limit / xla, plan.max_seconds or float("inf"))
        if is_too_short(seconds, compile_seconds):  # tracing the graph loop would take about as long
            why = f"at most {seconds:,.0f} s of training: too short to compare with the graph loop"
            return Choice("xla_loop", why, compile_seconds)
    graph = _measure(program, "graph_loop", state=state, max_steps=num_steps)
    mode = "graph_loop" if graph > CLEARLY_FASTER * xla else "xla_loop"
    why = f"measured: xla_loop {xla:,.0f} steps/s, graph_loop {graph:,.0f} steps/s"
    cache.write({"mode": mode, "why": why})
    return Choice(mode, why, time.perf_counter() - started)


def _measure(program: Program, mode: str, *, state: State, max_steps: int) -> float:
    """Returns a mode's steps per second. The state is restored."""
    program.mode = mode
    before = state.read()
    program.run(0, 1)  # compiles
    rate = steps_per_second(lambda num_steps: program.run(0, num_steps), max_steps)
    state.write(before)
    return rate
