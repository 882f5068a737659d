"""What a run can be asked to look at while it trains: histograms of its weights and gradients, a profile of some steps.

Neither changes the run's state, so that its results are those of a run without them, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table

from tfrun.console import say
from tfrun.engine.building.pieces import Pieces
from tfrun.engine.recording.histograms import Histograms
from tfrun.engine.recording.profile import Operation, Profile, as_markdown, cells
from tfrun.engine.recording.record import Record
from tfrun.engine.training.loop import EndReason, Observer
from tfrun.engine.training.program import Program
from tfrun.files.runs import RunFolder
from tfrun.folders import shown
from tfrun.narrow_tables import print_table


class Watchers:
    """The watchers that a run's config asks for. A context manager, around its training.

    Args:
        pieces: the run's.
        program: the run's.
        record: the journals to write to.
        folder: the run's.
        load_variables: loads the run's values into the program's variables.

    Attributes:
        observers: those that see the run's blocks.
    """

    def __init__(
        self,
        pieces: Pieces,
        program: Program,
        *,
        record: Record,
        folder: RunFolder,
        load_variables: Callable[[], None],
    ):
        self._program = program
        self._record = record
        self._histograms: Histograms | None = None
        self._profile: Profile | None = None
        self._dearest: tuple[str, list[Operation]] | None = None
        if every := pieces.plan.look_every_steps:
            self._histograms = Histograms(
                pieces, program, every_steps=every, write=record.write_histograms, load_variables=load_variables
            )
        if pieces.plan.profile:
            first, last = pieces.plan.profile
            self._profile = Profile(record.folder_of_events / "train", folder.path, first=first, last=last)
        self.observers: list[Observer] = [each for each in (self._histograms, self._profile) if each]

    def __enter__(self) -> Watchers:
        if self._profile:
            self._profile.begin(self._program.step)
        return self

    def __exit__(self, *error: Any) -> None:
        if self._profile:
            self._profile.end(self._program.step)
            self._dearest = self._profile.read()
            if self._dearest and self._record.board:
                self._record.board.write_text("profile", as_markdown(*self._dearest), step=self._program.step)

    def on_end(self, reason: EndReason) -> None:
        """Looks at the state after the last step."""
        if self._histograms and reason not in ("interrupted", "paused"):
            self._histograms.look(self._program.step)

    def show(self, console: Console) -> None:
        """Prints the operations that took the most time in the steps that were profiled, if any were."""
        if self._profile is None or self._dearest is None:
            return
        title, operations = self._dearest
        table = Table(title=title, title_justify="left")
        table.add_column("operation")
        for name in ("calls", "ms", "share"):
            table.add_column(name, justify="right")
        for row in cells(operations):
            table.add_row(*row)
        print_table(console, table)
        if self._profile.trace:
            say(console, f"trace       {shown(self._profile.trace)}, for ui.perfetto.dev")
