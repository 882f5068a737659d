"""A run in its folder, from its pieces until `run.json` says how it ended.

build the pieces, restore the newest checkpoint    asks its driver for an engine
train                                              asks its driver for blocks
evaluate the best weights
write run.json and print the summary
"""

from __future__ import annotations

import contextlib
import logging
import signal
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from rich.console import Console

from tfrun.config.catalog import Catalog
from tfrun.config.changes import recorded
from tfrun.config.directions import modes_against
from tfrun.config.earlier_runs import as_it_began, meanings, with_threads
from tfrun.config.lengths import nothing_left
from tfrun.config.run_words import trial_name
from tfrun.config.settings import Settings
from tfrun.console import Terminal, say, say_wrapped
from tfrun.data.examples import Examples
from tfrun.data.table import Table
from tfrun.data.windows import sentence_on_windows
from tfrun.engine import private
from tfrun.engine.building import memory
from tfrun.engine.building.alone import Engine, Ready, Request, Run
from tfrun.engine.building.pieces import OPTIONAL_ROLES, Pieces
from tfrun.engine.building.reuse import Reuse, process_reuse
from tfrun.engine.building.worker_errors import lost_workers
from tfrun.engine.inference import out_of_fold
from tfrun.engine.inference.final_test import evaluate_best
from tfrun.engine.recording import introduction, progress
from tfrun.engine.recording.introduction import introduce
from tfrun.engine.recording.messages import Messages, Report
from tfrun.engine.recording.record import Record
from tfrun.engine.recording.run_fields import changes, first_fields, log_end, record_error
from tfrun.engine.recording.signals import stopping_on_signals
from tfrun.engine.recording.summary import print_summary
from tfrun.engine.recording.tensorboard import summary_metrics
from tfrun.engine.recording.undefined_values import UndefinedValues
from tfrun.engine.recording.watchers import Watchers
from tfrun.engine.resuming import newest_checkpoint, without_source
from tfrun.engine.run_warnings import warnings_of
from tfrun.engine.training import ftrl, loop
from tfrun.engine.training.modes import FIXED
from tfrun.engine.training.timing import Timing
from tfrun.engine.verify import diagnosis
from tfrun.errors import ConfigError, DivergedError, Interrupted
from tfrun.files import checkpoints, retention
from tfrun.files.disk import write_atomically
from tfrun.files.run_json import MEANINGS, RunJson
from tfrun.files.runs import RunFolder, now
from tfrun.files.xla_cache_usage import CacheUsage
from tfrun.folders import shown
from tfrun.workers.leader import Leader

log = logging.getLogger("tfrun")
Stopping = Callable[[Console, RunFolder], contextlib.AbstractContextManager[list[int]]]


def _never() -> bool:
    return False


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class RunOptions:
    """How a run is started.

    Attributes:
        resume: whether to resume it from the folder's newest checkpoint.
        overrides: the command line's, for `run.json`.
        hparams: the row of TensorBoard's HParams table; empty for none.
        words: what the run trains, for its name in TensorBoard; a run that is resumed keeps the name it has.
        import_seconds: how long TensorFlow's import took, for `run.json`.
        console: where to show the run.
        report: called after each block and each epoch, for a sweep.
        is_pruned: whether the sweep has pruned the run; asked after each block.
        pause_epoch: the epoch after which to pause, to be resumed later; None trains to the end.
        pause_step: the same for a step.
        reproduced: `run.json` of the run that this one repeats: its config means what it meant there, and it is
            trained in the same mode with the same number of threads.
        entries: of `run.json`, for a new run.
        is_held: whether the caller holds the folder already.
        ends_at_once: whether a second signal ends the process at once; a sweep kills its processes itself.
        on_begin: called when everything is ready to train, before the run writes anything that a refusal would leave.
        reuse: the caches of this process.
        leader: leads the other workers of the run; None if this process trains alone.
    """

    resume: bool = False
    overrides: Sequence[str] = ()
    hparams: Mapping[str, bool | float | str] = field(default_factory=dict)
    words: str = ""
    import_seconds: float = 0.0
    console: Console = field(default_factory=Terminal)
    report: Report | None = None
    is_pruned: Callable[[], bool] = _never
    pause_epoch: int | None = None
    pause_step: int | None = None
    reproduced: Mapping[str, Any] | None = None
    entries: Mapping[str, Any] = field(default_factory=dict)
    is_held: bool = False
    ends_at_once: bool = True
    on_begin: Callable[[], None] = _nothing
    reuse: Reuse = field(default_factory=process_reuse)
    leader: Leader | None = None


