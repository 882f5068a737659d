"""Where the jobs of a sweep come from, and what runs them: the two protocols that a sweep is made of."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Protocol

from tfrun.sweep.composer import Composer
from tfrun.sweep.jobs import Job
from tfrun.sweep.ledger import Ledger, Trial
from tfrun.sweep.messages import Progress
from tfrun.sweep.outcome import Outcome


class Source(Protocol):
    """Gives the jobs of a sweep, one after another: a list of all of them, or a search that chooses each.

    Classes derive from it, so a method that is not abstract is a default.

    Attributes:
        composer: makes the jobs; its `swept` are the keys that differ between them.
        mode: `min` or `max`: which monitored value is best.
        total: the number of jobs, if known.
        at_once: the number of jobs that it is good for to run at the same time, if known.
    """

    composer: Composer
    mode: str
    total: int | None

    @property
    def at_once(self) -> int | None:
        return self.total

    @property
    def first(self) -> Job:
        """A checked job, whose config names the folder of a new sweep."""

    def also_left(self, folder: Path, trials: Sequence[Trial], *, left: Sequence[Trial]) -> list[Trial]:
        """Returns the trials of a resumed sweep that are to be run: those that haven't ended, and others they need.

        Args:
            folder: the sweep's folder.
            trials: all that the sweep has.
            left: those of them that haven't ended or are retried.
        """
        return list(left)

    def begin(self, folder: Path, ledger: Ledger, *, trials: Sequence[Trial] = (), left: Sequence[Trial] = ()) -> None:
        """Prepares the first jobs; called once, before anything else.

        Args:
            folder: the sweep's folder.
            ledger: receives the new trials.
            trials: those that the sweep has already.
            left: those of them that are to be run or resumed.
        """

    def next(self, structures: Collection[str]) -> Job | None:
        """Returns the next job, preferably of one of the given structures; None if there is none at the moment."""

    def more_like(self, job: Job, *, lanes: int, workers: int) -> list[Job]:
        """Returns more jobs to be trained together with `job`, up to `lanes` in all and one worker's share."""
        return []

    def should_prune(self, job: Job, progress: Progress) -> bool:
        """Receives a job's progress and returns whether to stop the job early."""
        return False

    def ended(self, job: Job, outcome: Outcome) -> None:
        """Receives a job that has ended or paused."""

    def tick(self) -> None:
        """Does what is due; called several times a second while jobs run."""
        return

    def news(self) -> list[str]:
        """Returns lines for the terminal, each once."""
        return []


class Runner(Protocol):
    """Runs the jobs of a source to their end: the pool, or one of Hydra's launchers."""

    def run(self, source: Source) -> None:
        """Runs all jobs of a source.

        Raises:
            Interrupted: a signal stopped the sweep.
        """
