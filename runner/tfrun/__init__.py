"""tfrun: a command-line experiment runner for TensorFlow and Keras.

Importing this package never imports TensorFlow or Keras. Only modules of `tfrun.engine` and `tfrun.components` (except
`tfrun.components.datasets`) do, and `tfrun.data.layers`, `tfrun.data.encode` and `tfrun.data.examples`.

`tfrun.open`, `tfrun.run`, `tfrun.runs` and `tfrun.Run` are those of `tfrun.python_api`, which is imported when one of
them is asked for. `open` isn't in `__all__`, so that `from tfrun import *` leaves Python's own as it is.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if __name__ != "tfrun":  # `import runner` would make a second registry beside the real one
    raise ImportError(f"import it as 'tfrun', not as '{__name__}'")

from tfrun.config.registry import register
from tfrun.config.types import Activation, Constraint, Initializer, Layer, Loss, Regularizer
from tfrun.version import __version__

if TYPE_CHECKING:
    from tfrun.python_api import Run as Run
    from tfrun.python_api import open as open
    from tfrun.python_api import run as run
    from tfrun.python_api import runs as runs

__all__ = ["Activation", "Constraint", "Initializer", "Layer", "Loss", "Regularizer", "__version__", "register"]
_FROM_PYTHON = ("Run", "open", "run", "runs")


def __getattr__(name: str) -> Any:
    """Returns a name of `tfrun.python_api`, which needs more imports than a component does."""
    if name in _FROM_PYTHON:
        return getattr(importlib.import_module("tfrun.python_api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_FROM_PYTHON]
