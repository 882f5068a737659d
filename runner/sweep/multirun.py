"""`tfrun -m`: checks every job, claims the sweep's folder, lets Hydra's sweeper and launcher run, and sums up."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, open_dict, read_write

from tfrun import runs, schema
from tfrun.compose import USER_MISTAKES, Composed, Session, parse, plain
from tfrun.errors import ConfigError, DataError, SweepError
from tfrun.launch import engine
from tfrun.sweep.job import Task
from tfrun.sweep.launcher import ForkLauncher, compose_job, register
from tfrun.sweep.table import print_sweep, read_outcomes
from tfrun.types import check_value


def run(session: Session, sweep: Composed) -> int:
    """Runs a sweep and returns the exit code.

    Args:
        session: Hydra and the components.
        sweep: the config that the jobs share.

    Raises:
        ConfigError: a job's config is wrong; then nothing was run and no folder made.
        SweepError: jobs failed.
        Interrupted: a signal came.
    """
    hydra = sweep.cfg.hydra
    _load_once(session)
    jobs = job_overrides(session, sweep.cfg)
    swept = differing(jobs) or {item.key_or_group for item in parse(hydra.overrides.task) if item.is_sweep_override()}
    configs = [check(session, sweep.cfg, job, number, swept) for number, job in enumerate(jobs)]
    forking = hydra.launcher._target_.endswith(ForkLauncher.__name__)
    if forking:
        check_value("Annotated[int, Ge(1)]", hydra.launcher.n_jobs, "hydra.launcher.n_jobs")
        check_value("Annotated[float, Gt(0)] | None", hydra.launcher.timeout_seconds, "hydra.launcher.timeout_seconds")
        register()

    folder = runs.claim(configs[0]["output_root"], configs[0]["name"], kind="multirun")
    where = str(folder.path).replace("\\", "\\\\").replace("'", "\\'")
    overrides = [*hydra.overrides.hydra, *hydra.overrides.task, f"hydra.sweep.dir='{where}'"]
    task, failure = Task(session.catalog, frozenset(swept)), None
    # open until the last job: TensorFlow's own logger keeps the sys.stderr that it is imported under
    with engine(folder.log) if forking else contextlib.nullcontext():
        try:
            session.hydra.multirun(session.sources.config_name, task, overrides, with_log_configuration=False)
        except Exception as error:
            failure = error  # after the table
    outcomes = read_outcomes(folder.path, swept)
    print_sweep(folder.path, outcomes, configs[0]["checkpoint"]["mode"])
    if failure is not None and not isinstance(failure, SweepError):
        raise failure
    failed = [outcome for outcome in outcomes if outcome.failed]
    if failed:
        raise SweepError(f"{len(failed)} of {len(outcomes)} jobs failed")
    return 0


def job_overrides(session: Session, sweep: DictConfig) -> list[list[str]]:
    """Returns the overrides of each job or, where a sweeper will find them as it goes, those that all jobs share."""
    params = sweep.hydra.sweeper.get("params") or {}
    arguments = [*(f"{key}={value}" for key, value in params.items()), *sweep.hydra.overrides.task]
    try:
        parsed = OverridesParser.create(config_loader=session.hydra.config_loader).parse_overrides(arguments)
        if sweep.hydra.sweeper._target_.endswith(BasicSweeper.__name__):
            return BasicSweeper.split_arguments(parsed, None)[0]
    except USER_MISTAKES as error:
        raise session.explain(error) from error
    return [[text for text, override in zip(arguments, parsed, strict=True) if not override.is_sweep_override()]]


def _load_once(session: Session) -> None:
    """Has Hydra compose each job once, though the check, the sweeper and the launcher all ask.

    Its overrides are taken as a single run's are: `early_stopping=null,default` is no mistake.
    """
    loader, loaded = session.hydra.config_loader, dict[tuple[str, ...], DictConfig]()
    load = loader.load_sweep_config

    def load_once(master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        key = tuple(sweep_overrides)
        if key not in loaded:
            loaded[key] = load(master_config, session.rewrite([text.lstrip("+") for text in key]))
        cfg = copy.deepcopy(loaded[key])
        with read_write(cfg.hydra):
            cfg.hydra.sweep.dir = master_config.hydra.sweep.dir  # it was not claimed yet when the jobs were checked
        return cfg

    loader.load_sweep_config = load_once  # type: ignore[method-assign]


def differing(jobs: Sequence[Sequence[str]]) -> set[str]:
    """Returns the keys that are not the same in all jobs."""
    seen: dict[str, set[str]] = {}
    for job in jobs:
        for text in job:
            key, _, value = text.lstrip("+").partition("=")
            seen.setdefault(key, set()).add(value)
    return {key for key, values in seen.items() if len(values) > 1}


def check(
    session: Session, sweep: DictConfig, overrides: Sequence[str], number: int, swept: set[str]
) -> dict[str, Any]:
    """Returns a job's normalized config. Raises ConfigError or DataError, naming the job."""
    try:
        try:
            cfg = compose_job(session.hydra.config_loader, sweep, overrides, number)
            HydraConfig.instance().set_config(cfg)
            task = list(cfg.hydra.overrides.task)
            with open_dict(cfg):
                del cfg["hydra"]
            config = plain(cfg)
        except USER_MISTAKES as error:
            raise session.explain(error) from error
        return schema.normalize(config, session.catalog, task)
    except (ConfigError, DataError) as error:
        own = [text.lstrip("+") for text in overrides]
        label = " ".join(text for text in own if text.partition("=")[0] in swept)
        raise type(error)(f"{label}: {error}" if label else str(error)) from error