def start(
    settings: Settings,
    folder: RunFolder,
    *,
    catalog: Catalog,
    table: Table,
    options: RunOptions,
    stopping: Stopping | None = None,
) -> Run:
    """Returns a run that trains in its folder as it is driven; `run.json` records how it ended.

    Args:
        settings: the config.
        folder: claimed for this run, or the folder of the run to resume.
        catalog: the components that exist.
        table: the raw rows of the config's data.
        options: how the run is started.
        stopping: returns a context with the list of signals that stop the run; None receives them itself.

    Returns:
        A generator: yields `Ready` and `Block`s, is sent an `Engine` and `BlockResult`s, and returns the exit code.

    Raises:
        TfrunError: as `run.json` records too.
    """
    if settings.strategy.has_workers and options.leader is None:
        raise ConfigError(
            "strategy: this command trains in one process; only tfrun and tfrun resume start several workers. "
            "Received: multi_worker"
        )
    with contextlib.nullcontext() if options.is_held else folder.held():
        before = folder.read_run() if options.resume else None
        if before and (reason := nothing_left(settings.trainer, before)):
            say(options.console, f"{shown(folder.path)} {reason}")
            return 0
        folder.refuse_lost_checkpoints(before or {})
        retention.refuse_pruned(folder)
        fields = _first_fields(settings, folder, catalog=catalog, before=before, options=options)
        differ = "results may differ in the last bits from an uninterrupted run"
        of_versions = [f"{change}: {differ}" for change in changes(before or {}, fields["versions"])]
        for warning in [*of_versions, *modes_against(settings, catalog)]:
            say(options.console, f"warning: {warning}")
        run = RunJson(folder, fields) if options.resume else RunJson.begin(folder, fields)
        stopping = stopping or partial(stopping_on_signals, ends_at_once=options.ends_at_once)
        with stopping(options.console, folder) as signals, CacheUsage.watch() as usage:
            leader = options.leader
            stops = signals if leader is None else leader.signals(signals)
            training = _Training(settings, folder, run=run, options=options, signals=stops, usage=usage)
            try:
                lost = lost_workers(None if leader is None else leader.why_lost, advice=training.how_to_resume)
                with memory.one_line_errors(), lost:
                    yield from training.run(catalog, table)
            except Exception as error:
                if options.resume and not training.has_begun:  # the run is as it was
                    log_end(error, "it can't be resumed")
                else:
                    record_error(error, folder, run=run, resume=options.resume)
                raise
        return 0


def _first_fields(
    settings: Settings, folder: RunFolder, *, catalog: Catalog, before: dict[str, Any] | None, options: RunOptions
) -> dict[str, Any]:
    """Returns the fields of `run.json` when a run starts; `before` has those of a run that is resumed."""
    fields = first_fields(
        settings,
        folder,
        catalog=catalog,
        before=before,
        overrides=options.overrides,
        import_seconds=options.import_seconds,
    )
    of_reproduced = {} if options.reproduced is None else meanings(options.reproduced)
    return {**fields, **of_reproduced, **options.entries}


