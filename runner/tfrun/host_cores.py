"""How many CPU cores this process may use."""

from __future__ import annotations

import os

# TensorFlow's own variable: the threads of an operation, if a program doesn't set them
NUM_THREADS = "TF_NUM_INTRAOP_THREADS"


def num_cores() -> int:
    """Returns the cores that this process may use: those that the kernel gives it, or its share of them."""
    try:
        share = int(os.environ.get(NUM_THREADS) or 0)
    except ValueError:  # TensorFlow ignores it too
        share = 0
    return share if share > 0 else len(os.sched_getaffinity(0))
