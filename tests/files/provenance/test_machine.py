from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tfrun.files.provenance.machine import read_machine

CPUINFO = (
    "processor\t: 0\nmodel name\t: Some   CPU @ 2 GHz\nflags\t\t: sse avx2 fma\n\nprocessor\t: 1\nmodel name\t: Other\n"
)


def machine(root: Path, files: dict[str, str]) -> dict[str, Any]:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return read_machine(root)


def test_processor_memory_and_limits_are_those_of_the_kernel_s_files(tmp_path: Path) -> None:
    files = {
        "proc/cpuinfo": CPUINFO,
        "proc/meminfo": "MemTotal:  1000 kB\nMemAvailable: 500 kB\n",
        "proc/self/cgroup": "0::/\n",
        "sys/fs/cgroup/memory.max": "512000\n",
        "sys/fs/cgroup/cpu.max": "150000 100000\n",
    }
    read = machine(tmp_path, files)
    assert read["processor"] == "Some CPU @ 2 GHz" and read["flags"] == ["avx2", "fma", "sse"]
    assert read["memory_bytes"] == 1_024_000 and read["memory_limit_bytes"] == 512_000
    assert read["cores_limit"] == 1.5 and read["cores"] == len(os.sched_getaffinity(0))
    assert read["gpus"] == [] and read["gpu_driver"] is None


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
        ({"sys/fs/cgroup/cpu.max": "max"}, None),
        ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}, 2.0),
        ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}, None),
        ({}, None),
    ],
)
def test_a_limit_of_cores(tmp_path: Path, files: dict[str, str], limit: float | None) -> None:
    assert machine(tmp_path, files)["cores_limit"] == limit


def test_gpus_are_those_of_the_driver_or_of_the_bus(tmp_path: Path) -> None:
    bus = "sys/bus/pci/devices/0000:03:00.0"
    amd = {f"{bus}/class": "0x038000\n", f"{bus}/vendor": "0x1002\n", f"{bus}/device": "0x740f\n"}
    other = {f"{bus[:-1]}1/class": "0x020000\n", f"{bus[:-1]}1/vendor": "0x1002\n", f"{bus[:-1]}1/device": "0x1\n"}
    read = machine(tmp_path, amd | other)
    assert read["gpus"] == ["0x1002:0x740f"] and read["gpu_driver"] is None
    nvidia = {
        "proc/driver/nvidia/gpus/0000:01:00.0/information": "Model: \t\t NVIDIA H200\nIRQ:   1\n",
        "proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX x86_64 Module  550.54.15  Tue\nGCC version: 12.3\n",
    }
    read = machine(tmp_path, nvidia)
    assert read["gpus"] == ["NVIDIA H200"] and read["gpu_driver"] == "550.54.15"
