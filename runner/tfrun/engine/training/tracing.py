"""How a step is traced: what suits one compiler doesn't suit another."""

from __future__ import annotations

from typing import NamedTuple


class Tracing(NamedTuple):
    """How a step is traced.

    Attributes:
        in_xla: whether XLA compiles it.
        in_lanes: whether it is a step of several runs side by side.
    """

    in_xla: bool = False
    in_lanes: bool = False

    @property
    def sums_by_halves(self) -> bool:
        """Whether sums of squares are computed by halves; `Step` explains it."""
        return self.in_xla or self.in_lanes
