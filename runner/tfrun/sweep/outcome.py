"""How the jobs of a sweep ended, as their `run.json` files say."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfrun.files.runs import RunFolder
from tfrun.files.strict_json import defined


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes:
        folder: the job's folder.
        swept: the values of the keys that differ between the jobs, as typed.
        status: as in `run.json`.
        monitor: the name of the monitored value.
        value: its best value; None if no epoch has ended in which it is defined.
        error: why the job failed, in one line, or an empty text.
        source: the number of the job whose state it copied, or an empty text.
        num_folds: the number of folds of the cross-validation that the job is one of, over all repeats, or None.
    """

    folder: RunFolder
    swept: Mapping[str, str]
    status: str
    monitor: str | None
    value: float | None
    error: str
    source: str = ""
    num_folds: int | None = None

    @property
    def label(self) -> str:
        return " ".join([f"#{self.folder.path.name}", *(f"{key}={value}" for key, value in self.swept.items())])

    @property
    def failed(self) -> bool:
        """Whether it counts as failed in the end; a job that was stopped by a signal does too."""
        return self.status not in ("completed", "pruned")

    @property
    def has_error(self) -> bool:
        """Whether it failed for a reason of its own, which its log gives."""
        return self.failed and self.status != "stopped"


def read_outcome(folder: RunFolder, swept: Collection[str]) -> Outcome:
    """Returns how the job in `folder` ended; `swept` are the keys that differ between the jobs."""
    run = folder.read_run()
    overrides = [text.partition("=") for text in run.get("overrides", [])]
    error = run.get("error")
    return Outcome(
        folder=folder,
        swept={key: value for key, _, value in overrides if key in swept},
        status=run.get("status", "failed"),
        monitor=run.get("best", {}).get("monitor"),
        value=objective(run),
        error=f"{error['type']}: {error['message']}".partition("\n")[0] if error else "",
        source=run.get("branch", {}).get("run_id", "").rpartition("/")[2],
        num_folds=_num_folds(run.get("data", {}).get("split") or {}),
    )


def read_outcomes(sweep: Path, swept: Collection[str]) -> list[Outcome]:
    """Returns how the jobs of a sweep that were started have ended, sorted by number."""
    return [read_outcome(folder, swept) for folder in job_folders(sweep)]


def job_folders(sweep: Path) -> list[RunFolder]:
    """Returns the folders of the jobs of a sweep that were started, sorted by number."""
    folders = [folder for folder in sweep.iterdir() if folder.is_dir() and re.fullmatch("[0-9]+", folder.name)]
    return [RunFolder(folder) for folder in sorted(folders, key=lambda folder: int(folder.name))]


def _num_folds(split: Mapping[str, Any]) -> int | None:
    """Returns the number of folds of all repeats, as `run.json` says in what it says of the split."""
    return split["folds"] * split.get("folds_repeats", 1) if "folds" in split else None


def objective(run: Mapping[str, Any]) -> float | None:
    """Returns the best value of the monitored metric in a `run.json`, or None if no epoch has one that is defined."""
    best = run.get("best") or {}
    return defined(best.get(best.get("monitor")))
