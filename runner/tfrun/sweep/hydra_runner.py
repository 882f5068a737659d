"""Runs a sweep with a sweeper or a launcher that is a plugin of Hydra."""

from __future__ import annotations

import contextlib
import copy
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, read_write

from tfrun.config import hydra_private
from tfrun.config.catalog import Catalog
from tfrun.config.compose import Configs
from tfrun.config.explain import USER_MISTAKES
from tfrun.config.hparam_columns import columns
from tfrun.config.overrides import parse
from tfrun.config.plain import plain
from tfrun.config.recorded_sources import subject_of
from tfrun.config.schema import build_settings
from tfrun.errors import Interrupted, SweepError
from tfrun.files.disk import write_atomically
from tfrun.files.masking import masked
from tfrun.files.provenance.recording import Recording
from tfrun.sweep.composer import Composer
from tfrun.sweep.grid import Grid
from tfrun.sweep.jobs import Job, JobFolder, structure_of
from tfrun.sweep.launcher import ForkLauncher, PoolTask
from tfrun.sweep.outcome import objective
from tfrun.sweep.pool import Pool
from tfrun.sweep.ray_words import words_for_ray
from tfrun.sweep.source import Source
from tfrun.sweep.swept_files import refuse_params, swept_options
from tfrun.sweep.task import train
from tfrun.sweep.words import hydra_words, parse_sweep, swept_keys, task_words


class HydraSweeper(Source):
    """The jobs of a sweeper that is a plugin of Hydra. It gives them to Hydra's launcher itself, so `next` has none.

    Args:
        composer: makes the jobs.
        first: a job with the overrides that all jobs share.
    """

    def __init__(self, composer: Composer, first: Job):
        self.composer = composer
        self.mode = first.settings.checkpoint.mode
        self.total: int | None = None
        self._first = first

    @classmethod
    def from_config(cls, configs: Configs, sweep: DictConfig, *, threads: int | None) -> HydraSweeper:
        """Checks what all jobs share. Raises ConfigError if it is wrong."""
        try:
            texts, parsed = parse_sweep(configs, sweep)
            refuse_params(configs, sweep, swept_options(parsed), source="this sweeper")
        except USER_MISTAKES as error:
            raise configs.explain(error) from error
        shared = [text for text, item in zip(texts, parsed, strict=True) if not item.is_sweep_override()]
        composer = Composer(configs, sweep, swept=swept_keys(sweep), threads=threads)
        return cls(composer, composer(shared, 0))

    @property
    def first(self) -> Job:
        return self._first


class HydraRunner:
    """Runs the jobs of a source with Hydra's sweeper and launcher.

    Args:
        configs: Hydra and the components.
        sweep: the config that the jobs share.
        folder: of the sweep.
        pool: runs the jobs if the launcher is tfrun's own.
        uses_pool: whether it is.
    """

    def __init__(self, configs: Configs, sweep: DictConfig, *, folder: Path, pool: Pool, uses_pool: bool):
        self._configs = configs
        self._sweep = sweep
        self._folder = folder
        self._pool = pool
        self._uses_pool = uses_pool

    def run(self, source: Source) -> None:
        """Lets Hydra run the sweep, then records the ends that the jobs couldn't write to the ledger."""
        quoted = str(self._folder).replace("\\", "\\\\").replace("'", "\\'")
        words = [*hydra_words(self._sweep), *task_words(self._sweep), f"hydra.sweep.dir='{quoted}'"]
        words += words_for_ray(self._sweep.hydra.launcher)
        task: PoolTask | JobTask = (
            PoolTask(self._pool, source.composer)
            if self._uses_pool
            else JobTask(self._configs.catalog, source.composer.swept, os.getpid())
        )
        _compose_each_job_once(self._configs)
        try:
            with hydra_private.accept_plugin(ForkLauncher), _jobs_of(source):
                config_name = self._configs.sources.config_name
                self._configs.hydra.multirun(config_name, task, words, with_log_configuration=False)
        finally:
            _mask_file(self._folder / "multirun.yaml")  # Hydra's own sweeper replaces ours
            _, trials = self._pool.ledger.read()
            self._pool.ledger.record_missing_ends(trials)


