"""What worker 0 announces to the other workers, so that all of them do the same in the same order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np


class Announce(Protocol):
    """Lets the other workers, if there are any, do what this one is about to do."""

    def __call__(self, do: str, arrays: Mapping[str, np.ndarray] | None = None, **fields: Any) -> None:
        """Announces what all workers do next.

        Args:
            do: the name of one of `engine.following`'s commands.
            arrays: what it needs, by name.
            fields: what else it needs; plain values.
        """


def nothing(do: str, arrays: Mapping[str, np.ndarray] | None = None, **fields: Any) -> None:
    """Announces nothing: there is no other worker, or this one follows."""
