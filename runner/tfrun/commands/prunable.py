"""Which runs may be pruned: those that have ended, and whose state no other run will ask for."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tfrun.errors import ConfigError, TfrunError
from tfrun.files import yaml_files
from tfrun.files.checkpoints import PINNED
from tfrun.files.retention import BEST
from tfrun.files.runs import KINDS_OF_FOLDER, LEDGER, RunFolder
from tfrun.folders import shown, typed
from tfrun.sweep.ledger import Ledger

ENDED = ("completed", "pruned", "diverged")  # what `status` in run.json says of runs that nothing resumes by itself
RESUMED = "resume continues it"
IN_POPULATION = "its sweep isn't over, and other members may copy its state"


@dataclass(frozen=True)
class RunsBelow:
    """The runs in the folders that a command line names.

    Attributes:
        folders: each run once, in the order of their paths.
    """

    folders: Sequence[RunFolder]
    _sweeps: dict[Path, tuple[bool, bool]] = field(default_factory=dict)

    @classmethod
    def find(cls, paths: Sequence[str]) -> RunsBelow:
        """Returns the runs in folders, links in them not followed. Raises ConfigError if a path has none."""
        folders: dict[Path, RunFolder] = {}
        for path in paths:
            root = Path(path).expanduser()
            if not root.is_dir():
                raise ConfigError(f"prune: no such folder. Received: {path!r}")
            below = list(_runs_in(root.resolve()))
            if not below:
                raise ConfigError(f"prune: there are no runs in {path}")
            folders |= {folder.path: folder for folder in below}
        return cls([folders[path] for path in sorted(folders)])

    def reason_to_leave(self, folder: RunFolder, keep: str) -> str:
        """Returns why a run must not be pruned, as part of a sentence; empty if it may be.

        Raises:
            CheckpointError: its run.json is damaged.
        """
        status = str(folder.read_run().get("status"))
        if status not in ENDED:
            what = "killed while it trained" if status == "running" and not is_held(folder) else status
            return f"{what}: {RESUMED}" if what != "running" else "still running"
        if self._is_copied(folder):
            return IN_POPULATION
        if keep == BEST and (runs := self._taking_last.get(folder.path)):
            return f"{shown(runs[0])} will begin with its last weights"
        return ""

    def _is_copied(self, folder: RunFolder) -> bool:
        """Returns whether a job belongs to a population that isn't over, whose members copy each other's state."""
        sweep = RunFolder(folder.path.parent)
        if not (sweep.path / LEDGER).is_file():
            return False
        if sweep.path not in self._sweeps:
            self._sweeps[sweep.path] = _population(sweep.path)
        is_member, is_over = self._sweeps[sweep.path]
        return not is_over and (is_member or any(folder.checkpoints.glob(f"step-*/{PINNED}")))

    @functools.cached_property
    def _taking_last(self) -> Mapping[Path, list[Path]]:
        """The runs that have not begun to train and will read another run's last weights, by the path of that one."""
        roots = [typed(kind) for kind in KINDS_OF_FOLDER if typed(kind).is_dir()]
        others = {folder.path: folder for root in roots for folder in _runs_in(root.resolve())}
        taking: dict[Path, list[Path]] = {}
        for path, folder in (others | {folder.path: folder for folder in self.folders}).items():
            source = _last_weights_of(folder)
            if source is not None:
                taking.setdefault(source, []).append(path)
        return taking


def is_held(folder: RunFolder) -> bool:
    """Returns whether another process holds a run's folder."""
    try:
        with open(folder.path / "run.lock", "rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
    except OSError:  # no process has ever held it, or it can't be read: `held` says so
        return False
    return False


def _runs_in(root: Path) -> Iterator[RunFolder]:
    """Yields the runs in a folder, itself included; what lies inside a run is not looked at."""
    for path, folders, files in os.walk(root):
        if "run.json" in files:
            folders.clear()
            yield RunFolder(Path(path))
        else:
            folders[:] = [name for name in folders if not name.startswith(".")]


def _population(sweep: Path) -> tuple[bool, bool]:
    """Returns whether jobs of a sweep have copied others, and whether it is over. Raises CheckpointError."""
    _, trials = Ledger(sweep).read()
    is_over = all(trial.state not in ("waiting", "running", "stopped") for trial in trials)
    return any(trial.branch for trial in trials), is_over and not is_held(RunFolder(sweep))


def _last_weights_of(folder: RunFolder) -> Path | None:
    """Returns the run whose last weights a run will begin with, once it is resumed from its first step, or None."""
    with contextlib.suppress(TfrunError, yaml.YAMLError, OSError):
        run = folder.read_run()
        if run.get("status") in ENDED or folder.has_checkpoints or not folder.config_yaml.is_file():
            return None
        init: Any = yaml_files.load(folder.config_yaml).get("init")
        if isinstance(init, dict) and init.get("from") and init.get("take") == "last":
            return (folder.first_folder([[str(init["from"])]]) / Path(str(init["from"])).expanduser()).resolve()
    return None
