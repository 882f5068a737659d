"""Runs a sweep: checks every job, claims the sweep's folder, runs the jobs and prints a summary.

A sweep has a source, which gives the jobs, and a runner, which runs them:

    source      Grid, Search, Population, or HydraSweeper for a sweeper that is a plugin of Hydra
    runner      Pool, or HydraRunner if the sweeper or the launcher is a plugin of Hydra
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

from tfrun.config.compose import Composed, Configs
from tfrun.config.directions import modes_against
from tfrun.config.earlier_runs import header_of
from tfrun.config.hydra_private import BasicSweeper
from tfrun.config.recorded_sources import subject_of
from tfrun.config.schema import provenance_settings
from tfrun.config.settings import ProvenanceSettings, Settings
from tfrun.console import Terminal, say
from tfrun.errors import ConfigError, Interrupted, SweepError, TfrunError
from tfrun.files import first_folder, runs
from tfrun.files.disk import write_atomically
from tfrun.files.masking import masked
from tfrun.files.provenance.recording import Recording
from tfrun.files.runs import RunFolder
from tfrun.folders import shown
from tfrun.load_engine import engine
from tfrun.sweep.candidates import best_of
from tfrun.sweep.composer import Composer
from tfrun.sweep.grid import Grid, differing_keys
from tfrun.sweep.hydra_runner import HydraRunner, HydraSweeper
from tfrun.sweep.jobs import JobFolder
from tfrun.sweep.launcher import ForkLauncher
from tfrun.sweep.ledger import Ledger, Trial
from tfrun.sweep.num_workers import auto_workers, threads_per_job
from tfrun.sweep.out_of_fold import write_out_of_fold
from tfrun.sweep.outcome import job_folders, read_outcomes
from tfrun.sweep.pool import Pool
from tfrun.sweep.population import Population
from tfrun.sweep.ray_words import check_ray
from tfrun.sweep.search import Search
from tfrun.sweep.source import Runner, Source
from tfrun.sweep.summary import print_sweep
from tfrun.sweep.sweep_settings import LauncherSettings, check_targets, is_target, read_settings
from tfrun.sweep.words import recorded_words


@dataclass(frozen=True)
class StartOfJob:
    """A start of a scheduler's job, perhaps not its first one.

    Attributes:
        job: the id of the job.
        run_again: called with the folder of the sweep if an earlier start has begun it; returns the exit code.
    """

    job: str
    run_again: Callable[[RunFolder], int]


def run(
    configs: Configs, sweep: Composed, *, extended: RunFolder | None = None, start: StartOfJob | None = None
) -> int:
    """Runs a sweep and returns the exit code.

    Args:
        configs: Hydra and the components.
        sweep: the config that the jobs share.
        extended: the sweep that gets the jobs that it doesn't have yet; None makes a new sweep.
        start: of a scheduler's job, whose folder this is; None makes a folder of its own.

    Raises:
        ConfigError: a job's config is wrong; then no job has run, and there is no new folder.
        SweepError: jobs failed.
        Interrupted: a signal stopped the sweep.
    """
    hydra = sweep.cfg.hydra
    check_targets(hydra, (ForkLauncher, Search, Population))
    check_ray(hydra.launcher)
    launcher = _read_launcher(hydra.launcher)
    source = _new_source(configs, sweep.cfg, launcher=launcher)
    if extended:
        _check_extendable(source, hydra.launcher)
    _check_folds(source)
    if start is not None and isinstance(source, HydraSweeper):
        raise ConfigError("resume: auto isn't for a sweeper that is a plugin of Hydra, which keeps its own state")
    first = source.first.settings
    for warning in modes_against(first, configs.catalog):
        say(Terminal(), f"warning: {warning}")
    folder = extended or _claim(first, start)
    if start is not None and Ledger(folder.path).has_trials():
        return start.run_again(folder)
    # open until the last job ends, because TensorFlow's own logger keeps the sys.stderr of its import
    loaded = engine(folder.log) if _forks(hydra.launcher) else contextlib.nullcontext()
    with (
        folder.held(),
        _start_recording(configs, first.provenance, folder=folder, resumed=extended is not None) as recording,
        loaded,
    ):
        ledger = Ledger(folder.path)
        header = None
        if extended and isinstance(source, Grid):
            header, trials = ledger.read()
            source = source.extending(header["swept"], trials, earlier=configs.earlier)
        num_workers = _num_workers(launcher, source)
        _write_header(configs, sweep, ledger=ledger, composer=source.composer, folder=folder, before=header)
        write_atomically(folder.path / "multirun.yaml", masked(OmegaConf.to_yaml(sweep.cfg)))
        try:
            source.begin(folder.path, ledger)
        except TfrunError:
            if not extended:
                folder.discard()
            raise
        if isinstance(source, Grid) and _forks(hydra.launcher):
            source.announce(num_workers, folder=folder.path)
        elif num_workers > 1:
            say(Terminal(), f"{num_workers} jobs at a time")
        pool = Pool(configs.catalog, ledger, num_workers=num_workers, settings=launcher, mode=source.mode)
        runner = _runner(configs, sweep.cfg, folder=folder, source=source, pool=pool)
        recording.close()  # its thread must have ended when workers are forked
        return _run_all(runner, source, folder=folder)


def resume(configs: Configs, sweep: Composed, *, folder: RunFolder, retry: bool) -> int:
    """Resumes a sweep and returns the exit code; completed jobs are kept.

    Args:
        configs: Hydra and the components.
        sweep: the config of the command that began the sweep.
        folder: the sweep's folder.
        retry: whether jobs that failed are run again.

    Raises:
        SweepError: jobs failed.
        Interrupted: a signal stopped the sweep.
    """
    launcher = _read_launcher(sweep.cfg.hydra.launcher)
    settings = provenance_settings(sweep.config.get("provenance", {}))
    with (
        folder.held(),
        _start_recording(configs, settings, folder=folder, resumed=True, waits=True) as recording,
        engine(folder.log),
    ):
        ledger = Ledger(folder.path)
        header, trials = ledger.read()
        source = _old_source(configs, sweep, header=header, trials=trials)
        left = [trial for trial in trials if is_left(folder, trial, retry=retry)]
        left = source.also_left(folder.path, trials, left=left)
        ledger.record_missing_ends([trial for trial in trials if trial not in left])
        say(Terminal(), f"{shown(folder.path)}: {len(left)} of {len(trials)} jobs are left to do")
        source.begin(folder.path, ledger, trials=trials, left=left)
        num_workers = _num_workers(launcher, source) if left else 1
        pool = Pool(configs.catalog, ledger, num_workers=num_workers, settings=launcher, mode=source.mode)
        if left:
            recording.may_write()
        recording.close()  # its thread must have ended when workers are forked
        return _run_all(pool, source, folder=folder)


def _claim(first: Settings, start: StartOfJob | None) -> RunFolder:
    """Returns the folder of a new sweep, or that of a scheduler's job, in which it may have begun."""
    place = first.output_root, first.name
    if start is None:
        return runs.claim(*place, kind="multirun")
    return runs.claim_for_job(*place, job=start.job, kind="multirun")


