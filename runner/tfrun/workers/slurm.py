"""The workers of a Slurm step: what `srun` says in the variables of each of its tasks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from tfrun.errors import ConfigError

NUM_TASKS, INDEX, NODES, PER_NODE = (
    "SLURM_STEP_NUM_TASKS",
    "SLURM_PROCID",
    "SLURM_STEP_NODELIST",
    "SLURM_STEP_TASKS_PER_NODE",
)
FIRST_PORT, NUM_PORTS = 10_000, 20_000  # below those that Linux hands out by itself
PORTS_PER_JOB = 64  # as many tasks as a node rarely has


def is_step(environment: Mapping[str, str]) -> bool:
    """Returns whether a process is one of several tasks that `srun` has started."""
    return environment.get(NUM_TASKS, "1") != "1" and INDEX in environment


def read_step(environment: Mapping[str, str]) -> tuple[tuple[str, ...], int]:
    """Returns `host:port` of each task of a step, in their order, and the number of this one.

    The port follows from the job's id, so that two jobs of one node most probably have two.

    Raises:
        ConfigError: the variables aren't those of a step whose tasks are numbered node by node.
    """
    try:
        hosts = list(hosts_of(environment[NODES]))
        counts = tasks_per_node(environment[PER_NODE])
        index, total = int(environment[INDEX]), int(environment[NUM_TASKS])
        job = int(environment.get("SLURM_JOB_ID", "0"))
        node = int(environment.get("SLURM_NODEID", "-1"))
    except (KeyError, ValueError) as error:
        raise ConfigError(f"Slurm: the variables of the step can't be read: {error}. Set TF_CONFIG instead") from error
    places = [(host, k) for host, count in zip(hosts, counts, strict=False) for k in range(count)]
    if len(places) != total or not 0 <= index < total:
        raise ConfigError(
            f"Slurm: {NODES} and {PER_NODE} must give {NUM_TASKS} tasks. Received: {environment[NODES]!r}, "
            f"{environment[PER_NODE]!r}, {total}. Set TF_CONFIG instead"
        )
    if node >= 0 and places[index][0] != hosts[node]:
        raise ConfigError(
            "Slurm: tasks must be numbered node by node: srun --distribution=block. "
            f"Received: task {index} on {hosts[node]}"
        )
    first = FIRST_PORT + job * PORTS_PER_JOB % NUM_PORTS
    return tuple(f"{host}:{first + k}" for host, k in places), index


def hosts_of(text: str) -> Iterator[str]:
    """Yields the hosts of a list as Slurm writes it: `n[01-03,7],login` is n01, n02, n03, n7 and login."""
    for part in re.findall(r"(?:[^,\[]|\[[^\]]*\])+", text):
        yield from _expanded(part)


def tasks_per_node(text: str) -> list[int]:
    """Returns the numbers of a list as Slurm writes it: `2(x3),1` is 2, 2, 2 and 1."""
    counts = []
    for part in text.split(","):
        count, _, times = part.rstrip(")").partition("(x")
        counts += [int(count)] * int(times or 1)
    return counts


def _expanded(host: str) -> Iterator[str]:
    begin, bracket, rest = host.partition("[")
    if not bracket:
        yield host
        return
    ranges, _, end = rest.partition("]")
    for each in ranges.split(","):
        first, _, last = each.partition("-")
        for number in range(int(first), int(last or first) + 1):
            yield from _expanded(f"{begin}{number:0{len(first)}d}{end}")
