"""The memory that a process may use, read from a folder that stands for the root of the file system."""

from __future__ import annotations

from pathlib import Path

import pytest

from tfrun import host_memory

KIB = 1024
MACHINE = {"proc/meminfo": "MemTotal:  9000 kB\nMemFree:  1 kB\nMemAvailable:   3000 kB\n"}
SECOND = "sys/fs/cgroup"
FIRST = "sys/fs/cgroup/memory"
UNLIMITED = 9223372036854771712  # what version 1 says where nothing is limited
ROOTS = {
    "nothing is known": ({}, float("inf"), float("inf")),
    "an old kernel": ({"proc/meminfo": "MemTotal: 9 kB\n"}, float("inf"), 9 * KIB),
    "no control groups": (MACHINE, 3000 * KIB, 9000 * KIB),
    "version 2, no limit": (
        {**MACHINE, "proc/self/cgroup": "0::/\n", f"{SECOND}/memory.max": "max\n", f"{SECOND}/memory.current": "5\n"},
        3000 * KIB,
        9000 * KIB,
    ),
    "version 2, a container": (
        {
            **MACHINE,
            "proc/self/cgroup": "0::/\n",
            f"{SECOND}/memory.max": f"{1000 * KIB}\n",
            f"{SECOND}/memory.current": f"{900 * KIB}\n",
            f"{SECOND}/memory.stat": f"anon 7\ninactive_file {200 * KIB}\nactive_file {50 * KIB}\n",
        },
        350 * KIB,  # 1000 - (900 - 200 - 50)
        1000 * KIB,
    ),
    "version 2, a limit above the group": (
        {
            **MACHINE,
            "proc/self/cgroup": "0::/user.slice/job\n",
            f"{SECOND}/user.slice/job/memory.max": "max\n",
            f"{SECOND}/user.slice/job/memory.current": "1\n",
            f"{SECOND}/user.slice/memory.max": f"{2000 * KIB}\n",
            f"{SECOND}/user.slice/memory.current": f"{500 * KIB}\n",
        },
        1500 * KIB,
        2000 * KIB,
    ),
    "version 2, a larger limit than the machine has": (
        {**MACHINE, "proc/self/cgroup": "0::/\n", f"{SECOND}/memory.max": f"{8000 * KIB}\n"},
        3000 * KIB,
        8000 * KIB,
    ),
    "version 2, more is used than the limit": (
        {
            **MACHINE,
            "proc/self/cgroup": "0::/\n",
            f"{SECOND}/memory.max": "1000\n",
            f"{SECOND}/memory.current": "2000\n",
        },
        0,
        1000,
    ),
    "version 1, a container whose path is the machine's": (
        {
            **MACHINE,
            "proc/self/cgroup": "5:cpu,cpuacct:/docker/1\n4:memory:/docker/1\n0::/docker/1\n",
            f"{FIRST}/memory.limit_in_bytes": f"{1000 * KIB}\n",
            f"{FIRST}/memory.usage_in_bytes": f"{900 * KIB}\n",
            f"{FIRST}/memory.stat": f"inactive_file 1\ntotal_inactive_file {300 * KIB}\ntotal_active_file 0\n",
        },
        400 * KIB,  # 1000 - (900 - 300)
        1000 * KIB,
    ),
    "version 1, no limit": (
        {
            **MACHINE,
            "proc/self/cgroup": "4:memory:/\n",
            f"{FIRST}/memory.limit_in_bytes": f"{UNLIMITED}\n",
            f"{FIRST}/memory.usage_in_bytes": "5000\n",
        },
        3000 * KIB,
        9000 * KIB,
    ),
}


@pytest.mark.parametrize(("files", "free", "total"), ROOTS.values(), ids=ROOTS)
def test_the_memory_of_a_process(files: dict[str, str], free: float, total: float, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert host_memory.free_bytes(tmp_path) == free
    assert host_memory.total_bytes(tmp_path) == total


def test_this_machine_has_memory() -> None:
    assert 2**20 < host_memory.free_bytes() <= host_memory.total_bytes()
