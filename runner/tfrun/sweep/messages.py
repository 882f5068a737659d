"""The messages that a worker process sends to the process that runs the sweep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """A job's position after a block of steps or at the end of an epoch.

    Attributes:
        job: the job's number.
        step: the number of steps that it has trained.
        last_step: the step after which it ends; None if only time ends it.
        epoch: the number of epochs that it has trained.
        values: by full name, such as `val/loss`.
        ends_epoch: whether an epoch has just ended.
    """

    job: int
    step: int
    last_step: int | None
    epoch: int
    values: Mapping[str, float]
    ends_epoch: bool


@dataclass(frozen=True)
class Done:
    """The end of a job, with its exit code."""

    job: int
    exit_code: int
