"""The workers that `strategy.workers` starts on this machine, to try the strategy."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tfrun.errors import ResourceError
from tfrun.files.disk import refusals
from tfrun.folders import typed
from tfrun.workers.cluster import VARIABLE, Cluster

END_SECONDS = 20.0  # within which a worker ends once worker 0 has said so
LOST_SECONDS = 2.0  # the same after one of them was lost


class LocalWorkers:
    """The processes of all workers but worker 0, which is this process.

    Args:
        cluster: the workers.
        words: the command line of each, without `tfrun`.
        logs: the folder for what they print.
    """

    def __init__(self, cluster: Cluster, words: Sequence[str], logs: Path):
        self._cluster = cluster
        self._logs = logs
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        with refusals(logs):
            logs.mkdir(exist_ok=True)
        try:
            for index in cluster.others:
                self._processes[index] = self._start(index, words)
        except BaseException:
            self.close(0)
            raise

    def check_alive(self) -> None:
        """Raises ResourceError if one of them has ended before the meeting."""
        for index, process in self._processes.items():
            if (code := process.poll()) is not None:
                last = self._last_line(index)
                raise ResourceError(f"strategy: {self._cluster.name(index)} ended with code {code}: {last}")

    def close(self, seconds: float = END_SECONDS) -> None:
        """Waits for their ends, and kills those that take longer."""
        for process in self._processes.values():
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()

    def _start(self, index: int, words: Sequence[str]) -> subprocess.Popen[bytes]:
        variable = replace(self._cluster, index=index).as_variable()
        with refusals(self._logs), open(log_of(self._logs, index), "ab") as log:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", "tfrun", *words],  # -P: a file of this folder must not hide a module
                cwd=typed("."),
                env={**os.environ, VARIABLE: variable, "CUDA_VISIBLE_DEVICES": "-1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # so that Ctrl-C reaches it through worker 0 only
            )

    def _last_line(self, index: int) -> str:
        lines = log_of(self._logs, index).read_text(errors="replace").split("\n")
        return next((line for line in reversed(lines) if line), "it has printed nothing")


def log_of(folder: Path, index: int) -> Path:
    """Returns the file for what a worker prints, in the folder `workers` of a run."""
    return folder / f"{index}.log"