def _start_recording(
    configs: Configs, settings: ProvenanceSettings, *, folder: RunFolder, resumed: bool, waits: bool = False
) -> Recording:
    """Starts to record what the jobs of a sweep are made from, once for all of them."""
    subject = subject_of(settings, configs.catalog, configs.folders)
    return Recording.start(folder, subject, resumed=resumed, waits=waits)


def _read_launcher(launcher: DictConfig) -> LauncherSettings:
    """Returns the settings of tfrun's own launcher, or their defaults if Hydra's launcher runs the jobs."""
    return read_settings(launcher, LauncherSettings, where="hydra.launcher") if _forks(launcher) else LauncherSettings()


def _forks(launcher: DictConfig) -> bool:
    return is_target(launcher, ForkLauncher)


def _new_source(configs: Configs, sweep: DictConfig, *, launcher: LauncherSettings) -> Source:
    """Returns the jobs of a new sweep, checked."""
    threads = None if launcher.n_jobs == "auto" else threads_per_job(launcher.n_jobs)
    sweeper = sweep.hydra.sweeper
    if source := _chosen_source(configs, sweep, threads=threads):
        _check_search(sweep.hydra.launcher, launcher)
        return source
    if is_target(sweeper, BasicSweeper):
        return Grid.from_config(configs, sweep, threads=threads)
    return HydraSweeper.from_config(configs, sweep, threads=threads)


def _num_workers(launcher: LauncherSettings, source: Source) -> int:
    return auto_workers(source.first.settings, source.at_once) if launcher.n_jobs == "auto" else launcher.n_jobs


def _old_source(configs: Configs, sweep: Composed, *, header: dict[str, Any], trials: Sequence[Trial]) -> Source:
    """Returns the source that resumes a sweep: whatever ran it first, the known trials of a grid are enough."""
    if source := _chosen_source(configs, sweep.cfg, threads=header["threads"]):
        return source
    composer = Composer(configs, sweep.cfg, swept=header["swept"], threads=header["threads"])
    mode = sweep.config["checkpoint"]["mode"]
    if mode is None:  # the metric has one, which the config of a job names
        mode = composer(trials[0].overrides, 0).settings.checkpoint.mode if trials else "min"
    return Grid([], composer=composer, mode=mode)


