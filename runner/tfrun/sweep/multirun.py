"""Sweeps: checks every job, claims the sweep's folder, runs the jobs, sums up; and goes on with one that was ended."""

from __future__ import annotations

import contextlib
import copy
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, read_write

from tfrun.config import hydra_private
from tfrun.config.compose import USER_MISTAKES, Composed, Session, parse
from tfrun.config.hydra_private import BasicSweeper
from tfrun.config.types import check_value
from tfrun.console import Terminal, say, shown
from tfrun.errors import ConfigError, Interrupted, SweepError, TfrunError
from tfrun.files import runs
from tfrun.files.disk import write_atomically
from tfrun.files.runs import RunFolder
from tfrun.load_engine import engine
from tfrun.sweep import estimate
from tfrun.sweep.board import Outcome, best_of, print_sweep, read_outcomes
from tfrun.sweep.jobs import Composer, JobFolder
from tfrun.sweep.launcher import ForkLauncher, registered
from tfrun.sweep.ledger import Ledger, Trial
from tfrun.sweep.pool import Grid, Pool
from tfrun.sweep.population import Population
from tfrun.sweep.search import Search
from tfrun.sweep.task import Task


def run(session: Session, sweep: Composed, extended: RunFolder | None = None) -> int:
    """Runs a sweep and returns the exit code.

    Args:
        session: Hydra and the components.
        sweep: the config that the jobs share.
        extended: the sweep that the jobs are added to, but for those that it has already; none makes a new one.

    Raises:
        ConfigError: a job's config is wrong; then nothing was run and no folder made.
        SweepError: jobs failed.
        Interrupted: a signal came.
    """
    hydra = sweep.cfg.hydra
    _check_launcher(hydra.launcher)
    search = _search_of(session, sweep, _threads(hydra.launcher))
    if search is not None:
        if _is(hydra.launcher, ForkLauncher) and hydra.launcher.lanes > 1:
            raise ConfigError(
                "hydra.launcher.lanes: a search makes up its jobs one by one, so that none is trained together with "
                f"others. Received: {hydra.launcher.lanes}. Use hydra/launcher=fork"
            )
        if extended or not _is(hydra.launcher, ForkLauncher):
            raise ConfigError("hydra/sweeper: a search goes with hydra/launcher=fork, and is extended by resume")
        return _run_search(session, sweep, search)
    overrides, task = job_overrides(session, sweep.cfg), hydra.overrides.task
    swept = differing(overrides) or {item.key_or_group for item in parse(task) if item.is_sweep_override()}
    threads = _threads(hydra.launcher)
    composer = Composer(session, sweep.cfg, swept, threads)
    jobs = [composer(own, number) for number, own in enumerate(overrides)]
    if not jobs:
        raise ConfigError(f"-m: a sweep of no jobs, as one of its ranges is empty. Received: {' '.join(task)}")

    first = jobs[0].settings
    is_grid = _is(hydra.sweeper, BasicSweeper) and _is(hydra.launcher, ForkLauncher)
    if extended and not is_grid:
        raise ConfigError("sweep.extend: only for hydra/launcher=fork and Hydra's own sweeper")
    folder = extended or runs.claim(first.output_root, first.name, kind="multirun")
    # open until the last job: TensorFlow's own logger keeps the sys.stderr that it is imported under
    with folder.held(), engine(folder.log) if _is(hydra.launcher, ForkLauncher) else contextlib.nullcontext():
        ledger = Ledger(folder.path)
        if extended:
            told, trials = ledger.read()
            there = [trial.overrides for trial in trials]
            new = [job.overrides for job in jobs if set(job.overrides) not in map(set, there)]
            if len(new) < len(jobs):
                say(Terminal(), f"{len(jobs) - len(new)} of the jobs are in the sweep already")
            swept |= {*told["swept"], *differing([*there, *new])}
            composer = Composer(session, sweep.cfg, swept, threads)
            jobs = [composer(own, len(trials) + k) for k, own in enumerate(new)]
        _begin(session, sweep, folder, ledger, swept)
        pool = _pool(session, hydra.launcher, ledger, first.checkpoint.mode)
        if not _is(hydra.sweeper, BasicSweeper):
            return _summed_up(folder, swept, pool, lambda: _run_with_hydra(session, sweep.cfg, folder, composer, pool))
        ledger.add([(job.number, job.overrides) for job in jobs])
        if is_grid:
            for line in estimate.told(jobs, pool.num_jobs, folder.path):
                say(Terminal(), line)
            return _summed_up(folder, swept, pool, lambda: pool.run(Grid([job.within(folder.path) for job in jobs])))
        try:
            return _summed_up(folder, swept, pool, lambda: _run_with_hydra(session, sweep.cfg, folder, composer, pool))
        finally:
            _note_ends(folder, ledger, ledger.read()[1])


