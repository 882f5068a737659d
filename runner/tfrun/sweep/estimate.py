"""Estimates the time and the disk space of a sweep from earlier jobs of the same kind on this machine.

A small JSON file for each kind of job is in `$XDG_CACHE_HOME/tfrun/jobs` (`~/.cache/tfrun/jobs`) and may be deleted.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tfrun.errors import ResourceError
from tfrun.files import strict_json
from tfrun.files.disk import write_atomically
from tfrun.files.xla_cache import cache_folder, processor
from tfrun.sweep.jobs import Job


@dataclass(frozen=True)
class Estimate:
    """Seconds of one worker and bytes on disk, for one job or several."""

    seconds: float
    bytes: float


def estimate(jobs: Sequence[Job]) -> Estimate | None:
    """Returns the total of all jobs, or None if a job is of a kind that never ran here."""
    total = Estimate(0.0, 0.0)
    for job in jobs:
        try:
            known = json.loads(_file(job).read_text())
            total = Estimate(total.seconds + float(known["seconds"]), total.bytes + float(known["bytes"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None
    return total


def remember(job: Job, seconds: float) -> None:
    """Saves the time and the disk space of a job that has ended."""
    size = sum(path.stat().st_size for path in job.folder.path.rglob("*") if path.is_file())
    with contextlib.suppress(OSError, ResourceError):
        _file(job).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(_file(job), strict_json.dumps({"seconds": seconds, "bytes": size}) + "\n")


def describe(jobs: Sequence[Job], num_workers: int, *, folder: Path) -> list[str]:
    """Returns lines about jobs that are about to run: their number, time and disk space."""
    num_structures = len({job.structure for job in jobs})
    structures = "1 structure" if num_structures == 1 else f"{num_structures} structures"
    counted = "1 job" if len(jobs) == 1 else f"{len(jobs)} jobs"
    lines = [f"{counted} of {structures}, {num_workers} at a time"]
    num_repeated = len(jobs) - len({frozenset(job.overrides) for job in jobs})
    if num_repeated:
        lines.append(f"{num_repeated} of them {'repeats another' if num_repeated == 1 else 'repeat others'}")
    if not jobs:
        return lines
    total = estimate(jobs)
    if total is None:
        lines.append("no estimate of the time yet: no job like these has ended")
        return lines
    lines.append(f"about {duration(total.seconds / min(num_workers, len(jobs)))} and {total.bytes / 1e6:.3g} MB")
    free = shutil.disk_usage(folder).free
    if total.bytes > free:
        lines.append(f"warning: only {free / 1e6:,.0f} MB are free")
    return lines


def duration(seconds: float) -> str:
    """Returns a duration with a fitting unit: `40 s`, `12 min`, `3.5 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _file(job: Job) -> Path:
    kind = strict_json.dumps([job.structure, job.limits, processor()], sort_keys=True)
    return cache_folder() / "jobs" / f"{hashlib.sha256(kind.encode()).hexdigest()[:32]}.json"
