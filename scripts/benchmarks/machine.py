"""Memory of this process, and the load that other processes put on the machine. Imports no TensorFlow."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

QUIET_CORES = 0.2


class Neighbours:
    """Measures how many cores other processes use, from /proc/stat; nan if the machine has no such file.

    Worker processes of the benchmark itself count as others.
    """

    def __init__(self) -> None:
        self._before = self._now()

    @staticmethod
    def _now() -> tuple[float, float]:
        """Returns the clock in seconds, and the CPU seconds that other processes have used."""
        ticks = os.sysconf("SC_CLK_TCK")
        try:
            user, nice, system, _, _, interrupt, soft, *_ = map(int, Path("/proc/stat").read_text().split()[1:9])
        except OSError:
            return time.perf_counter(), math.nan
        this_process = os.times()
        used = (user + nice + system + interrupt + soft) / ticks - this_process.user - this_process.system
        return time.perf_counter(), used

    def cores(self) -> float:
        """Returns the mean number of cores in use since the last call."""
        before = self._before
        self._before = self._now()
        return max(0.0, (self._before[1] - before[1]) / (self._before[0] - before[0]))

    def wait(self, patience: float) -> None:
        """Waits until the others are quiet, at most `patience` seconds; then starts a new mean."""
        ends = time.perf_counter() + patience
        while time.perf_counter() < ends:
            self.cores()
            time.sleep(1)
            if not self.cores() > QUIET_CORES:  # so that nan counts as quiet
                break
        self.cores()


def peak_bytes() -> int:
    """Returns the peak of this process' resident memory so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def cpu_name() -> str | None:
    """Returns the processor's name, or None if /proc/cpuinfo has none."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), None)
