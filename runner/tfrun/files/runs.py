"""Run folders: claims a new one, locks it for a process, and reads and writes the plain files in it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tfrun.errors import CheckpointError, ConfigError, FolderInUseError, ResourceError
from tfrun.files import first_folder, json_files, strict_json
from tfrun.files.disk import (
    first_above,
    open_file,
    refusals,
    refuse_link,
    remove_left_behind,
    try_folder,
    write_atomically,
)
from tfrun.folders import shown, typed

LEDGER = "trials.jsonl"  # the file that makes a folder a sweep's
JOBS_LOCK = ".jobs.lock"  # locked by a process that looks for the folder of a job, or makes it
NAME_OF_JOB = re.compile(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d_[A-Za-z0-9.-]+")
KINDS_OF_FOLDER = ("outputs", "multirun")  # of runs, and of sweeps
# Folders into which a run, or a sweep with its numbered jobs, writes, those above first.
FOLDERS = (
    *("checkpoints", "tensorboard", ".hydra", "provenance", "[0-9]*"),
    *("checkpoints/step-*", "tensorboard/*", "tensorboard/*/*"),
)
EXPORTS = {  # format → the name of what `tfrun export` writes into the run's folder `export/`
    "saved_model": "saved_model",
    "keras": "model.keras",
    "litert": "model.tflite",
    "onnx": "model.onnx",
    "openvino": "openvino",
    "tfjs": "tfjs",
    "serving": "serving",  # below it <name>/<version>
}


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run; `docs/run-folder.md` says what each file in it is for."""

    path: Path

    @property
    def run_id(self) -> str:
        """The folder's name; for a job of a sweep `<sweep>/<number>`, since the number alone isn't unique."""
        return f"{self.path.parent.name}/{self.path.name}" if self.path.name.isdigit() else self.path.name

    @property
    def run_json(self) -> Path:
        return self.path / "run.json"

    @property
    def config_yaml(self) -> Path:
        return self.path / "config.yaml"

    @property
    def metrics_jsonl(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def preprocessing_json(self) -> Path:
        return self.path / "preprocessing.json"

    @property
    def samples_json(self) -> Path:
        return self.path / "samples.json"

    @property
    def out_of_fold(self) -> Path:
        return self.path / "out_of_fold.parquet"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def exports(self) -> Path:
        return self.path / "export"

    @property
    def predictions(self) -> Path:
        return self.path / "predictions"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def tensorboard(self) -> Path:
        return self.path / "tensorboard"

    @property
    def log(self) -> Path:
        return self.path / "tfrun.log"

    def read_run(self) -> dict[str, Any]:
        """Returns `run.json`, or an empty mapping if there is none. Raises CheckpointError if it is damaged."""
        try:
            return json_files.read_run(self.run_json)
        except FileNotFoundError:
            return {}

    def first_folder(self, needed: Sequence[Sequence[str]], *, described: Mapping[str, Any] | None = None) -> Path:
        """Returns the folder of the command that began the run or the sweep, or the current one if it isn't there.

        Args:
            needed: the relative paths of the files that the run needs in it, each with its alternatives.
            described: how the run's files describe it; None for `run.json`, or Hydra's file if that is too old.
        """
        described = self.read_run().get("folder") if described is None else described
        return first_folder.find(self.path, described or first_folder.of_hydra(self.path), needed=needed)

    def read_metrics(self) -> list[dict[str, Any]]:
        """Returns the lines of `metrics.jsonl`. Raises OSError if it isn't there, CheckpointError if it is damaged."""
        return json_files.read_metrics(self.metrics_jsonl)

    def read_preprocessing(self) -> dict[str, Any]:
        """Returns `preprocessing.json`.

        Raises:
            CheckpointError: it is damaged, or the run ended before it was written.
        """
        try:
            return json_files.read_object(self.preprocessing_json)
        except FileNotFoundError as error:
            raise CheckpointError(f"{self.preprocessing_json}: can't be read: {error.strerror}") from error

    def read_samples(self) -> str | None:
        """Returns the text of `samples.json`, or None if the run has stored no rows. Raises CheckpointError."""
        try:
            return self.samples_json.read_text()
        except FileNotFoundError:
            return None
        except (ValueError, OSError) as error:
            raise CheckpointError(f"{self.samples_json}: can't be read: {error}") from error

    def write_run(self, run: dict[str, Any]) -> None:
        """Replaces `run.json` atomically."""
        write_atomically(self.run_json, strict_json.dumps(run, indent=2) + "\n")

    @property
    def has_checkpoints(self) -> bool:
        return any(self.checkpoints.glob("step-*"))

    def refuse_lost_checkpoints(self, run: Mapping[str, Any]) -> None:
        """Raises CheckpointError if `run.json` says that there are checkpoints, and there is none.

        Args:
            run: the fields of `run.json`; empty if the run hasn't begun.
        """
        if run.get("step") and not self.has_checkpoints:
            what = "the folder has no checkpoint any more" if self.checkpoints.is_dir() else "the folder is gone"
            raise CheckpointError(
                f"{self.checkpoints}: {what}, though run.json says that step {run['step']} was saved. "
                "Put the checkpoints back, or train a new run: none starts again from scratch by itself"
            )

    def require_checkpoints(self) -> None:
        """Raises CheckpointError if the run has no checkpoint, whether it had one before or not."""
        self.refuse_lost_checkpoints(self.read_run())
        if not self.has_checkpoints:
            resume = f"tfrun resume {shown(self.path)}"
            raise CheckpointError(f"{self.checkpoints}: the run has no checkpoint yet. Train it with: {resume}")

    def discard(self) -> None:
        """Removes the folder of a run that could not begin, and its parents if they are then empty."""
        shutil.rmtree(self.path, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.path.parent.rmdir()
            self.path.parent.parent.rmdir()

    def _refuse_linked_folders(self) -> None:
        """Raises ResourceError if a folder that is written into is a link, which could lead to any place."""
        for pattern in FOLDERS:
            for path in self.path.glob(pattern):
                if pattern != "[0-9]*" or path.name.isdecimal():
                    refuse_link(path)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Locks the folder for this process; the kernel unlocks it when the process ends, however it ends.

        Raises:
            FolderInUseError: another process holds it.
            ResourceError: nothing can be written there, or a folder in it is a link.
        """
        self._refuse_linked_folders()
        path = self.path / "run.lock"
        with refusals(path):
            lock = open_file(path, "a+b", buffering=0)
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                holder = lock.read(200).decode(errors="replace").strip() or "unknown"
                raise FolderInUseError(f"{self.path} is in use by another process: {holder}") from None
            except OSError as error:  # a file system of a cluster may be mounted without locks
                raise ResourceError(f"{path}: can't be locked: {error.strerror}") from error
            with contextlib.suppress(OSError):  # a full disk: the lock holds without the name of its holder
                lock.truncate(0)
                lock.write(f"pid {os.getpid()} on {socket.gethostname()} since {now()}".encode())
            remove_left_behind(self.path)
            yield


def open_sweep(path: str) -> RunFolder | None:
    """Returns the folder of a sweep, or None if there is no sweep at `path`."""
    folder = Path(path).expanduser()
    return RunFolder(folder.absolute()) if (folder / LEDGER).is_file() else None


def folders_below(root: Path | None = None) -> Iterator[Path]:
    """Yields the absolute paths of the runs and the sweeps in `outputs` and `multirun` below a folder.

    Args:
        root: the folder; None is the one in which the command was typed.
    """
    for kind in KINDS_OF_FOLDER:
        for folder in (root or typed(".")).glob(f"{kind}/*/*_*_*"):
            if (folder / "config.yaml").is_file() or (folder / LEDGER).is_file():
                yield folder


def newest_folder(*, sweeps_only: bool = False) -> Path | None:
    """Returns the absolute path of the run or the sweep that was begun last, or None if there is none."""
    folders = (folder for folder in folders_below() if not sweeps_only or (folder / LEDGER).is_file())
    return max(folders, key=lambda folder: folder.name, default=None)  # which begins with the date and the time


def now() -> str:
    """Returns the time as run.json has it: ISO 8601 with the offset from UTC, to the second."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


def claim(output_root: str | os.PathLike[str], name: str, *, kind: str = "outputs") -> RunFolder:
    """Makes a new `<output_root>/<kind>/<name>/<date>_<time>_<id>`, which no other process can claim.

    Raises:
        ResourceError: the folder can't be made.
    """
    with _made(output_root, name, kind=kind) as parent:
        while True:
            path = parent / _new_name(secrets.token_hex(3))
            try:
                path.mkdir()
                return RunFolder(path)
            except FileExistsError:
                continue


def claim_for_job(output_root: str | os.PathLike[str], name: str, *, job: str, kind: str = "outputs") -> RunFolder:
    """Returns the folder of a scheduler's job, whose id is the job's: the one that is there, or else a new one.

    A file locks this for one process at a time, so that two of the same job never make a folder each.

    Args:
        output_root: the folder with `outputs` and `multirun`.
        name: of the run.
        job: the id; letters, digits, dots and hyphens.
        kind: `outputs` or `multirun`.

    Raises:
        ResourceError: the folder can't be made.
    """
    with _made(output_root, name, kind=kind) as parent, open_file(parent / JOBS_LOCK, "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder := folder_of_job(output_root, name, job=job, kind=kind):
            return folder
        path = parent / _new_name(job)
        path.mkdir()
        return RunFolder(path)


def folder_of_job(
    output_root: str | os.PathLike[str], name: str, *, job: str, kind: str = "outputs"
) -> RunFolder | None:
    """Returns the folder that an earlier start of a scheduler's job has claimed, or None."""
    parent = _parent(output_root, name, kind=kind)
    folders = [path for path in parent.glob(f"*_{job}") if NAME_OF_JOB.fullmatch(path.name) and path.is_dir()]
    return RunFolder(max(folders)) if folders else None


def _parent(output_root: str | os.PathLike[str], name: str, *, kind: str) -> Path:
    return Path(output_root).expanduser().resolve() / kind / name


@contextlib.contextmanager
def _made(output_root: str | os.PathLike[str], name: str, *, kind: str) -> Iterator[Path]:
    """Makes the folder of a name, and yields it. Raises ResourceError if something in it can't be made."""
    parent = _parent(output_root, name, kind=kind)
    try:
        parent.mkdir(parents=True, exist_ok=True)
        yield parent
    except OSError as error:
        raise ResourceError(
            f"output_root: {parent} can't be written: {error.strerror}. Received: {output_root}"
        ) from error


def _new_name(run_id: str) -> str:
    return f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{run_id}"


def check_output_root(output_root: str | os.PathLike[str]) -> None:
    """Checks that a run could make its folder, and leaves nothing behind.

    Raises:
        ResourceError: it couldn't.
    """
    folder = first_above(Path(output_root).expanduser().resolve())
    try:
        try_folder(folder)
    except OSError as error:
        raise ResourceError(
            f"output_root: {folder} can't be written: {error.strerror}. Received: {output_root}"
        ) from error


def open_run(path: str | os.PathLike[str]) -> RunFolder:
    """Returns the run folder at `path`. Raises ConfigError if there is none."""
    folder = RunFolder(Path(path).expanduser().resolve())
    if open_sweep(os.fspath(path)) is not None:
        raise ConfigError(f"{path}: a sweep, not a run. Its best run is {path}/best, and its first one {path}/0")
    if not folder.config_yaml.is_file():
        reason = "has no config.yaml" if folder.path.is_dir() else "does not exist"
        raise ConfigError(
            f"{path}: not a run folder, it {reason}. Expected outputs/<name>/<date>_<time>_<id>, or latest"
        )
    return folder
