"""One job of a sweep: what it does, the forked process it runs in, and what is left of it."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from tfrun import runs, schema
from tfrun.catalog import Catalog
from tfrun.compose import parse, plain
from tfrun.errors import TfrunError
from tfrun.launch import engine
from tfrun.runs import RunFolder

SIGNALS = (signal.SIGINT, signal.SIGTERM)
PR_SET_PDEATHSIG = 1


class JobFolder(RunFolder):
    """A job's run folder. It stays when the job can't begin: the sweep tells why, job by job."""

    def discard(self) -> None:
        """Keeps the folder."""


@dataclass(frozen=True)
class Task:
    """What Hydra's launchers run for each job: trains it, and returns its objective for sweepers that look for one.

    Attributes:
        catalog: the components.
        swept: the keys that differ between the jobs; they become the columns of TensorBoard's HParams table.
    """

    catalog: Catalog
    swept: frozenset[str]

    def __call__(self, job: DictConfig) -> float | None:
        hydra = HydraConfig.get()
        overrides = [str(override).lstrip("+") for override in hydra.overrides.task]
        folder = JobFolder(Path(hydra.runtime.output_dir))
        config = schema.normalize(plain(job), self.catalog, overrides)
        runs.write_atomically(folder.config_yaml, OmegaConf.to_yaml(job, resolve=True))
        hparams = {item.key_or_group: item.value() for item in parse(overrides) if item.key_or_group in self.swept}
        with engine(folder.log) as (experiment, seconds):
            experiment.train(
                config, folder, self.catalog, overrides=overrides, hparams=hparams, import_seconds=seconds
            )
        return objective(folder.read_run())


@dataclass
class Child:
    """A process that runs one job."""

    pid: int
    started: float
    exit_code: int | None = None  # negative: the signal that ended it
    timed_out: bool = False
    signalled: bool = False

    def has_ended(self) -> bool:
        """Returns whether the process is gone, without waiting for it."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid:
            self.exit_code = os.waitstatus_to_exitcode(status)
        return bool(pid)

    def send(self, number: int) -> None:
        """Asks the job once to save and stop."""
        if not self.signalled:
            self.signalled = True
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Ends the job and whatever it has started."""
        os.killpg(self.pid, signal.SIGKILL)

    def why(self) -> tuple[str, str]:
        """Returns the type and the message of an end that the job had no chance to tell."""
        assert self.exit_code is not None
        if self.timed_out:
            return "TimeoutError", "killed: it ran longer than hydra.launcher.timeout_seconds"
        if self.exit_code < 0:
            return "Killed", f"killed by {signal.Signals(-self.exit_code).name}"
        return "Exited", f"the process ended with exit code {self.exit_code} before the run did"


def start(run: Callable[[], int], log: Path) -> Child:
    """Forks a process that calls `run` and exits with what it returns, its output in `log`.

    TensorFlow must be imported and its runtime not started: forked after that, it hangs.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # until the child has handlers of its own
    try:
        pid = os.fork()
        if pid == 0:
            _live(run, log, parent)
        with _ignore_gone():
            os.setpgid(pid, pid)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    return Child(pid, time.perf_counter())


def _live(run: Callable[[], int], log: Path, parent: int) -> NoReturn:
    """The child's whole life."""
    exit_code: Any = 1
    try:
        os.setsid()  # the terminal's Ctrl-C reaches the parent alone, which hands it on
        _die_with(parent)
        _output_to(log)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        exit_code = run()
    except SystemExit as error:
        exit_code = error.code
        traceback.print_exc()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exit_code if isinstance(exit_code, int) else int(exit_code is not None))