def _search_of(session: Session, sweep: Composed, threads: int | None) -> Search | Population | None:
    """Returns what makes jobs up while others run, where the config names such a sweeper."""
    for kind in (Search, Population):
        if _is(sweep.cfg.hydra.sweeper, kind):
            return kind(session, sweep.cfg, threads)
    return None


def _run_search(session: Session, sweep: Composed, search: Search | Population) -> int:
    first = search.first.settings
    folder = runs.claim(first.output_root, first.name, kind="multirun")
    with folder.held(), engine(folder.log):
        ledger = Ledger(folder.path)
        try:
            search.begin(folder.path, ledger)
        except TfrunError:
            folder.discard()
            raise
        _begin(session, sweep, folder, ledger, search.composer.swept)
        pool = _pool(session, sweep.cfg.hydra.launcher, ledger, search.mode)
        return _summed_up(folder, search.composer.swept, pool, lambda: pool.run(search))


def _begin(session: Session, sweep: Composed, folder: RunFolder, ledger: Ledger, swept: Collection[str]) -> None:
    words = [*sweep.cfg.hydra.overrides.hydra, *sweep.cfg.hydra.overrides.task]
    threads = _threads(sweep.cfg.hydra.launcher)
    ledger.begin({"overrides": words, "swept": sorted(swept), "sources": asdict(session.sources), "threads": threads})
    write_atomically(folder.path / "multirun.yaml", OmegaConf.to_yaml(sweep.cfg))


def resume(session: Session, sweep: Composed, folder: RunFolder, retry: bool) -> int:
    """Goes on with a sweep: what has completed stays, what was under way goes on from its checkpoint.

    Args:
        session, sweep: as of the command that began it.
        folder: the sweep's.
        retry: whether jobs that failed of themselves are run once more.

    Raises:
        SweepError: jobs failed.
        Interrupted: a signal came.
    """
    hydra = sweep.cfg.hydra
    _check_launcher(hydra.launcher)
    with folder.held(), engine(folder.log):
        ledger = Ledger(folder.path)
        told, trials = ledger.read()
        swept = set(told["swept"])
        left = [trial for trial in trials if _is_left(folder, trial, retry)]
        _note_ends(folder, ledger, [trial for trial in trials if trial not in left])
        say(Terminal(), f"{shown(folder.path)}: {len(left)} of {len(trials)} jobs are left to do")
        search = _search_of(session, sweep, told["threads"])
        if search is not None:
            search.begin(folder.path, ledger, trials, left)
        composer = Composer(session, sweep.cfg, swept, told["threads"])
        source = search or Grid([composer(own.overrides, own.number).within(folder.path).going_on() for own in left])
        mode = search.mode if search else _mode(sweep, composer, trials)
        pool = _pool(session, hydra.launcher, ledger, mode)
        return _summed_up(folder, swept, pool, lambda: pool.run(source))


def _mode(sweep: Composed, composer: Composer, trials: Sequence[Trial]) -> str:
    """Returns `min` or `max`, which is best of the monitored value; its metric says so if the config doesn't."""
    mode: str | None = sweep.config["checkpoint"]["mode"]
    return mode or (composer(trials[0].overrides, 0).settings.checkpoint.mode if trials else "min")


def _note_ends(folder: RunFolder, ledger: Ledger, trials: Sequence[Trial]) -> None:
    """Notes down the ends that nobody has: another launcher's jobs', or that of one whose sweep was killed."""
    for trial in trials:
        status = JobFolder(folder.path / str(trial.number)).read_run().get("status")
        if status and trial.state != status:
            ledger.note(trial.number, status)


def _is_left(folder: RunFolder, trial: Trial, retry: bool) -> bool:
    """Returns whether a trial is to be run: it never ended, or was ended from outside, or failed and is retried."""
    run = JobFolder(folder.path / str(trial.number)).read_run()
    if run.get("status") in ("failed", "diverged"):
        return retry or (run.get("error") or {}).get("type") == "Killed"
    return run.get("status") not in ("completed", "pruned")


def _is(node: DictConfig, what: type) -> bool:
    return str(node._target_).endswith(f".{what.__name__}")


