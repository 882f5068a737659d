"""Beginning a run anew in a process that has run another, without throwing away what that one has compiled.

TensorFlow forgets all its kernels when it is seeded or Keras' session is cleared, since those of its stateful random
ops hold a state. Making them anew takes a third of a short job of a sweep. Keras' random ops are stateless, and most
programs have no others: as long as none with a state of its own has asked for a seed, the kernels stay.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from tensorflow.python.eager import context
from tensorflow.python.framework import random_seed

_stateful: list[bool] = []  # not empty once an op with a state of its own has asked for a seed in this process
_get_seed = random_seed.get_seed


def _noting(op_seed: Any) -> Any:
    _stateful[:] = [True]
    return _get_seed(op_seed)


random_seed.get_seed = _noting


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Has TensorFlow keep its kernels, where that changes nothing."""
    if _stateful:
        yield
        return
    module = context.pywrap_tfe
    forget = module.TFE_ContextClearCaches
    module.TFE_ContextClearCaches = lambda handle: None
    try:
        yield
    finally:
        module.TFE_ContextClearCaches = forget
