"""Loads the engine, and with it TensorFlow, whose output goes to a log."""

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
    """Yields `tfrun.engine.experiment` and the seconds that its import took.

    Args:
        log: the file to which libraries print while the context is entered; None drops the output.
    """
    console = Terminal()
    with library_output_to(log or Path(os.devnull)):
        started = time.perf_counter()
        waiting = console.status("loading TensorFlow") if is_live() else contextlib.nullcontext()
        with waiting, _no_garbage_collection(), _without_scikit_learn():
            from tfrun.engine import experiment
        yield experiment, time.perf_counter() - started


@contextlib.contextmanager
def _without_scikit_learn() -> Iterator[None]:
    """Keeps Keras from importing scikit-learn, a fifth of the whole import, for wrappers that aren't used here."""
    if "sklearn" in sys.modules or "keras" in sys.modules:
        yield
        return
    sys.modules["sklearn"] = None  # type: ignore[assignment] # Python's way to say that it isn't installed
    try:
        yield
    finally:
        del sys.modules["sklearn"]


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Disables the garbage collector during the import, and freezes what the import allocated.

    There is no garbage in it, and searching for it took a fifth of TensorFlow's import and slowed all later tracing.
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
