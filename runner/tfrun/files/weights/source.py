"""A source of weights: its arrays by name, each read only when it is asked for."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tfrun.errors import CheckpointError, TfrunError

BY_PATH, BY_PLACE, BY_LAYER = "path", "place", "layer"  # the ways in which arrays are named
MAX_ARRAYS = 100_000


@dataclass(frozen=True)
class StoredArray:
    """An array of a source, described but not read.

    Attributes:
        names: its name in each of the ways that its source knows: as the path of a Keras variable, `dense/kernel`; as
            its place in a Keras file, `layers/dense/vars/0`; by the names of its layers, `dense/vars/0`.
        shape, dtype: as its file says.
        read: reads it; the shape is the one described, or it raises.
    """

    names: Mapping[str, str]
    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], np.ndarray] = field(repr=False)

    @property
    def name(self) -> str:
        """The name to show: the first one."""
        return next(iter(self.names.values()))


@dataclass(frozen=True)
class WeightSource:
    """Arrays, and where they are from.

    Attributes:
        path: the file, or the folder.
        kind: a word for it.
        arrays: all arrays.
        facts: what `run.json` records of the source.
        preprocessing: what the run has learnt from its training rows, as `preprocessing.json` has it, if it is a run.
    """

    path: Path
    kind: str
    arrays: Sequence[StoredArray]
    facts: Mapping[str, Any]
    preprocessing: Mapping[str, Any] | None = None


def numbered(names: Sequence[str]) -> list[str]:
    """Returns names of which each is another: a name that stands there again gets #2, #3, … behind it."""
    seen: Counter[str] = Counter()
    unique = []
    for name in names:
        seen[name] += 1
        unique.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return unique


@contextlib.contextmanager
def readable(path: Path, kind: str) -> Iterator[None]:
    """Raises CheckpointError for whatever a damaged or crafted file raises, which can be almost anything."""
    try:
        yield
    except (TfrunError, MemoryError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise CheckpointError(f"init.from: {path} can't be read as {kind}: {reason}") from error


def refuse(path: Path, reason: str) -> CheckpointError:
    """Returns the error for a file that holds what a file of weights has no use for."""
    return CheckpointError(f"init.from: {path}: {reason}. Weights are read as numbers from this file alone")
