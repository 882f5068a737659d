"""The machine that a run trains on, read from /proc and /sys, where nothing has to be waited for."""

from __future__ import annotations

import contextlib
import os
import platform
from pathlib import Path
from typing import Any

from tfrun import host_memory

ROOT = Path("/")
NVIDIA = "0x10de"  # the vendor's number on the PCI bus
DISPLAY = ("0x0300", "0x0302", "0x0380", "0x1200")  # classes of devices: graphics, and accelerators


def read_machine(root: Path = ROOT) -> dict[str, Any]:
    """Returns processor, memory, GPUs and system; None where the machine doesn't say it. Tests pass another root."""
    total = host_memory.machine_bytes(root)
    usable = host_memory.total_bytes(root)
    return {
        "architecture": platform.machine(),
        "processor": _of_processor(root, ("model name", "Model")),
        "flags": sorted((_of_processor(root, ("flags", "Features")) or "").split()),
        "cores": len(os.sched_getaffinity(0)),
        "cores_limit": _cores_limit(root),
        "memory_bytes": _whole(total),
        "memory_limit_bytes": _whole(usable) if usable < total else None,
        "gpus": _nvidia_gpus(root) or _gpus_on_the_bus(root),
        "gpu_driver": _driver(root),
        "kernel": f"{platform.system()} {platform.release()}",
        "libc": _libc(),
    }


def _whole(number: float) -> int | None:
    return None if number == float("inf") else int(number)


def _of_processor(root: Path, names: tuple[str, ...]) -> str | None:
    """Returns the value of the first line of /proc/cpuinfo that has one of the names."""
    with contextlib.suppress(OSError), open(root / "proc/cpuinfo", errors="replace") as lines:
        for line in lines:
            name, _, value = line.partition(":")
            if name.strip() in names:
                return " ".join(value.split())
    return None


def _cores_limit(root: Path) -> float | None:
    """Returns how many cores' time a container may use (`cpu.max`, `cpu.cfs_quota_us`); None if there is no limit."""
    quota, period = [*(_text(root / "sys/fs/cgroup/cpu.max") or "").split(), "", ""][:2]
    if not quota:
        folder = root / "sys/fs/cgroup/cpu"
        quota, period = _text(folder / "cpu.cfs_quota_us") or "", _text(folder / "cpu.cfs_period_us") or ""
    return round(int(quota) / int(period), 3) if quota.isdigit() and period.isdigit() and int(period) else None


def _nvidia_gpus(root: Path) -> list[str]:
    """Returns the names of the GPUs that NVIDIA's driver knows."""
    files = sorted((root / "proc/driver/nvidia/gpus").glob("*/information"))
    lines = [line.partition(":") for file in files for line in (_text(file) or "").splitlines()]
    return [value.strip() for name, _, value in lines if name.strip() == "Model"]


def _gpus_on_the_bus(root: Path) -> list[str]:
    """Returns vendor and number of the GPUs of other vendors, `0x1002:0x740f` for example."""
    gpus = []
    for folder in sorted((root / "sys/bus/pci/devices").glob("*")):
        kind = (_text(folder / "class") or "")[:6]
        vendor, device = _text(folder / "vendor"), _text(folder / "device")
        if kind in DISPLAY and vendor and device and vendor != NVIDIA:
            gpus.append(f"{vendor}:{device}")
    return gpus


def _driver(root: Path) -> str | None:
    """Returns the version of NVIDIA's driver, from a line `NVRM version: NVIDIA UNIX … Kernel Module  550.54  …`."""
    line = (_text(root / "proc/driver/nvidia/version") or "").partition("\n")[0]
    return next((word for word in line.split() if word[:1].isdigit() and "." in word), None)


def _libc() -> str | None:
    with contextlib.suppress(ValueError, OSError):
        return os.confstr("CS_GNU_LIBC_VERSION")
    return None


def _text(file: Path) -> str | None:
    try:
        return file.read_text(errors="replace").strip()
    except OSError:
        return None