@dataclass(frozen=True)
class JobTask:
    """The task function that Hydra's own launchers call for each job: trains it and returns its objective.

    A launcher may call it again for the same job, because a scheduler or a signal has ended the process: then it goes
    on in the job's folder.

    A job that fails writes this to its folder and raises SweepError: Hydra's sweepers raise the error of the first
    failed job once all have ended, and any other error would look like a failure of the sweep itself.

    Attributes:
        catalog: the components.
        swept: the keys that differ between the jobs: the columns of TensorBoard's HParams table.
        pid: of the sweep's process, which has recorded what its jobs are made from.
    """

    catalog: Catalog
    swept: frozenset[str]
    pid: int

    def __call__(self, cfg: DictConfig) -> float | None:
        hydra = HydraConfig.get()
        overrides = [text.lstrip("+") for text in hydra.overrides.task]  # as people type them
        folder = JobFolder(Path(hydra.runtime.output_dir))
        if (before := folder.read_run()).get("status") in ("completed", "pruned"):
            return objective(before)
        config = plain(cfg)
        hparams = {item.key_or_group: item.value() for item in parse(overrides) if item.key_or_group in self.swept}
        job = Job(
            number=hydra.job.num,
            folder=folder,
            overrides=overrides,
            hparams=hparams,
            settings=build_settings(config, self.catalog, overrides=overrides),
            files={"config.yaml": config},
            structure=structure_of(config),
            columns=columns(hparams, self.catalog),
            resume=bool(before),
        )
        try:
            job.reopen()
            job.write_config()  # Hydra has written the others
            _mask_file(folder.path / ".hydra" / "hydra.yaml")
            with self.recording(job):
                train(job, self.catalog)
        except Interrupted as error:
            if os.getpid() != self.pid:
                _pass_on(error.number)
            raise
        except Exception as error:
            folder.write_error(overrides, error)
            raise SweepError(f"job {job.number} failed: {error}") from error
        return objective(folder.read_run())

    def recording(self, job: Job) -> contextlib.AbstractContextManager[Any]:
        """Returns a context that records what the job is made from, if its machine or code isn't the sweep's."""
        if os.getpid() == self.pid:  # Hydra's basic launcher runs jobs in it
            return contextlib.nullcontext()
        return Recording.start(job.folder, subject_of(job.settings.provenance, self.catalog), resumed=job.resume)


def _pass_on(number: int) -> None:
    """Gives a signal that has stopped a job, its state saved, to the launcher, if that handles it.

    submitit's handler puts the job into Slurm's queue again and ends the process. Others may only log the signal; then
    the process ends here: what the job would return isn't its result, and Slurm may start it again.

    Raises:
        SystemExit: the launcher handles the signal.
    """
    handler = signal.getsignal(number)
    if callable(handler) and handler is not signal.default_int_handler:
        signal.raise_signal(number)
        raise SystemExit(128 + number)


def _mask_file(path: Path) -> None:
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    if masked(text) != text:
        write_atomically(path, masked(text))


def _jobs_of(source: Source) -> contextlib.AbstractContextManager[None]:
    """Makes Hydra's own sweeper run the jobs of a grid. Any other sweeper chooses its jobs itself."""
    return hydra_private.replace_jobs(source.overrides) if isinstance(source, Grid) else contextlib.nullcontext()


def _compose_each_job_once(configs: Configs) -> None:
    """Makes Hydra compose each job only once, although its sweeper and its launcher both ask for it.

    The overrides of a job are read like those of a single run, so `early_stopping=null,default` is allowed.
    """
    loader = configs.hydra.config_loader
    load = loader.load_sweep_config
    loaded: dict[tuple[str, ...], DictConfig] = {}

    def load_once(master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        key = tuple(sweep_overrides)
        if key not in loaded:
            loaded[key] = load(master_config, configs.rewrite([text.lstrip("+") for text in key]))
        cfg = copy.deepcopy(loaded[key])
        with read_write(cfg.hydra):
            cfg.hydra.sweep.dir = master_config.hydra.sweep.dir
        return cfg

    hydra_private.replace_sweep_loading(loader, load_once)
