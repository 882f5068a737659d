"""What a search for a batch size reports: the sizes, the largest that fits, and from which on speed hardly grows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from tfrun.console import Terminal, say, say_wrapped
from tfrun.narrow_tables import print_table

KEY = "data.batch_size"
NEARLY = 0.9  # of the greatest speed: smaller differences may be noise


class Measured(Protocol):
    """What a size that fits has shown."""

    @property
    def batch_size(self) -> int: ...

    @property
    def train_rows(self) -> int: ...

    @property
    def steps_per_second(self) -> float: ...

    @property
    def examples_per_second(self) -> float: ...

    @property
    def peak_bytes(self) -> int: ...

    @property
    def mode(self) -> str: ...


@dataclass(frozen=True)
class Try:
    """A size, and what it has shown or why it doesn't fit."""

    batch_size: int
    measured: Measured | None
    why_not: str = ""


class BatchReport:
    """The sizes that were tried.

    Attributes:
        tries: in the order in which they were tried.
        train_rows: the number of training rows; None before a try has counted them.
        is_limited_by_rows, is_limited_by_max: what ended the search, if not the memory.
    """

    def __init__(self) -> None:
        self.tries: list[Try] = []
        self.train_rows: int | None = None
        self.is_limited_by_rows = False
        self.is_limited_by_max = False

    def add(self, size: int, measured: Measured | None, *, why_not: str = "") -> None:
        """Adds a size. One that exceeds the number of rows counts as that number, as in a run."""
        if measured is not None:
            self.train_rows = measured.train_rows
            size = measured.batch_size
        self.tries.append(Try(size, measured, why_not))

    @property
    def fitting(self) -> list[Measured]:
        """Those that fit, the smallest first."""
        return sorted((each.measured for each in self.tries if each.measured), key=lambda each: each.batch_size)

    @property
    def fast(self) -> Measured | None:
        """The smallest size that is nearly as fast as the fastest one; None if none fits."""
        greatest = max((each.examples_per_second for each in self.fitting), default=0.0)
        return next((each for each in self.fitting if each.examples_per_second >= NEARLY * greatest), None)

    def print_table(self) -> None:
        """Prints a line for each size that was tried, the smallest first; nothing if there is none."""
        from rich.table import Column, Table

        if not self.tries:
            return
        heads = ("GiB", "steps/s", "examples/s")
        table = Table(
            Column("batch size", justify="right"), *(Column(head, justify="right") for head in heads), box=None
        )
        for each in sorted(self.tries, key=lambda each: each.batch_size):
            table.add_row(f"{each.batch_size:,}", *_cells(each))
        print_table(Terminal(), table)

    def print_summary(self, command: Callable[[Mapping[str, str]], str]) -> None:
        """Prints which size to take; `command` returns the command line with some values."""
        console = Terminal()
        largest, fast = self.fitting[-1].batch_size, self.fast
        assert fast is not None
        failed = [each for each in self.tries if each.measured is None]
        smallest_failed = min(failed, key=lambda each: each.batch_size, default=None)
        if smallest_failed is not None:
            why = f"{smallest_failed.batch_size:,} does not: {smallest_failed.why_not}"
        else:
            why = "all training rows" if self.is_limited_by_rows else "the greatest that was tried"
        lines = [
            ("fits", f"{largest:,}, the largest found; {why}"),
            ("fast", f"{fast.batch_size:,}: larger batches train {self._gain(fast)} examples/s"),
        ]
        if largest == fast.batch_size:
            lines[1] = ("fast", f"{largest:,}: examples/s still grows with the batch size")
        if len(self.fitting) == 1:
            lines = lines[:1]
        say(console, "")
        for name, text in lines:
            say_wrapped(console, f"{name:<6}{text}", indent=6)
        if len({each.mode for each in self.fitting}) > 1:
            say_wrapped(console, f"note  {self._modes()}", indent=6)
        say_wrapped(console, "note  another batch size needs another learning rate: tfrun find lr", indent=6)
        for size in dict.fromkeys((largest, fast.batch_size)):
            say(console, f"\n{command({KEY: str(size)})}")

    def _modes(self) -> str:
        """Returns which sizes were compiled how, as runs of their number of steps are."""
        parts, last = [], ""
        for each in self.fitting:
            if each.mode != last:
                parts.append(f"{each.mode} from {each.batch_size:,}")
            last = each.mode
        why = "since larger batches make fewer steps; trainer.compile=graph or xla compares them alike"
        return f"compiled as a run is: {', '.join(parts)}, {why}"

    def _gain(self, fast: Measured) -> str:
        larger = [each.examples_per_second for each in self.fitting if each.batch_size > fast.batch_size]
        gain = max(larger, default=0.0) / fast.examples_per_second - 1
        return f"at most {gain:.0%} more" if gain >= 0.005 else "no more"


def _cells(each: Try) -> list[str]:
    measured = each.measured
    if measured is None:
        return ["too much", "", ""]
    memory = f"{measured.peak_bytes / 2**30:.2f}"
    return [memory, f"{measured.steps_per_second:,.4g}", f"{measured.examples_per_second:,.0f}"]
