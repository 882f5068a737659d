"""Which processes train a run together, and which of them this one is: from TF_CONFIG, Slurm or the config."""

from __future__ import annotations

import ipaddress
import json
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tfrun.errors import ConfigError
from tfrun.files import strict_json
from tfrun.workers import slurm

VARIABLE = "TF_CONFIG"
EXAMPLE = '{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}'
LOOPBACK = "127.0.0.1"
STARTED_HERE = "strategy.workers"  # the source of workers that worker 0 starts on its machine
KINDS = ("chief", "worker")  # of tasks, in the order in which TensorFlow numbers their replicas


@dataclass(frozen=True)
class Cluster:
    """The workers of a run.

    Attributes:
        addresses: `host:port` of each worker.
        index: this process's. Worker 0 leads: it decides, writes the run's folder and shows the run.
        source: where that was read, for messages.
    """

    addresses: tuple[str, ...]
    index: int
    source: str

    @property
    def leads(self) -> bool:
        """Whether this process is worker 0."""
        return self.index == 0

    @property
    def is_local(self) -> bool:
        """Whether all workers are on this machine, to try the strategy."""
        return all(address.startswith(f"{LOOPBACK}:") for address in self.addresses)

    @property
    def others(self) -> range:
        """The numbers of the workers that follow worker 0."""
        return range(1, len(self.addresses))

    def name(self, index: int) -> str:
        """Returns what a worker is called in messages."""
        return f"worker {index} ({self.addresses[index]})"

    def endpoint(self, index: int) -> tuple[str, int]:
        """Returns the host and the port of a worker."""
        host, _, port = self.addresses[index].rpartition(":")
        return host.strip("[]"), int(port)

    def as_variable(self) -> str:
        """Returns the text of TF_CONFIG from which TensorFlow reads the same."""
        task = {"type": "worker", "index": self.index}
        return strict_json.dumps({"cluster": {"worker": list(self.addresses)}, "task": task})


def read_cluster(environment: Mapping[str, str], *, num_workers: int | None) -> Cluster:
    """Returns the workers of a run.

    Args:
        environment: the variables of this process. TF_CONFIG counts first, then those of a Slurm step.
        num_workers: the config's `strategy.workers`. If nothing else names the workers, they are to be started on this
            machine, and this process is worker 0.

    Raises:
        ConfigError: nothing names the workers, or it makes no sense.
    """
    if text := environment.get(VARIABLE):
        cluster = from_variable(text)
    elif slurm.is_step(environment):
        cluster = Cluster(*slurm.read_step(environment), source="Slurm")
    elif num_workers is not None:
        return Cluster(free_addresses(num_workers), 0, STARTED_HERE)
    else:
        raise ConfigError(
            "strategy: multi_worker must know its workers. Set TF_CONFIG on each of them, for example to "
            f"{EXAMPLE}, or start them with srun. strategy.workers=2 starts two on this machine, to try it"
        )
    if num_workers not in (None, len(cluster.addresses)):
        raise ConfigError(
            f"strategy.workers: {cluster.source} names the workers, so leave it out. "
            f"Received: {num_workers}, and {len(cluster.addresses)} in {cluster.source}"
        )
    return cluster


def from_variable(text: str) -> Cluster:
    """Returns the workers that the text of TF_CONFIG names. Raises ConfigError if it isn't as TensorFlow wants it."""
    try:
        value = json.loads(text)
        tasks, task = value["cluster"], value["task"]
        kind, index = task["type"], task["index"]
        by_kind = dict(tasks)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _wrong(f"must be JSON with a cluster and a task, for example {EXAMPLE}", text) from error
    if not by_kind.get("worker") or not all(isinstance(value, list) for value in by_kind.values()):
        raise _wrong("each kind of task must have a list of host:port, and there must be a worker", tasks)
    if not by_kind.keys() <= set(KINDS) or len(by_kind.get("chief", ())) > 1:
        raise _wrong("may name workers and one chief only, as all of them train the same", sorted(by_kind))
    addresses = tuple(address for name in KINDS for address in by_kind.get(name, ()))
    if wrong := [address for address in addresses if not _is_address(address)]:
        raise _wrong("a worker is host:port, or [address]:port for an address of IPv6", wrong[0])
    if len(set(addresses)) < len(addresses):
        raise _wrong("names an address twice", ", ".join(addresses))
    if not isinstance(kind, str) or kind not in by_kind:
        raise _wrong(f"the task's type must be one of {', '.join(by_kind)}", kind)
    if type(index) is not int or not 0 <= index < len(by_kind[kind]):
        raise _wrong(f"the task's index must be a number from 0 to {len(by_kind[kind]) - 1}", repr(index))
    return Cluster(addresses, index + (len(by_kind.get("chief", ())) if kind == "worker" else 0), VARIABLE)


def free_addresses(count: int) -> tuple[str, ...]:
    """Returns addresses on this machine's loopback whose ports nobody uses."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind((LOOPBACK, 0))
    addresses = tuple(f"{LOOPBACK}:{each.getsockname()[1]}" for each in sockets)
    for each in sockets:
        each.close()
    return addresses


def _is_address(value: Any) -> bool:
    host, _, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    return _is_host(host) and port.isascii() and port.isdecimal() and 0 < int(port) < 65536


def _is_host(host: str) -> bool:
    """Returns whether a text can be the name or the address of a host; one of IPv6 stands in brackets."""
    if host.startswith("[") and host.endswith("]"):
        return _is_ipv6(host[1:-1])
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return re.fullmatch(r"[^\s:/@\[\]]+", host) is not None


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _wrong(rule: str, received: object) -> ConfigError:
    shown = str(received)
    return ConfigError(f"{VARIABLE}: {rule}. Received: {shown if len(shown) <= 300 else f'{shown[:300]}…'}")
