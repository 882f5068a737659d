"""The variables of a task that `srun` has started."""

from __future__ import annotations

import pytest

from tfrun.errors import ConfigError
from tfrun.workers import slurm

# as Slurm 22.05 sets them for `srun -N 2 -n 4`
STEP = {
    "SLURM_PROCID": "2",
    "SLURM_NODEID": "1",
    "SLURM_JOB_ID": "1234",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_STEP_NODELIST": "n[01-02]",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
}
FIRST = 10_000 + 1234 * 64 % 20_000


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("login", ["login"]),
        ("n[01-03,7],login", ["n01", "n02", "n03", "n7", "login"]),
        ("r[1-2]c[8-9]", ["r1c8", "r1c9", "r2c8", "r2c9"]),
        ("gpu-[098-101].x", ["gpu-098.x", "gpu-099.x", "gpu-100.x", "gpu-101.x"]),
    ],
)
def test_a_list_of_hosts_is_written_out(text: str, hosts: list[str]) -> None:
    assert list(slurm.hosts_of(text)) == hosts


def test_tasks_per_node_are_written_out() -> None:
    assert slurm.tasks_per_node("2(x3),1") == [2, 2, 2, 1]


def test_a_step_is_read() -> None:
    assert slurm.is_step(STEP)
    expected = (f"n01:{FIRST}", f"n01:{FIRST + 1}", f"n02:{FIRST}", f"n02:{FIRST + 1}")
    assert slurm.read_step(STEP) == (expected, 2)
    assert not slurm.is_step({"SLURM_JOB_ID": "1", "SLURM_PROCID": "0"})  # a batch script has no step
    assert not slurm.is_step(STEP | {"SLURM_STEP_NUM_TASKS": "1"})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"SLURM_STEP_NODELIST": "n[1-x]"}, "can't be read"),
        (
            {"SLURM_STEP_TASKS_PER_NODE": "2,3"},
            r"must give SLURM_STEP_NUM_TASKS tasks\. Received: 'n\[01-02\]', '2,3', 4",
        ),
        ({"SLURM_NODEID": "0"}, r"srun --distribution=block\. Received: task 2 on n01"),
    ],
)
def test_other_variables_are_one_line(changes: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=f"Slurm: .*{message}"):
        slurm.read_step(STEP | changes)
