"""Which workers a run has, from TF_CONFIG, Slurm and the config."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tfrun.errors import ConfigError
from tfrun.workers.cluster import Cluster, from_variable, read_cluster

HOSTS = ["a:2222", "b:2222", "c:2222"]


def variable(index: Any, kind: Any = "worker", **tasks: Any) -> str:
    return json.dumps({"cluster": tasks or {"worker": HOSTS}, "task": {"type": kind, "index": index}})


def test_the_variable_of_tensorflow_is_read() -> None:
    cluster = from_variable(variable(1))
    assert cluster == Cluster(tuple(HOSTS), 1, "TF_CONFIG") and not cluster.leads and not cluster.is_local
    assert (list(cluster.others), cluster.endpoint(2), cluster.name(0)) == ([1, 2], ("c", 2222), "worker 0 (a:2222)")
    assert from_variable(cluster.as_variable()) == cluster


def test_an_address_of_ipv6_stands_in_brackets() -> None:
    assert from_variable(variable(1, worker=["[::1]:22", "[fe80::2]:23"])).endpoint(1) == ("fe80::2", 23)


def test_a_chief_is_worker_0() -> None:
    tasks = {"worker": HOSTS[1:], "chief": HOSTS[:1]}
    assert from_variable(variable(0, "chief", **tasks)) == Cluster(tuple(HOSTS), 0, "TF_CONFIG")
    assert from_variable(variable(1, "worker", **tasks)) == Cluster(tuple(HOSTS), 2, "TF_CONFIG")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{x", r"must be JSON with a cluster and a task.*Received: \{x"),
        ("[]", "must be JSON with a cluster and a task"),
        ('{"cluster": {"worker": ["a:1"]}}', "must be JSON with a cluster and a task"),
        (variable(0, ps=["p:1"], worker=HOSTS), r"may name workers and one chief only.*Received: \['ps', 'worker'\]"),
        ("[" * 100_000, "must be JSON with a cluster and a task"),
        (variable(0, worker="a:1"), "each kind of task must have a list of host:port"),
        (variable(0, worker=[]), "each kind of task must have a list of host:port, and there must be a worker"),
        (variable(0, worker=["a"]), r"a worker is host:port, or \[address\]:port for an address of IPv6\. Received: a"),
        (variable(0, worker=["a:99999"]), "a worker is host:port"),
        (variable(0, worker=["a:0"]), "a worker is host:port"),
        (variable(0, worker=["::1:2222"]), "a worker is host:port"),
        (variable(0, worker=["[::1]x:2222"]), "a worker is host:port"),
        (variable(0, worker=["http://a:1"]), "a worker is host:port"),
        (variable(0, worker=["a..b:1"]), "a worker is host:port"),  # which Python can't look up
        (variable(0, worker=["a:1", "a:1"]), r"names an address twice\. Received: a:1, a:1"),
        (variable(0, "evaluator"), r"the task's type must be one of worker\. Received: evaluator"),
        (variable(3), r"index must be a number from 0 to 2\. Received: 3"),
        (variable("0"), r"index must be a number from 0 to 2\. Received: '0'"),
        (variable(0, []), r"the task's type must be one of worker\. Received: \[\]"),
        (variable(True), "index must be a number from 0 to 2"),
    ],
)
def test_a_wrong_variable_is_one_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"TF_CONFIG: .*{message}") as caught:
        from_variable(text)
    assert "\n" not in str(caught.value)


def test_workers_of_this_machine_have_ports_of_their_own() -> None:
    cluster = read_cluster({}, num_workers=3)
    assert cluster.leads and cluster.is_local and len(set(cluster.addresses)) == 3
    assert all(address.startswith("127.0.0.1:") for address in cluster.addresses)


def test_what_names_the_workers_comes_first() -> None:
    assert read_cluster({"TF_CONFIG": variable(2)}, num_workers=3).index == 2
    with pytest.raises(ConfigError, match=r"strategy\.workers: TF_CONFIG names the workers.*Received: 2, and 3"):
        read_cluster({"TF_CONFIG": variable(2)}, num_workers=2)
    with pytest.raises(ConfigError, match="multi_worker must know its workers. Set TF_CONFIG"):
        read_cluster({"SLURM_PROCID": "0"}, num_workers=None)  # of a batch script, outside of srun
