"""What a sweep will take, told before its first job: by what jobs of the same kind took on this machine before.

A small JSON file for each kind lies in `$XDG_CACHE_HOME/tfrun/jobs` (`~/.cache/tfrun/jobs`) and may be deleted.
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
from tfrun.files.disk import write_atomically
from tfrun.files.xla_cache import cache_folder, processor
from tfrun.sweep.jobs import LIMITS, Job


@dataclass(frozen=True)
class Estimate:
    """Of a job, or of several: seconds of one worker, and bytes on the disk."""

    seconds: float
    bytes: float


def of(jobs: Sequence[Job]) -> Estimate | None:
    """Returns what jobs will take in all, or None where one of them is of a kind that never ran here."""
    total = Estimate(0.0, 0.0)
    for job in jobs:
        try:
            one = json.loads(_file(job).read_text())
            total = Estimate(total.seconds + float(one["seconds"]), total.bytes + float(one["bytes"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None
    return total


def remember(job: Job, seconds: float) -> None:
    """Notes down what a job took that has ended."""
    size = sum(path.stat().st_size for path in job.folder.path.rglob("*") if path.is_file())
    with contextlib.suppress(OSError, ResourceError):
        _file(job).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(_file(job), json.dumps({"seconds": seconds, "bytes": size}) + "\n")


def told(jobs: Sequence[Job], at_once: int, folder: Path) -> list[str]:
    """Returns what a person wants to know before jobs run: how many, how long, how large."""
    programs, different = len({job.structure for job in jobs}), len({frozenset(job.overrides) for job in jobs})
    kinds = "1 structure" if programs == 1 else f"{programs} structures"
    lines = [f"{len(jobs)} jobs of {kinds}, {at_once} at a time"]
    if different < len(jobs):
        repeated = len(jobs) - different
        lines.append(f"{repeated} of them {'repeats another' if repeated == 1 else 'repeat others'}")
    found = of(jobs)
    if not jobs:
        return lines
    if found is None:
        lines.append("how long it takes is known once the first one has ended")
        return lines
    lines.append(f"about {duration(found.seconds / min(at_once, len(jobs)))} and {found.bytes / 1e6:.3g} MB")
    free = shutil.disk_usage(folder).free
    if found.bytes > free:
        lines.append(f"warning: {free / 1e6:,.0f} MB are free")
    return lines


def duration(seconds: float) -> str:
    """Returns a time as a person says it: `40 s`, `12 min`, `3.5 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _file(job: Job) -> Path:
    limits = {key: getattr(job.settings.trainer, key) for key in LIMITS}
    kind = json.dumps([job.structure, limits, processor()], sort_keys=True)
    return cache_folder() / "jobs" / f"{hashlib.sha256(kind.encode()).hexdigest()[:32]}.json"
