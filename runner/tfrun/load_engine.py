"""The door to the engine: TensorFlow is imported behind it, and what it prints goes to a log."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
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
        with waiting, _nothing_collected(), _without_scikit_learn():
            from tfrun.engine import experiment
        yield experiment, time.perf_counter() - started


@contextlib.contextmanager
def _without_scikit_learn() -> Iterator[None]:
    """Keeps Keras from importing scikit-learn, a fifth of all that is imported, for wrappers that nobody uses here."""
    if "sklearn" in sys.modules or "keras" in sys.modules:
        yield
        return
    sys.modules["sklearn"] = None  # type: ignore[assignment] # Python's way to say that there is none
    try:
        yield
    finally:
        del sys.modules["sklearn"]


@contextlib.contextmanager
def _nothing_collected() -> Iterator[None]:
    """Has no garbage looked for while modules are imported, nor later among what they made.

    There is none, and looking for it took a fifth of TensorFlow's import and slowed all tracing after it.
    """
    if "tensorflow" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
