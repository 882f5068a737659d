"""How the step loop is compiled: `xla_loop`, `graph_loop` or `eager`, and which one `trainer.compile=auto` picks.

XLA fuses the loop of a dense network and makes it several times faster than TensorFlow's own graph loop; on a CPU it
makes convolutions ten times slower. So XLA is the first choice but for convolutions and for runs too short to pay for
its compilation, and where a run is long enough `auto` compares the two on the run's own program and state.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import keras
import tensorflow as tf

from tfrun.engine import private
from tfrun.engine.training.loop import Plan
from tfrun.engine.training.mode_cache import Choices
from tfrun.engine.training.program import Program, XlaError
from tfrun.engine.training.state import State

FIXED = {"xla": "xla_loop", "graph": "graph_loop", "eager": "eager"}
WORTH_XLA_STEPS = 2000  # below it the whole run takes less time than XLA's compilation
CLEARLY_FASTER = 1.3  # ratios nearer to 1 are ties in noise, and a tie must always fall the same way
SHARE_OF_RUN = 0.05  # that a comparison may cost
COMPARISON_SECONDS = 1.2  # what it costs at least: the graph loop's tracing, its first call and its trial
TRIAL_SECONDS = 0.05  # of a block that is timed
ROUGH_STEPS = 64  # of a block that tells a run far too short for a comparison


@dataclass(frozen=True)
class Choice:
    """A mode and why it was picked; where it was tried out, its program is compiled already."""

    mode: str
    why: str
    compile_seconds: float = 0.0


def choose(
    compile: str,
    strategy: tf.distribute.Strategy,
    model: keras.Model,
    plan: Plan,
    program: Program,
    state: State,
    remembered: Callable[[], Choices],
) -> Choice:
    """Returns the mode to train in.

    Args:
        compile: the config's `trainer.compile`, or the mode that a resumed run keeps.
        strategy, model: what is trained, and on what.
        plan: the length of the run.
        program: tried out; its mode is left as the last one tried.
        state: the variables that a trial changes; they are put back.
        remembered: gives what was measured for this program before, and where to note it down.
    """
    if compile != "auto":
        return Choice(FIXED.get(compile, compile), f"trainer.compile={compile}")
    if strategy.num_replicas_in_sync > 1:
        return Choice("graph_loop", "several replicas: collectives run in TensorFlow's own loop")
    if not tf.config.list_logical_devices("GPU") and has_convolutions(model):
        return Choice("graph_loop", "convolutions on a CPU run in oneDNN, outside of XLA")
    if plan.last_step < WORTH_XLA_STEPS:
        return Choice("graph_loop", f"{plan.last_step} steps take less time than XLA's compilation")
    choices = remembered()
    known = choices.read()
    return Choice(known["mode"], known["why"]) if known else _compared(plan, program, state, choices)


def why_stream(residency: str, bytes_to_load: int) -> str | None:
    """Returns why the examples stay on the host, or None where they go to the device.

    Args:
        residency: the config's `data.residency`.
        bytes_to_load: how much memory they would take there.
    """
    if residency == "stream":
        return "data.residency=stream"
    if residency == "auto" and bytes_to_load > room_bytes():
        return f"{bytes_to_load / 2**20:,.0f} MiB of examples don't fit into the device's memory beside the model"
    return None


def room_bytes() -> float:
    """Returns how much of the device's memory the examples may take: half of the smallest GPU's, or of what is free."""
    limits = private.gpu_memory_limits() if tf.config.list_logical_devices("GPU") else []
    return 0.5 * min(limits, default=free_bytes())


def free_bytes() -> float:
    """Returns the host memory that is free, as the kernel says, or inf where it doesn't say."""
    try:
        with open("/proc/meminfo") as lines:
            return next(1024.0 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return float("inf")


def rate(train: Callable[[int], object], most: int) -> float:
    """Returns how many steps a second something makes that trains a block of so many steps, at most `most`.

    The blocks are long enough for what a block costs beside its steps not to count, and the fastest of three counts,
    since noise can only slow down: one block that the machine held up would settle this run and all that remember it.
    """

    def seconds(steps: int) -> float:
        started = time.perf_counter()
        train(steps)
        return time.perf_counter() - started

    steps = 1
    while True:
        least = seconds(steps)
        if least >= TRIAL_SECONDS or steps == most:
            least = min(least, seconds(steps), seconds(steps))
        if least >= TRIAL_SECONDS or steps == most:
            return steps / least
        steps = min(most, 4 * steps)


def is_too_short(seconds: float, compile_seconds: float) -> bool:
    """Returns whether training of so many seconds doesn't pay for comparing one way to train with another.

    Args:
        seconds: of training.
        compile_seconds: what one of the two took to compile; the other will take about as long.
    """
    return SHARE_OF_RUN * seconds < max(COMPARISON_SECONDS, compile_seconds)


def has_convolutions(model: keras.Model) -> bool:
    """Returns whether any layer convolves."""
    return any("Conv" in type(layer).__name__ for layer in private.layers_of(model))


def _compared(plan: Plan, program: Program, state: State, remembered: Choices) -> Choice:
    started, xla = time.perf_counter(), 0.0
    for longest in (ROUGH_STEPS, plan.last_step):  # most runs are so short that a rough look will do
        try:
            xla = _steps_per_second(program, "xla_loop", state, min(longest, plan.last_step))
        except XlaError:
            return Choice("graph_loop", "XLA can't compile the step", time.perf_counter() - started)
        compile_seconds = time.perf_counter() - started
        seconds = min(plan.last_step / xla, plan.max_seconds or float("inf"))
        if is_too_short(seconds, compile_seconds):  # the graph loop is traced as long
            why = f"at most {seconds:,.0f} s of training: too short to compare with the graph loop"
            return Choice("xla_loop", why, compile_seconds)
    graph = _steps_per_second(program, "graph_loop", state, plan.last_step)
    mode = "graph_loop" if graph > CLEARLY_FASTER * xla else "xla_loop"
    why = f"measured: xla_loop {xla:,.0f} steps/s, graph_loop {graph:,.0f} steps/s"
    remembered.write({"mode": mode, "why": why})
    return Choice(mode, why, time.perf_counter() - started)


def _steps_per_second(program: Program, mode: str, state: State, planned_steps: int) -> float:
    """Times blocks in a mode and returns their rate. The state is put back."""
    program.mode = mode
    before = state.read()
    program.run(0, 1)  # compiles
    found = rate(lambda steps: program.run(0, steps), min(program.max_steps, planned_steps))
    state.write(before)
    return found
