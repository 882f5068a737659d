"""What a range test reports: a chart on the terminal, the rates, and the values to copy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from tfrun.console import Terminal, say, say_wrapped, shown_number
from tfrun.reports.range_curve import RangeCurve, short_rate
from tfrun.reports.text_chart import log_chart

WIDEST = 100  # columns of the chart
HOW_IT_ENDED = {
    "range": "all rates were tried",
    "grew": "the smoothed loss grew to four times its best",
    "undefined": "the loss, a gradient or a weight was no longer finite",
}


@dataclass(frozen=True)
class RangeReport:
    """A range test, and what of the config matters to it.

    Attributes:
        curve: the losses over the rates of the first group.
        ratios: the rate of each tested group divided by that of the first one.
        untested: the groups that were not trained, though they aren't frozen.
        paths: where the keys of each group are in the config.
        scheduled: whether the config has schedules.
        epochs: how many epochs the steps are.
        seconds: how long they took.
    """

    curve: RangeCurve
    ratios: Mapping[str, float]
    untested: tuple[str, ...]
    paths: Mapping[str, str]
    scheduled: bool
    epochs: float
    seconds: float

    @property
    def has_suggestion(self) -> bool:
        """Whether the curve suggests a rate."""
        return not self.curve.why_none()

    def settings(self) -> dict[str, str]:
        """Returns the config keys of the suggested rates with their values."""
        return {
            f"{self._path(name)}.learning_rate": short_rate(self.curve.suggestion * ratio)
            for name, ratio in self.ratios.items()
        }

    def _path(self, group: str) -> str:
        """Returns the path of a group's keys; `optimizer`, whose keys go to every group, if there is only one."""
        return "optimizer" if len(self.paths) == 1 else self.paths[group]

    @property
    def x_label(self) -> str:
        """What the rates are."""
        first = next(iter(self.ratios))
        return "learning rate" if len(self.paths) == 1 else f"learning rate of {first}"

    def facts(self) -> list[tuple[str, str]]:
        """Returns what there is to say about the test, each with its name."""
        curve = self.curve
        facts = [
            ("steps", f"{len(curve.losses):,}, {self.epochs:.2g} epochs, in {self.seconds:.1f} s"),
            ("ended", f"at {short_rate(curve.rates[-1])}: {HOW_IT_ENDED[curve.ended]}"),
        ]
        if self.has_suggestion:
            best = shown_number(float(curve.smooth_losses[curve.best_step]), digits=4)
            facts += [
                ("lowest", f"loss {best} at {short_rate(curve.best_rate)}"),
                ("suggested", f"{short_rate(curve.suggestion)}, a tenth of it"),
                ("steepest", f"{short_rate(curve.steepest)}: where the loss falls fastest, another rule"),
            ]
        return facts + self.notes()

    def notes(self) -> list[tuple[str, str]]:
        """Returns what the test has done differently from a run."""
        notes = []
        others = [f"{ratio:.3g} times it in {name}" for name, ratio in list(self.ratios.items())[1:]]
        if others:
            first = next(iter(self.ratios))
            notes.append(("ratios", f"rates of {first}; {', '.join(others)}; group=NAME tests one alone"))
        if self.untested:
            notes.append(("frozen", f"{', '.join(self.untested)} in this test; group=NAME tests one of them"))
        if self.scheduled:
            notes.append(("schedule", "replaced by the growing rates; in a run it applies to the suggested rate"))
        return notes

    def print(self, command: str) -> None:
        """Prints the chart, the facts, and the command line, if any."""
        console = Terminal()
        curve = self.curve
        if not len(curve.losses):
            return
        say(console, f"smoothed loss over the {self.x_label}")
        mark = math.log10(curve.suggestion) if self.has_suggestion else None
        lines = log_chart(
            curve.log_rates, curve.smooth_losses, top=curve.top, width=min(console.width, WIDEST), mark=mark
        )
        for line in lines:
            say(console, line)
        say(console, "")
        for name, text in self.facts():
            say_wrapped(console, f"{name:<10}{text}", indent=10)
        if command:
            say(console, f"\n{command}")