class _Training:
    """The steps of a run, and what they share.

    Args:
        settings: the config.
        folder: the run's.
        run: the fields of `run.json`.
        options: how the run is started.
        signals: the signals received so far.
        usage: counts the programs of XLA's cache that are used.

    Attributes:
        has_begun: whether the run has written anything that a refused one would not.
    """

    def __init__(
        self,
        settings: Settings,
        folder: RunFolder,
        *,
        run: RunJson,
        options: RunOptions,
        signals: Sequence[int],
        usage: CacheUsage,
    ):
        self._settings = settings
        self._folder = folder
        self._run = run
        self._options = options
        self._console = options.console
        self._signals = signals
        self._usage = usage
        self._timing = Timing()
        self.has_begun = False
        self._watchers: Watchers | None = None

    def how_to_resume(self) -> str:
        """Returns a sentence on the state that is saved; empty if there is none yet."""
        step = self._run["step"]
        return f". Step {step} is saved. Resume it with: tfrun resume {shown(self._folder.path)}" if step else ""

    def run(self, catalog: Catalog, table: Table) -> Generator[Request, Any, None]:
        """Builds, trains, evaluates, and writes `run.json`."""
        engine, restored = yield from self._build(catalog, table)
        record = self._open_record(engine, restored)
        undefined = UndefinedValues(engine.pieces, self._console)
        try:
            reason = yield from self._train(engine, record, undefined)
            engine.load_variables()
            status = self._status(reason, engine)
            if status == "completed":
                with self._timing.evaluating():
                    evaluate_best(engine.pieces, engine.program, run=self._run, record=record, undefined=undefined)
                    out_of_fold.write(engine.pieces, self._folder, data=self._settings.data)
            self._write_hparams(record, status)
        except DivergedError as error:
            engine.load_variables()
            self._skipped_steps(engine)
            explained = error
            if self._options.leader is None:  # several workers would have to repeat the step together
                explained = diagnosis.explained(error, engine.pieces, program=engine.program, table=table)
            message = f"{explained}. Its folder: {shown(self._folder.path)}"
            raise DivergedError(message, **explained.details) from error
        finally:
            record.close()
            engine.program.release()
        if status == "diverged":
            raise DivergedError(
                f"{self._skipped_steps(engine)}. The weights of step {self._run['step']} are saved. A lower "
                f"learning rate or optimizer.clip_norm may help. Its folder: {shown(self._folder.path)}"
            )
        self._finish(engine, reason, status=status)

    def _build(
        self, catalog: Catalog, table: Table
    ) -> Generator[Request, Any, tuple[Engine, checkpoints.Checkpoint | None]]:
        """Builds the pieces, asks for the engine, and restores the newest checkpoint of a run that is resumed."""
        started = time.perf_counter()
        with progress.waiting(self._console, "building and compiling"):
            settings = as_it_began(self._settings, self._run)
            if self._options.reproduced is not None:
                settings = with_threads(settings, self._options.reproduced)
            if self._options.resume and self._folder.has_checkpoints:
                settings = without_source(settings, self._folder)
            pieces = self._build_pieces(settings, catalog, table)
            restored = None
            if self._options.resume:
                restored = newest_checkpoint(
                    self._folder, pieces, run=self._run, settings=self._settings, console=self._console
                )
            before = restored.extra["engine"] if restored else _mode_of(self._options.reproduced)
            engine: Engine = yield Ready(pieces, before)
            self._timing.compile_seconds = engine.compile_seconds
            engine.load_variables()
            state = engine.pieces.state(engine.program)
            if restored:
                state.restore(restored, OPTIONAL_ROLES)
                engine.pieces.announce("keep_restored_weights", step=restored.step)
                ftrl.keep_restored_weights(engine.pieces.parts.step.active, restored.step)
            elif self._options.leader is not None:
                state.write(state.read())  # so that all begin alike, whatever a component has read on its machine
            engine.program.state_was_written()
        seconds = time.perf_counter() - started - engine.compile_seconds
        leader = self._options.leader
        workers = {} if leader is None else {"workers": list(leader.cluster.addresses)}
        self._run.update(**engine.pieces.describe(), engine=engine.description | workers)
        self._run.merge("higher_is_better", engine.pieces.own_directions)
        self._run.merge("timing", {"build_seconds": round(seconds, 3)})
        return engine, restored

    def _build_pieces(self, settings: Settings, catalog: Catalog, table: Table) -> Pieces:
        """Builds the pieces, together with the other workers, if there are any."""
        leader, reuse = self._options.leader, self._options.reuse
        if leader is None:
            return reuse.build_pieces(settings, catalog, table=table)
        leader.wait_until_ready()
        leader.announce("build", run={key: self._run.get(key) for key in (*MEANINGS, "engine")})
        pieces = reuse.build_pieces(settings, catalog, table=table, cluster=leader.cluster)
        leader.when_lost(lambda: private.abort_exchanges("a worker is gone"))  # TensorFlow has started now
        private.when_terminated_early(lambda: leader.stop(signal.SIGTERM))
        return replace(pieces, announce=leader.announce, limit_seconds=settings.strategy.timeout_seconds)

    def _open_record(self, engine: Engine, restored: checkpoints.Checkpoint | None) -> Record:
        """Opens the journals and writes everything that is known before the first step."""
        record = Record(
            self._folder,
            engine.pieces,
            program=engine.program,
            run=self._run,
            timing=self._timing,
            config=recorded(self._settings),
            words=self._options.words,
        )
        lengths = restored.extra["journals"] if restored else {}
        results = record.read_results(lengths)
        self._options.on_begin()
        self.has_begun = True
        if restored:
            checkpoints.remove_newer(restored)
        record.open(lengths, results)
        self._introduce(engine, record, is_new=restored is None)
        self._run.write()
        self._write_learnt(engine.pieces.examples)
        return record

    def _introduce(self, engine: Engine, record: Record, *, is_new: bool) -> None:
        """Prints what a run trains, unless it is resumed, and its warnings."""
        pieces = engine.pieces
        if is_new:
            for line in introduce(pieces, self._run["engine"]):
                say_wrapped(self._console, line, indent=introduction.WIDTH)
        if pieces.examples.windows is not None:
            say(self._console, f"{pieces.table.source}: {sentence_on_windows(pieces.examples.windows)}")
        for warning in [*warnings_of(pieces, self._settings), *record.warnings]:
            say(self._console, f"warning: {warning}")
        log.info("engine: %s, %s", engine.description["mode"], engine.description["why"])
        for table in pieces.whole_tables:
            if not table.is_slow:  # those are among the warnings
                log.info("%s", table)

    def _write_learnt(self, examples: Examples) -> None:
        """Writes what was learnt from the training rows, and a few raw rows to compare exports with."""
        write_atomically(self._folder.preprocessing_json, examples.preprocessing.to_json())
        if self._settings.data.keep_samples and examples.samples.may_be_kept:
            write_atomically(self._folder.samples_json, examples.samples.to_json())
        else:
            self._folder.samples_json.unlink(missing_ok=True)  # a run that is resumed may have one

    def _train(
        self, engine: Engine, record: Record, undefined: UndefinedValues
    ) -> Generator[Request, Any, loop.EndReason]:
        """Trains to the end of the plan and returns why training ended. Raises Interrupted after a signal."""
        plan = engine.pieces.plan
        if self._options.pause_epoch is not None:
            plan = replace(plan, pause_step=self._options.pause_epoch * plan.steps_per_epoch)
        if self._options.pause_step is not None:
            plan = replace(plan, pause_step=self._options.pause_step)
        rolls_back = self._settings.trainer.on_divergence == "rollback"
        watchers = Watchers(
            engine.pieces,
            engine.program,
            record=record,
            folder=self._folder,
            load_variables=engine.load_variables,
        )
        self._watchers = watchers
        with record, progress.Display(plan, self._console, timing=self._timing) as display, watchers:
            # what is saved must have been loaded before
            observers: list[loop.Observer] = [_LoadBeforeSave(engine.load_variables), record, display, undefined]
            observers += watchers.observers
            if self._options.report is not None:
                observers.append(Messages(self._options.report, plan))
            engine.program.on_new_stage = display.on_new_stage
            reason = yield from loop.train(
                engine.program,
                plan,
                sizer=engine.sizer,
                observers=observers,
                timing=self._timing,
                should_stop=lambda: bool(self._signals) or self._options.is_pruned(),
                roll_back=record.roll_back if rolls_back else None,
            )
            watchers.on_end(reason)
        if self._signals and reason == "interrupted":
            name = signal.Signals(self._signals[0]).name
            message = f"stopped by {name} at step {self._run['step']}, its state saved"
            raise Interrupted(self._signals[0], f"{message}. Resume it with: tfrun resume {shown(self._folder.path)}")
        return reason

    def _status(self, reason: loop.EndReason, engine: Engine) -> str:
        """Returns how the run ended; one that has skipped most of its steps has diverged."""
        status = {"interrupted": "pruned", "paused": "stopped"}.get(reason, "completed")
        skips = engine.pieces.parts.step.options.skips
        return "diverged" if status == "completed" and skips and skips.is_diverged(self._run["step"]) else status

    def _skipped_steps(self, engine: Engine) -> str:
        """Returns how many steps made no update, as a text that is empty if all did, and writes it to `run.json`."""
        skips = engine.pieces.parts.step.options.skips
        if not skips or not skips.total:
            return ""
        self._run.merge("engine", {"skipped_steps": skips.total})
        return f"{skips.total:,} of {self._run['step']:,} steps made no update, as their numbers were not finite"

    def _write_hparams(self, record: Record, status: str) -> None:
        """Writes the run's row of TensorBoard's HParams table."""
        if record.board and self._options.hparams and status != "stopped":
            columns = summary_metrics(record.results.metrics, record.results.best)
            name = trial_name(self._options.words, self._folder.path)
            record.board.write_hparams(name, self._options.hparams, metrics=columns, status=status)

    def _finish(self, engine: Engine, reason: loop.EndReason, *, status: str) -> None:
        """Writes `run.json` a last time and prints the summary."""
        traces = engine.program.traces
        self._run.merge("engine", {"ended_by": reason, "traces": traces.reasons, "xla_cache": self._usage.counts()})
        if skipped := self._skipped_steps(engine):
            say(self._console, f"warning: {skipped}")
        for retrace in traces.retraces:
            if retrace.startswith("block"):
                warning = "the step was traced again, which takes as long as at the start"
                say(self._console, f"warning: {warning}. {retrace}")
        self._run.update(status=status, ended=now())
        self._run.write()
        checkpoint = self._folder.checkpoints / f"step-{self._run['step']:09d}"
        print_summary(
            self._console,
            self._run,
            folder=self._folder.path,
            checkpoint=checkpoint,
            loss_unit=_loss_unit(engine.pieces),
        )
        if self._watchers:
            self._watchers.show(self._console)


def _loss_unit(pieces: Pieces) -> str:
    """Returns a sentence on the unit of the loss if it is that of a scaled target; empty if it isn't."""
    target = pieces.examples.preprocessing.target
    if not pieces.parts.step.learns_targets or (target.mean, target.standard_deviation) == (0.0, 1.0):
        return ""
    mean = f"{'−' if target.mean >= 0 else '+'} {abs(target.mean):.4g}"
    return f"The loss is that of the scaled target, (y {mean}) / {target.standard_deviation:.4g}."


def _mode_of(reproduced: Mapping[str, Any] | None) -> dict[str, Any]:
    """Returns how a run that is reproduced was trained, as `Ready` takes it; empty if that isn't known."""
    engine = (reproduced or {}).get("engine") or {}
    kept = {key: engine.get(key) for key in ("mode", "why", "loop", "residency")}
    is_known = (
        kept["loop"] in FIXED.values() and kept["residency"] in ("device", "stream") and isinstance(kept["mode"], str)
    )
    return kept if is_known else {}


class _LoadBeforeSave(loop.Observer):
    """Loads the run's own values before its state is saved; the first of the observers."""

    def __init__(self, load: Callable[[], None]):
        self._load = load

    def on_save(self, step: int) -> None:
        self._load()
