"""The door to the engine: TensorFlow is imported behind it, and what it prints goes to a log."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from tfrun.console import Terminal, is_live, library_output_to


@contextlib.contextmanager
def engine(log: Path | None) -> Iterator[tuple[ModuleType, float]]:
    """Gives `tfrun.engine.experiment` and the seconds that its import took.

    Args:
        log: takes what libraries print while the engine is open; None drops it.
    """
    console = Terminal()
    with library_output_to(log or Path(os.devnull)):
        started = time.perf_counter()
        waiting = console.status("loading TensorFlow") if is_live() else contextlib.nullcontext()
        with waiting:
            from tfrun.engine import experiment
        yield experiment, time.perf_counter() - started
