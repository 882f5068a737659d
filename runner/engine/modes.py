"""How the step loop is compiled: `xla_loop`, `graph_loop` or `eager`, and which one `trainer.compile=auto` picks.

XLA fuses the loop of a dense network and makes it several times faster than TensorFlow's own graph loop; on a CPU it
makes convolutions ten times slower. So `auto` measures both on the run's own program and puts the state back.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import keras
import tensorflow as tf
from tensorflow.python.client import device_lib

from tfrun.engine.checkpoints import State
from tfrun.engine.program import Program, XlaError
from tfrun.errors import ConfigError

FIXED = {"xla": "xla_loop", "graph": "graph_loop", "eager": "eager"}
WORTH_MEASURING_STEPS = 2000  # below it the whole run takes less time than XLA's compilation
CLEARLY_FASTER = 1.3  # ratios nearer to 1 are ties in noise, and a tie must always fall the same way
TRIAL_STEPS, TRIAL_SECONDS = 64, 0.25


@dataclass(frozen=True)
class Choice:
    """A mode, why it was picked, and its program, perhaps compiled already."""

    mode: str
    why: str
    program: Program
    compile_seconds: float = 0.0


def choose(
    compile: str,
    residency: str,
    data_bytes: int,
    strategy: tf.distribute.Strategy,
    model: keras.Model,
    planned_steps: int,
    make: Callable[[str], Program],
    state: Callable[[Program], State],
) -> Choice:
    """Returns the mode to train in.

    Args:
        compile: the config's `trainer.compile`, or the mode that a resumed run keeps.
        residency: the config's `data.residency`.
        data_bytes: the size of the encoded examples.
        strategy, model: what is trained, and on what.
        planned_steps: the length of the run.
        make: builds the program of a mode, over the same variables each time.
        state: the variables that a trial changes.
    """
    if residency == "stream" or (residency == "auto" and data_bytes > _room_bytes()):
        return Choice("stream", _why_stream(compile, residency, data_bytes), make("stream"))
    if compile != "auto":
        mode = FIXED.get(compile, compile)
        return Choice(mode, f"trainer.compile={compile}", make(mode))
    if strategy.num_replicas_in_sync > 1:
        return Choice("graph_loop", "several replicas: collectives run in TensorFlow's own loop", make("graph_loop"))
    on_cpu = not tf.config.list_logical_devices("GPU")
    if on_cpu and has_convolutions(model):
        return Choice("graph_loop", "convolutions on a CPU run in oneDNN, outside of XLA", make("graph_loop"))
    if planned_steps < WORTH_MEASURING_STEPS:
        return Choice("graph_loop", f"{planned_steps} steps take less time than XLA's compilation", make("graph_loop"))
    return _measured(planned_steps, make, state)


def _why_stream(compile: str, residency: str, data_bytes: int) -> str:
    if compile in ("xla", "eager"):
        raise ConfigError(
            f"trainer.compile: a stream needs auto or graph. Received: {compile} with data.residency={residency}"
        )
    if residency == "stream":
        return "data.residency=stream"
    return f"{data_bytes / 2**20:,.0f} MiB of examples don't fit into the device's memory beside the model"


def _room_bytes() -> float:
    """Returns how much the examples may take of the smallest GPU's memory; the host has them in memory anyway."""
    limits = [device.memory_limit for device in device_lib.list_local_devices() if device.device_type == "GPU"]
    return 0.5 * min(limits, default=float("inf"))


def has_convolutions(model: keras.Model) -> bool:
    """Returns whether any layer convolves."""
    return any("Conv" in type(layer).__name__ for layer in model._flatten_layers())


def _measured(planned_steps: int, make: Callable[[str], Program], state: Callable[[Program], State]) -> Choice:
    programs, rates, compile_seconds = {}, {}, 0.0
    for mode in ("xla_loop", "graph_loop"):
        programs[mode] = make(mode)
        before = state(programs[mode]).read()
        steps = min(TRIAL_STEPS, programs[mode].max_steps, planned_steps)
        started = time.perf_counter()
        try:
            programs[mode].run(0, steps)
        except XlaError:
            rates[mode] = 0.0
            continue
        compile_seconds += time.perf_counter() - started
        rates[mode] = _steps_per_second(programs[mode], steps)
        state(programs[mode]).write(before)
    if rates["xla_loop"] == 0.0:
        return Choice("graph_loop", "XLA can't compile the step", programs["graph_loop"], compile_seconds)
    mode = "graph_loop" if rates["graph_loop"] > CLEARLY_FASTER * rates["xla_loop"] else "xla_loop"
    figures = ", ".join(f"{name} {rate:,.0f} steps/s" for name, rate in rates.items())
    return Choice(mode, f"measured: {figures}", programs[mode], compile_seconds)


def _steps_per_second(program: Program, steps: int) -> float:
    """Times blocks for a quarter of a second and returns the fastest, which noise can only slow down."""
    best, ends = 0.0, time.perf_counter() + TRIAL_SECONDS
    while True:
        started = time.perf_counter()
        program.run(0, steps)
        finished = time.perf_counter()
        best = max(best, steps / (finished - started))
        if finished > ends:
            return best
        if finished - started < TRIAL_SECONDS / 5:
            steps = min(2 * steps, program.max_steps)
