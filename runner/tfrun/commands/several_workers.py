"""A run that several workers train: meets the others before it begins, and leads them or follows worker 0."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tfrun.commands.command_line import CommandLine
from tfrun.commands.inputs import Inputs
from tfrun.config.catalog import Catalog
from tfrun.config.changes import recorded
from tfrun.config.keys import flatten
from tfrun.config.settings import MULTI_WORKER, Settings
from tfrun.data.fingerprint import fingerprint
from tfrun.errors import ConfigError, Stopped, TfrunError, WorkerLostError
from tfrun.files.provenance.versions import versions
from tfrun.files.runs import RunFolder
from tfrun.workers import slurm
from tfrun.workers.cluster import VARIABLE, Cluster, read_cluster
from tfrun.workers.follower import Follower
from tfrun.workers.leader import Leader
from tfrun.workers.local import END_SECONDS, LOST_SECONDS, LocalWorkers, log_of
from tfrun.workers.meeting import Identity, attend

# keys that may differ between machines, or say what worker 0 alone does
OF_ONE_WORKER = (
    *("name", "output_root", "tags", "provenance", "logger", "checkpoint.keep"),
    *("data.path", "data.validation_path", "data.test_path", "data.cache", "data.keep_samples", "init.from"),
    *("strategy.workers", "strategy.meeting_seconds"),
)
SAME_VERSIONS = ("tfrun", "tensorflow", "keras", "numpy")
LOGS = "workers"  # the folder of a run for what its other workers print


def cluster_of(settings: Settings) -> Cluster | None:
    """Returns the workers of a run, or None if it has one process only. Raises ConfigError if nothing names them."""
    if not settings.strategy.has_workers:
        return None
    cluster = read_cluster(os.environ, num_workers=settings.strategy.workers)
    count = len(cluster.addresses)
    if settings.data.batch_size % count:
        raise ConfigError(
            f"data.batch_size: must be a multiple of {count} workers. Received: {settings.data.batch_size}"
        )
    return cluster


def follows(config: Mapping[str, Any]) -> bool:
    """Returns whether this process follows worker 0 in a run with this config. Raises ConfigError as `cluster_of`."""
    strategy = config.get("strategy")
    has_workers = isinstance(strategy, Mapping) and strategy.get("name") == MULTI_WORKER
    is_named = VARIABLE in os.environ or slurm.is_step(os.environ)
    return has_workers and is_named and not read_cluster(os.environ, num_workers=None).leads


def follow(cluster: Cluster, inputs: Inputs, catalog: Catalog) -> int:
    """Follows worker 0 to the end of the run, and returns the exit code. Raises TfrunError as worker 0 does."""
    strategy = inputs.settings.strategy
    channel, welcome = attend(cluster, _identity(inputs), strategy.meeting_seconds)
    follower = Follower(cluster, channel)
    logs = Path(welcome["logs"])
    is_here = welcome["host"] == socket.gethostname() and logs.is_dir()
    from tfrun.load_engine import engine

    try:
        with engine(log_of(logs, cluster.index) if is_here else None) as (experiment, _):
            return experiment.follow(inputs.settings, catalog, table=inputs.table, follower=follower)
    finally:
        follower.close()


@contextlib.contextmanager
def leading(
    cluster: Cluster | None, inputs: Inputs, folder: RunFolder, command_line: Sequence[str]
) -> Iterator[Leader | None]:
    """Yields the leader of the other workers, once all are there; None if there are none.

    Args:
        cluster: the workers; this process is worker 0.
        inputs: the run's config and its data.
        folder: the run's.
        command_line: the words with which workers on this machine are started, if nothing else starts them.

    Raises:
        ResourceError: a worker is missing.
        ConfigError, DataError: they would not train the same.
    """
    if cluster is None:
        yield None
        return
    logs = folder.path / LOGS
    is_started_here = cluster.source == "strategy.workers"
    if is_started_here:
        logs.mkdir(exist_ok=True)
    local = LocalWorkers(cluster, command_line, logs) if is_started_here else None
    leader = None
    code, message, is_lost = 1, "an error of its own", False
    try:
        leader = Leader.meet(
            cluster,
            _identity(inputs),
            seconds=inputs.settings.strategy.meeting_seconds,
            welcome={"host": socket.gethostname(), "logs": str(logs)},
            is_alive=local.check_alive if local else lambda: None,
        )
        yield leader
        code, message = 0, ""
    except TfrunError as error:
        code, message, is_lost = error.exit_code, str(error), isinstance(error, WorkerLostError)
        raise
    except KeyboardInterrupt as error:
        code, message = 128 + (error.number if isinstance(error, Stopped) else signal.SIGINT), "interrupted"
        raise
    finally:
        if leader is not None:
            leader.end(code, message)
        if local is not None:
            local.close(LOST_SECONDS if is_lost else END_SECONDS)


def words_of(command: str, command_line: CommandLine) -> list[str]:
    """Returns the command line of a worker that is started on this machine, without `tfrun`."""
    sources = command_line.sources
    flags: list[str] = ["--config-name", sources.config_name]
    flags += ["--config-dir", sources.config_dir] if sources.config_dir else []
    flags += ["--config-path", sources.config_path] if sources.config_path else []
    return [command, *command_line.words, *flags]


def _identity(inputs: Inputs) -> Identity:
    """Returns what a worker would train, which must be the same for all of them."""
    config: dict[str, Any] = {
        path: value
        for path, value in flatten(recorded(inputs.settings))
        if not any(path == key or path.startswith(f"{key}.") for key in OF_ONE_WORKER)
    }
    installed = {name: version for name, version in versions().items() if name in SAME_VERSIONS}
    return Identity(installed, config, fingerprint(inputs.table))
