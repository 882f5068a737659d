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
from tfrun.commands.worker_identity import identity_of
from tfrun.config.catalog import Catalog
from tfrun.config.settings import MULTI_WORKER, Settings
from tfrun.errors import ConfigError, Stopped, TfrunError, WorkerLostError
from tfrun.files.runs import RunFolder
from tfrun.workers import slurm
from tfrun.workers.cluster import STARTED_HERE, VARIABLE, Cluster, read_cluster
from tfrun.workers.follower import Follower
from tfrun.workers.leader import Leader
from tfrun.workers.local import END_SECONDS, LOST_SECONDS, LocalWorkers, log_of
from tfrun.workers.meeting import Meeting, attend, report_failure

WORKERS = "strategy.workers"
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


def cluster_to_reproduce(settings: Settings, run: Mapping[str, Any]) -> Cluster | None:
    """Returns the workers that train a run again, as many as have trained it, or None if it had one process.

    Args:
        settings: of the run.
        run: its `run.json`.

    Raises:
        ConfigError: nothing names the workers, or there are more or fewer, which would add in another order.
    """
    before = (run.get("engine") or {}).get("workers") or []
    if settings.strategy.has_workers and settings.strategy.workers is None and not _are_named():
        raise ConfigError(
            f"reproduce: {len(before) or 'several'} workers have trained the run. Start this command on each of them "
            f"with {VARIABLE}, or under srun; or let {WORKERS}={len(before) or 2} start them all on this machine"
        )
    cluster = cluster_of(settings)
    if cluster is not None and before and len(cluster.addresses) != len(before):
        raise ConfigError(
            f"reproduce: {len(before)} workers have trained the run, and as many must train it again. "
            f"Received: {len(cluster.addresses)}"
        )
    return cluster


def follows(config: Mapping[str, Any]) -> bool:
    """Returns whether this process follows worker 0 in a run with this config. Raises ConfigError as `cluster_of`."""
    cluster = _named_cluster(config)
    return cluster is not None and not cluster.leads


def _named_cluster(config: Mapping[str, Any]) -> Cluster | None:
    """Returns the workers of a run with this config if the environment names them. Raises ConfigError."""
    strategy = config.get("strategy")
    has_workers = isinstance(strategy, Mapping) and strategy.get("name") == MULTI_WORKER
    return read_cluster(os.environ, num_workers=None) if has_workers and _are_named() else None


def _are_named() -> bool:
    """Returns whether the environment names the workers of a run."""
    return bool(os.environ.get(VARIABLE)) or slurm.is_step(os.environ)


def follow(cluster: Cluster, inputs: Inputs, catalog: Catalog) -> int:
    """Follows worker 0 to the end of the run, and returns the exit code. Raises TfrunError as worker 0 does."""
    strategy = inputs.settings.strategy
    channel, welcome = attend(cluster, identity_of(inputs, catalog), strategy.meeting_seconds)
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
def telling_others(config: Mapping[str, Any]) -> Iterator[None]:
    """Lets the other workers of a run know of an error before they meet, so that they don't wait for this one.

    Args:
        config: of the run, which may be what the error is about.
    """
    try:
        yield
    except TfrunError as error:
        with contextlib.suppress(ConfigError):
            if (cluster := _named_cluster(config)) is not None and cluster.leads:
                Meeting(cluster, seconds=0.0).cancel(error)
            elif cluster is not None:
                report_failure(cluster, error)
        raise


@contextlib.contextmanager
def leading(
    cluster: Cluster | None, inputs: Inputs, folder: RunFolder, *, catalog: Catalog, command_line: Sequence[str]
) -> Iterator[Leader | None]:
    """Yields the leader of the other workers, once all are there; None if there are none.

    Args:
        cluster: the workers; this process is worker 0.
        inputs: the run's config and its data.
        folder: the run's.
        catalog: the components.
        command_line: the words with which workers on this machine are started, if nothing else starts them.

    Raises:
        ResourceError: a worker is missing.
        ConfigError, DataError: they would not train the same.
    """
    if cluster is None:
        yield None
        return
    logs = folder.path / LOGS
    local = LocalWorkers(cluster, command_line, logs) if cluster.source == STARTED_HERE else None
    seconds = inputs.settings.strategy.meeting_seconds
    meeting = Meeting(cluster, seconds) if local is None else Meeting(cluster, seconds, farewell_seconds=0.0)
    welcome = {"host": socket.gethostname(), "logs": str(logs)}
    leader = None
    code, message, wait_seconds = 1, "an error of its own", END_SECONDS
    try:
        channels = meeting.hold(
            identity_of(inputs, catalog), welcome, is_alive=local.check_alive if local else lambda: None
        )
        leader = Leader(cluster, channels)
        yield leader
        code, message = 0, ""
    except TfrunError as error:
        code, message = error.exit_code, str(error)
        wait_seconds = LOST_SECONDS if isinstance(error, WorkerLostError) else END_SECONDS
        raise
    except KeyboardInterrupt as error:
        code, message = 128 + (error.number if isinstance(error, Stopped) else signal.SIGINT), "interrupted"
        raise
    finally:
        if leader is not None:
            leader.end(code, message)
        if local is not None:
            local.close(0.0 if leader is None else wait_seconds)  # without a meeting, nobody has told them to end


def words_of(command: str, command_line: CommandLine) -> list[str]:
    """Returns the command line of a worker that is started on this machine, without `tfrun`."""
    sources = command_line.sources
    flags: list[str] = ["--config-name", sources.config_name]
    flags += ["--config-dir", sources.config_dir] if sources.config_dir else []
    flags += ["--config-path", sources.config_path] if sources.config_path else []
    return [command, *command_line.words, *flags]
