"""The rule `random`: all rows shuffled once, then cut."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfrun.data.splitting.parts import Parts, Rule


class Shuffled(Rule):
    """Cuts shuffled rows into parts of exactly the wanted sizes."""

    def cut(self, rows: np.ndarray, sizes: Sequence[int], random: np.random.Generator) -> Parts:
        """Returns the parts; see `Rule`."""
        order = rows.copy()
        random.shuffle(order)
        return Parts(np.split(order, np.cumsum(sizes)))
