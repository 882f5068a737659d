"""Warns of values that aren't defined, and says why: they are null in the files, and never the best."""

from __future__ import annotations

import math
from collections.abc import Mapping

from rich.console import Console

from tfrun.console import say
from tfrun.engine.building.pieces import Pieces
from tfrun.engine.training.loop import Observer
from tfrun.protocols import MetricOffer

SPLITS = {"train": "training", "val": "validation", "test": "test"}


class UndefinedValues(Observer):
    """Warns once of each value that isn't defined.

    Args:
        pieces: the run's, which know the reasons.
        console: where to print.
    """

    def __init__(self, pieces: Pieces, console: Console):
        self._pieces = pieces
        self._console = console
        self._reported: set[str] = set()

    def on_epoch(self, epoch: int, step: int, values: Mapping[str, float]) -> None:
        self.report(values, f" in epoch {epoch}")

    def report(self, values: Mapping[str, float], when: str = "") -> None:
        """Warns of those values that aren't defined and were not yet reported, in a line for each reason.

        Args:
            values: by full name: `val/loss`.
            when: a text such as " in epoch 3".
        """
        names_by_reason: dict[str, list[str]] = {}
        for name, value in values.items():
            if not math.isfinite(value) and name not in self._reported:
                self._reported.add(name)
                names_by_reason.setdefault(self._reason(name, values), []).append(name)
        for reason, names in names_by_reason.items():
            listed = f"{', '.join(names)}: not defined{when}, because {reason}"
            say(self._console, f"warning: {listed}. Null in the files, and never the best")

    def _reason(self, name: str, values: Mapping[str, float]) -> str:
        split, _, key = name.partition("/")
        examples = self._pieces.examples
        weights, rows = examples.weights, examples.splits[split]
        is_loss_defined = math.isfinite(values.get(f"{split}/loss", 0.0))
        if split == "train" and not is_loss_defined:
            return "its steps were all skipped"
        if split != "train" and weights is not None and not weights[rows].any():
            return f"no {SPLITS[split]} row has a weight"
        needs = {metric.name: MetricOffer.of(metric) for metric in self._pieces.parts.val_metrics.metrics}
        undefined_if = needs[key].undefined_if if key in needs else None
        if undefined_if and is_loss_defined and math.isnan(values[name]):
            return undefined_if
        return "it isn't a finite number"