def _chosen_source(configs: Configs, sweep: DictConfig, *, threads: int | None) -> Source | None:
    """Returns the search or the population of a config, if it has one."""
    for kind in (Search, Population):
        if is_target(sweep.hydra.sweeper, kind):
            return kind.from_config(configs, sweep, threads=threads)
    return None


def _check_search(launcher: DictConfig, settings: LauncherSettings) -> None:
    if settings.lanes > 1:
        raise ConfigError(
            "hydra.launcher.lanes: the jobs of a search can't be trained together, because each is chosen when a "
            f"process is free. Received: {settings.lanes}. Use hydra/launcher=fork"
        )
    if not _forks(launcher):
        raise ConfigError(f"hydra/launcher: a search needs hydra/launcher=fork. Received: {launcher._target_}")


def _check_folds(source: Source) -> None:
    """Raises ConfigError for folds in a sweep that doesn't make a job for each."""
    data = source.first.settings.data
    if data.folds is None or data.fold is not None or isinstance(source, Grid | Search):
        return
    if isinstance(source, Population):
        reason = "a member of a population has one state, which is trained on the rows of one fold"
    else:
        reason = "a sweeper that is a plugin chooses each job, not a job for each fold"
    raise ConfigError(
        f"data.folds: {reason}. Leave it out, name one fold with data.fold, or use hparams_search=optuna. "
        f"Received: data.folds={data.folds}"
    )


def _check_extendable(source: Source, launcher: DictConfig) -> None:
    if isinstance(source, Search | Population):
        raise ConfigError("sweep.extend: a search is extended with `tfrun resume`")
    if not isinstance(source, Grid) or not _forks(launcher):
        raise ConfigError("sweep.extend: only for hydra/launcher=fork and Hydra's own sweeper")


def _write_header(
    configs: Configs,
    sweep: Composed,
    *,
    ledger: Ledger,
    composer: Composer,
    folder: RunFolder,
    before: dict[str, Any] | None,
) -> None:
    """Writes the command of the sweep, its folder, and the keys that differ between its jobs: `resume` needs them.

    `before` is the header of a sweep that is extended.
    """
    ledger.write_header(
        {
            "overrides": recorded_words(sweep.cfg),
            "swept": sorted(composer.swept),
            "sources": asdict(configs.sources.absolute()),
            "threads": composer.threads,
            "folder": first_folder.describe(folder.path),
            **header_of(before, configs.earlier),
        }
    )


def _runner(configs: Configs, sweep: DictConfig, *, folder: RunFolder, source: Source, pool: Pool) -> Runner:
    """Returns the pool, or Hydra if the sweeper or the launcher is a plugin of Hydra."""
    forks = _forks(sweep.hydra.launcher)
    if forks and not isinstance(source, HydraSweeper):
        return pool
    return HydraRunner(configs, sweep, folder=folder.path, pool=pool, uses_pool=forks)


def is_left(folder: RunFolder, trial: Trial, *, retry: bool) -> bool:
    """Returns whether a trial is to be run: it has no end, was killed from outside, or failed and is retried."""
    run = JobFolder(folder.path / str(trial.number)).read_run()
    if run.get("status") in ("failed", "diverged"):
        return retry or (run.get("error") or {}).get("type") == "Killed"
    return run.get("status") not in ("completed", "pruned")


def _run_all(runner: Runner, source: Source, *, folder: RunFolder) -> int:
    """Runs all jobs, prints the summary and returns the exit code."""
    failure: Exception | None = None
    try:
        runner.run(source)
    except Exception as error:
        failure = error  # raised after the summary
    outcomes = read_outcomes(folder.path, _swept_keys(source, folder))
    best = best_of(outcomes, source.mode)
    joined = write_out_of_fold(folder.path, best)
    is_interrupted = isinstance(failure, Interrupted)
    print_sweep(folder.path, outcomes, mode=source.mode, best=best, is_interrupted=is_interrupted, out_of_fold=joined)
    _remove_link(folder)
    if failure is not None and not isinstance(failure, SweepError):
        raise failure
    num_failed = sum(outcome.failed for outcome in outcomes)
    if num_failed:
        raise SweepError(f"{num_failed} of {len(outcomes)} jobs failed")
    return 0


def _swept_keys(source: Source, folder: RunFolder) -> set[str]:
    """Returns the keys that differ between the jobs; only the end shows those that a plugin varies."""
    swept = set(source.composer.swept)
    if isinstance(source, HydraSweeper):
        swept |= differing_keys([job.read_run().get("overrides", []) for job in job_folders(folder.path)])
    return swept


def _remove_link(folder: RunFolder) -> None:
    """Removes the link `best` of an earlier version: TensorBoard would show its job twice, and it may be wrong by now.

    Commands find `SWEEP/best` by the name (`commands/run_names.py`).
    """
    path = folder.path / "best"
    if path.is_symlink():
        with contextlib.suppress(OSError):
            path.unlink()
