"""How many jobs of a sweep run at the same time if `hydra.launcher.n_jobs` is auto, and how many cores each may use."""

from __future__ import annotations

import os
from pathlib import Path

from tfrun.config import data_paths
from tfrun.config.settings import Settings
from tfrun.host_cores import num_cores
from tfrun.host_memory import free_bytes

VISIBLE_GPUS = "CUDA_VISIBLE_DEVICES"
JOB_BYTES = 1.0e9  # memory of a process with TensorFlow, a small model and its compiled programs
DATA_COPIES = 4.0  # of the data's files in memory: read, encoded, split, and as tensors


def auto_workers(settings: Settings, at_once: int | None) -> int:
    """Returns how many jobs run at the same time: as many as the machine has cores, GPUs and memory for.

    A job has one GPU, if there are any. Without, it has `trainer.threads` cores, or all of them if that is null, and
    at least one; so a machine with two cores runs two jobs of small models, each with one thread. A job that splits
    its batches over several devices has the machine to itself. Jobs don't run side by side if the memory that is free
    doesn't hold their data several times over.

    Args:
        settings: of a job of the sweep.
        at_once: how many jobs the sweep has for workers at a time; None if that isn't known.
    """
    if settings.strategy.name == "mirrored":
        return 1
    gpus = visible_gpus() if settings.strategy.name != "cpu" else []
    job_bytes = JOB_BYTES + DATA_COPIES * _file_bytes(settings)
    num_slots = len(gpus) or num_cores() // _threads(settings)
    return max(1, int(min(num_slots, free_bytes() / job_bytes, at_once or num_slots)))


def threads_per_job(num_workers: int) -> int | None:
    """Returns the share of the cores that each job gets if several run at once; None means all cores.

    Splitting a small model's operations takes longer than computing them: on two cores, two jobs with one thread each
    are faster than two jobs with two threads each.
    """
    return None if num_workers == 1 else max(1, num_cores() // num_workers)


def visible_gpus() -> list[str]:
    """Returns the NVIDIA GPUs that the user has not excluded."""
    if VISIBLE_GPUS in os.environ:
        return [name for name in os.environ[VISIBLE_GPUS].split(",") if name]
    return sorted((path.name[6:] for path in Path("/dev").glob("nvidia[0-9]*")), key=int)


def _threads(settings: Settings) -> int:
    threads = settings.trainer.threads
    return num_cores() if threads is None else 1 if threads == "auto" else min(threads, num_cores())


def _file_bytes(settings: Settings) -> int:
    """Returns the size of the files that the data is read from; 0 if the data set reads none."""
    paths = [settings.data.params.get("path"), settings.data.validation_path, settings.data.test_path]
    names = [name for path in paths if path for name in ([path] if isinstance(path, str) else path)]
    return sum(_size(Path(file)) for name in names for file in data_paths.matching(name))


def _size(path: Path) -> int:
    """Returns the bytes of a file, or of a folder's files."""
    try:
        if path.is_dir():
            return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        return path.stat().st_size
    except OSError:  # the data set says what is wrong with it
        return 0