def _check_launcher(launcher: DictConfig) -> None:
    if _is(launcher, ForkLauncher):
        check_value("Annotated[int, Ge(1)]", launcher.n_jobs, "hydra.launcher.n_jobs")
        check_value("Annotated[int, Ge(1)]", launcher.lanes, "hydra.launcher.lanes")
        check_value("Annotated[float, Gt(0)] | None", launcher.timeout_seconds, "hydra.launcher.timeout_seconds")


def _threads(launcher: DictConfig) -> int | None:
    """Returns how many threads each job gets: its share of the cores, where several run at once.

    A small model's operations take longer to share out than to compute: two jobs of two threads each on two cores are
    slower than two of one.
    """
    if not _is(launcher, ForkLauncher) or launcher.n_jobs == 1:
        return None
    return max(1, len(os.sched_getaffinity(0)) // launcher.n_jobs)


def _pool(session: Session, launcher: DictConfig, ledger: Ledger, mode: str) -> Pool:
    forks = _is(launcher, ForkLauncher)
    num_jobs, timeout, lanes = (launcher.n_jobs, launcher.timeout_seconds, launcher.lanes) if forks else (1, None, 1)
    return Pool(session.catalog, ledger, num_jobs, timeout, mode, lanes)


def _summed_up(folder: RunFolder, swept: Collection[str], pool: Pool, run_all: Callable[[], object]) -> int:
    """Runs all jobs, prints the sweep's table and returns the exit code."""
    failure: Exception | None = None
    try:
        run_all()
    except Exception as error:
        failure = error  # after the table
    outcomes = read_outcomes(folder.path, swept)
    print_sweep(folder.path, outcomes, pool.mode, is_cut_off=isinstance(failure, Interrupted))
    _link_best(folder, best_of(outcomes, pool.mode))
    if failure is not None and not isinstance(failure, SweepError):
        raise failure
    failed = [outcome for outcome in outcomes if outcome.failed]
    if failed:
        raise SweepError(f"{len(failed)} of {len(outcomes)} jobs failed")
    return 0


def _link_best(folder: RunFolder, best: Outcome | None) -> None:
    """Has `best` in the sweep's folder lead to the best job."""
    if best is not None:
        new = folder.path / f".best.{os.getpid()}"
        with contextlib.suppress(OSError):  # a file system without links
            new.symlink_to(best.folder.path.name)
            os.replace(new, folder.path / "best")


def _run_with_hydra(session: Session, sweep: DictConfig, folder: RunFolder, composer: Composer, pool: Pool) -> None:
    """Has another sweeper find the jobs, or another launcher run them."""
    where = str(folder.path).replace("\\", "\\\\").replace("'", "\\'")
    overrides = [*sweep.hydra.overrides.hydra, *sweep.hydra.overrides.task, f"hydra.sweep.dir='{where}'"]
    _load_once(session)
    with registered(pool, composer):
        task = Task(session.catalog, frozenset(composer.swept))
        session.hydra.multirun(session.sources.config_name, task, overrides, with_log_configuration=False)


def job_overrides(session: Session, sweep: DictConfig) -> list[list[str]]:
    """Returns the overrides of each job or, where a sweeper will find them as it goes, those that all jobs share."""
    params = sweep.hydra.sweeper.get("params") or {}
    arguments = [*(f"{key}={value}" for key, value in params.items()), *sweep.hydra.overrides.task]
    try:
        parsed = OverridesParser.create(config_loader=session.hydra.config_loader).parse_overrides(arguments)
        if _is(sweep.hydra.sweeper, BasicSweeper):
            return hydra_private.split_into_jobs(parsed)
    except USER_MISTAKES as error:
        raise session.explain(error) from error
    return [[text for text, override in zip(arguments, parsed, strict=True) if not override.is_sweep_override()]]


def _load_once(session: Session) -> None:
    """Has Hydra compose each job once, though its sweeper and launcher both ask.

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
            cfg.hydra.sweep.dir = master_config.hydra.sweep.dir
        return cfg

    hydra_private.replace_sweep_loading(loader, load_once)


def differing(jobs: Sequence[Sequence[str]]) -> set[str]:
    """Returns the keys that are not the same in all jobs."""
    seen: dict[str, set[str]] = {}
    for job in jobs:
        for text in job:
            key, _, value = text.lstrip("+").partition("=")
            seen.setdefault(key, set()).add(value)
    return {key for key, values in seen.items() if len(values) > 1}
