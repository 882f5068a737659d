"""One job of a sweep: what it does, the forked process it runs in, and what is told of its end."""

from __future__ import annotations

import contextlib
import ctypes
import json
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from tfrun import runs, schema
from tfrun.catalog import Catalog
from tfrun.compose import parse, plain
from tfrun.disk import write_atomically
from tfrun.launch import engine
from tfrun.runs import RunFolder
from tfrun.table import Table, load_table

SIGNALS = (signal.SIGINT, signal.SIGTERM)
ENDED = ("completed", "stopped", "failed", "diverged", "pruned")  # what run.json says of a run that told its end
PR_SET_PDEATHSIG = 1
NUMBER_BYTES = 4


class JobFolder(RunFolder):
    """A job's run folder. It stays where a mistake keeps the job from starting: the sweep shows its log."""

    def discard(self) -> None:
        """Keeps the folder."""

    def fail(self, overrides: Sequence[str], kind: str, message: str, exit_code: int) -> None:
        """Writes into `run.json` how the job ended, where it had no chance to."""
        before: dict[str, Any] = {
            "run_id": self.run_id,
            "overrides": list(overrides),
            "started": None,
            "metrics": {},
            "best": {},
        }
        error = {"type": kind, "message": message, "exit_code": exit_code}
        self.write_run(before | self.read_run() | {"status": "failed", "ended": runs.now(), "error": error})


@dataclass(frozen=True)
class Task:
    """What Hydra's launchers call for each job: trains it and returns its objective.

    Attributes:
        catalog: the components.
        swept: the keys that differ between the jobs, which are the columns of TensorBoard's HParams table.
    """

    catalog: Catalog
    swept: frozenset[str]

    def __call__(self, job: DictConfig) -> float | None:
        hydra = HydraConfig.get()
        overrides = [text.lstrip("+") for text in hydra.overrides.task]  # as people type them
        folder = JobFolder(Path(hydra.runtime.output_dir))
        config = schema.normalize(plain(job), self.catalog, overrides)
        write_atomically(folder.config_yaml, OmegaConf.to_yaml(job, resolve=True))
        hparams = {item.key_or_group: item.value() for item in parse(overrides) if item.key_or_group in self.swept}
        table = _table(config["data"], self.catalog)
        schema.check_task(config, self.catalog, table.task)
        with engine(folder.log) as (experiment, seconds):
            experiment.train(
                config, folder, self.catalog, table, overrides=overrides, hparams=hparams, import_seconds=seconds
            )
        return objective(folder.read_run())


_tables: list[tuple[Any, Table]] = []  # the last job's, at most one: another of the same worker most often has the same


def _table(config: Mapping[str, Any], catalog: Catalog) -> Table:
    """Returns a job's rows, those of the job before it where nothing of them has changed."""
    path = Path(str(config.get("path", ""))).expanduser()
    file = path.stat() if path.is_file() else None
    key = json.dumps(config, sort_keys=True), file and (file.st_mtime_ns, file.st_size, file.st_ino)
    if not _tables or _tables[0][0] != key:
        _tables[:] = [(key, load_table(config, catalog))]
    return _tables[0][1]


def objective(run: dict[str, Any]) -> float | None:
    """Returns the best value of the monitored metric, or None where no epoch has ended."""
    best = run.get("best") or {}
    return best.get(best.get("monitor"))


@dataclass
class Child:
    """A forked process.

    Attributes:
        pid: its id, and that of its session and process group.
        started: when, in seconds of `time.monotonic`.
        exit_code: once it has ended; negative is the signal that ended it.
    """

    pid: int
    started: float
    exit_code: int | None = None
    signalled: bool = False

    def has_ended(self) -> bool:
        """Returns whether it has ended, without waiting."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid:
            self.exit_code = os.waitstatus_to_exitcode(status)
        return bool(pid)

    def send(self, number: int) -> None:
        """Sends it the first signal only: the second would end it without saving."""
        if not self.signalled:
            self.signalled = True
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Ends it, and whatever it has started."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:  # it has no group of its own yet
            os.kill(self.pid, signal.SIGKILL)


class Worker:
    """A forked process that runs one job after another: those of one structure share a compiled program in it.

    Args:
        run: does a job, by its number, and returns its exit code.
        log: takes what the process says between jobs.
        structure: of the jobs that it is for.
    """

    def __init__(self, run: Callable[[int], int], log: Path, structure: str):
        self.structure = structure
        self.job: int | None = None
        self.started = 0.0
        requests, self._requests = os.pipe()
        self._answers, answers = os.pipe()
        os.set_blocking(self._answers, False)

        def serve() -> int:
            while data := os.read(requests, NUMBER_BYTES):
                code = run(int.from_bytes(data, "little"))
                os.write(answers, code.to_bytes(NUMBER_BYTES, "little"))
            return 0

        self.child = fork(serve, log)
        os.close(requests)
        os.close(answers)

    def start(self, job: int) -> None:
        """Hands it a job."""
        self.job, self.started = job, time.monotonic()
        with contextlib.suppress(BrokenPipeError):  # it has ended, as will be seen
            os.write(self._requests, job.to_bytes(NUMBER_BYTES, "little"))

    def answer(self) -> int | None:
        """Returns the exit code of its job, or None while it is at it."""
        try:
            data = os.read(self._answers, NUMBER_BYTES)
        except BlockingIOError:
            return None
        return int.from_bytes(data, "little") if data else None

    def dismiss(self) -> None:
        """Ends it, with its job if it has one."""
        if self.child.exit_code is None:
            self.child.kill()
            os.waitpid(self.child.pid, 0)
        os.close(self._requests)
        os.close(self._answers)


def fork(run: Callable[[], int], log: Path) -> Child:
    """Forks a process that calls `run` and exits with what it returns; its output goes to `log`.

    TensorFlow may be imported, but its runtime must not have started: forked then, the first tensor hangs.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # until the child has let go of the parent's handlers
    try:
        pid = os.fork()
        if pid == 0:
            _live(run, log, parent)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    return Child(pid, time.monotonic())


def _live(run: Callable[[], int], log: Path, parent: int) -> NoReturn:
    """Is the child's life, from the fork to its end."""
    exit_code: Any = 1
    try:
        os.setsid()  # so that Ctrl-C in the terminal reaches the parent alone, which hands it on
        _die_with(parent)
        redirect_output(log)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        exit_code = run()
    except SystemExit as error:
        exit_code = error.code or 0
        traceback.print_exc()  # nobody expects it of a component, so say where
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(exit_code if isinstance(exit_code, int) else 1)  # no exit handlers: they are the parent's


def _die_with(parent: int) -> None:
    """Has the kernel kill this process when its parent ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def redirect_output(log: Path) -> None:
    """Sends all that this process says from now on to the end of a file."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    # by number, as TensorFlow's own logger holds on to the sys.stderr that it was imported under
    for number in {1, 2, sys.stdout.fileno(), sys.stderr.fileno()}:
        os.dup2(file, number)
    os.close(file)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    logging.getLogger().handlers.clear()
