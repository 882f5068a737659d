"""Calls a function in a fresh process, whose memory holds nothing else. Imports no TensorFlow."""

from __future__ import annotations

import importlib
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import Any


def in_process(module: str, function: str, *args: Any, **options: Any) -> Any:
    """Returns what a function of a module of this package returns; only the process imports the module."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(_call, module, function, args, options).result()


def _call(module: str, function: str, args: Any, options: Any) -> Any:
    return getattr(importlib.import_module(f"benchmarks.{module}"), function)(*args, **options)
