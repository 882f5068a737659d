"""What the machine does beside the work, and how much memory a process took. Nothing here imports TensorFlow."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

QUIET_CORES = 0.2


class Neighbours:
    """How many cores other processes use, from /proc/stat; nan where there is none.

    Worker processes of the benchmark itself count as others.
    """

    def __init__(self) -> None:
        self._before = self._now()

    @staticmethod
    def _now() -> tuple[float, float]:
        """Returns the seconds of the clock and the CPU seconds that others have used."""
        ticks = os.sysconf("SC_CLK_TCK")
        try:
            user, nice, system, _, _, interrupt, soft, *_ = map(int, Path("/proc/stat").read_text().split()[1:9])
        except OSError:
            return time.perf_counter(), math.nan
        own = os.times()
        return time.perf_counter(), (user + nice + system + interrupt + soft) / ticks - own.user - own.system

    def cores(self) -> float:
        """Returns the mean since the last call."""
        (began, used_before), self._before = self._before, self._now()
        return max(0.0, (self._before[1] - used_before) / (self._before[0] - began))

    def wait(self, patience: float) -> None:
        """Waits until they are quiet, or for `patience` seconds; then begins a new mean."""
        ends = time.perf_counter() + patience
        while time.perf_counter() < ends:
            self.cores()
            time.sleep(1)
            if not self.cores() > QUIET_CORES:
                break
        self.cores()


def peak_bytes() -> int:
    """Returns the most memory that this process has had resident so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def cpu_name() -> str | None:
    """Returns the processor's name, where /proc/cpuinfo has one."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), None)
