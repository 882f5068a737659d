"""The processes of one run: those that are started on this machine, and those that train a run again."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tfrun.commands import several_workers
from tfrun.commands.several_workers import cluster_to_reproduce, leading
from tfrun.errors import ConfigError, ResourceError
from tfrun.workers.cluster import STARTED_HERE, Cluster, free_addresses
from tfrun.workers.local import LocalWorkers
from tfrun.workers.meeting import Identity

TWO = '{"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 1}}'


def test_workers_of_this_machine_end_at_once_if_one_of_them_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def start(local: LocalWorkers, index: int, words: Any) -> subprocess.Popen[bytes]:
        with open(tmp_path / "workers" / f"{index}.log", "wb") as log:
            command = ["sh", "-c", "echo no rows; exit 3"] if index == 1 else ["sleep", "100"]
            started.append(subprocess.Popen(command, stdout=log))
        return started[-1]

    monkeypatch.setattr(LocalWorkers, "_start", start)
    monkeypatch.setattr(several_workers, "identity_of", lambda *_: Identity({}, {}, {}, ""))
    inputs: Any = SimpleNamespace(settings=SimpleNamespace(strategy=SimpleNamespace(meeting_seconds=60.0)))
    folder: Any = SimpleNamespace(path=tmp_path)
    catalog: Any = SimpleNamespace()
    cluster = Cluster(free_addresses(3), 0, STARTED_HERE)
    others = leading(cluster, inputs, folder, catalog=catalog, command_line=[])
    with pytest.raises(ResourceError, match=r"worker 1 \(127.* ended with code 3: no rows"), others:
        raise AssertionError("they have not met")
    assert [process.poll() for process in started] == [3, -signal.SIGKILL]


def settings(*, workers: int | None, has_workers: bool = True) -> Any:
    strategy = SimpleNamespace(has_workers=has_workers, workers=workers)
    return SimpleNamespace(strategy=strategy, data=SimpleNamespace(batch_size=12))


def by(count: int) -> dict[str, Any]:
    """Returns the `run.json` of a run that so many workers have trained."""
    return {"engine": {"workers": ["x:1"] * count}}


@pytest.fixture(autouse=True)
def _no_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TF_CONFIG", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)


def test_as_many_workers_reproduce_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cluster_to_reproduce(settings(workers=None, has_workers=False), {}) is None
    here = cluster_to_reproduce(settings(workers=3), by(3))
    assert here is not None and here.source == STARTED_HERE and len(here.addresses) == 3
    with pytest.raises(
        ConfigError, match=r"reproduce: 2 workers have trained the run.* or let strategy\.workers=2 start"
    ):
        cluster_to_reproduce(settings(workers=None), by(2))
    with pytest.raises(ConfigError, match=r"2 workers have trained the run, and as many must .*Received: 3"):
        cluster_to_reproduce(settings(workers=3), by(2))
    monkeypatch.setenv("TF_CONFIG", TWO)
    assert cluster_to_reproduce(settings(workers=None), by(2)) == Cluster(("a:1", "b:2"), 1, "TF_CONFIG")
    with pytest.raises(ConfigError, match=r"3 workers have trained the run.*Received: 2"):
        cluster_to_reproduce(settings(workers=None), by(3))
