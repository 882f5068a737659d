"""The table of contents of a run: from a checked config to a folder with results.

    train:     devices → data → build → restore → loop → test → run.json
    evaluate:  devices → data → build → the best weights → metrics
    predict:   devices → data → build → the best weights → a file of predictions
    export:    devices → data → build → the best weights → a model of raw rows, compared in a clean process
    check:     devices → data → build → what was found; a component alone → its contract

How each of them is done stands in the modules that they call; all but training in `trained.py` and `checks.py`.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from rich.console import Console

from tfrun.config.catalog import Catalog
from tfrun.config.directions import higher_is_better
from tfrun.config.settings import Settings
from tfrun.console import Terminal, say, shown
from tfrun.data.table import Table
from tfrun.engine.building import devices, together
from tfrun.engine.building.pieces import OPTIONAL_ROLE, Session, build_session
from tfrun.engine.inference.trained import evaluate, export_run, predict
from tfrun.engine.recording import images, progress, telling
from tfrun.engine.recording.record import Record
from tfrun.engine.recording.signals import stop_on_signals
from tfrun.engine.recording.tensorboard import TensorBoard, summary_metrics
from tfrun.engine.training import loop
from tfrun.engine.training.program import Program
from tfrun.engine.training.step import of_output
from tfrun.engine.verify import diagnosis
from tfrun.engine.verify.checks import check, check_contracts
from tfrun.errors import CheckpointError, DivergedError, Interrupted, ResourceError, TfrunError
from tfrun.files import checkpoints, provenance
from tfrun.files.disk import write_atomically
from tfrun.files.runs import RunFolder, now

NUM_DRAWN = 64  # images of a generator
log = logging.getLogger("tfrun")
__all__ = ["check", "check_contracts", "evaluate", "export_run", "predict", "train", "train_together"]


def train(settings: Settings, folder: RunFolder, catalog: Catalog, table: Table, **options: Any) -> int:
    """Trains a run in its folder and returns the exit code. `run` explains the arguments."""
    return together.finish(run(settings, folder, catalog, table, **options))


def train_together(
    runs: Sequence[Mapping[str, Any]],
    catalog: Catalog,
    table: Table,
    ended: Callable[[int, BaseException | None], None],
    within: Callable[[int], contextlib.AbstractContextManager[Any]],
) -> None:
    """Trains runs of one structure as one program, where that is faster; each in its folder, as if it were alone.

    Args:
        runs: the arguments that `run` takes for each, but for those below.
        catalog, table: of all of them.
        ended: called with a run's place once it has ended, and its exception, if there was one.
        within: gives what is entered while a run does something of its own.
    """
    group = together.Group()

    def told(number: int) -> None:
        log.warning("%s: stopping after this block, saving the states", signal.Signals(number).name)

    def end_at_once(number: int) -> None:
        for own in runs:
            if own["folder"].read_run().get("status") == "running":
                _end_at_once(Terminal(), own["folder"], number)

    with stop_on_signals(told, end_at_once) as stop:
        options: Any = {"take": group.take, "stopping": lambda *_: contextlib.nullcontext(stop)}
        group.drive([run(**own, catalog=catalog, table=table, **options) for own in runs], ended, within)


@contextlib.contextmanager
def _stopping(console: Console, folder: RunFolder) -> Iterator[list[int]]:
    """Gives the list that a signal which stops the run is put into."""

    def told(number: int) -> None:
        name = signal.Signals(number).name
        say(console, f"{name}: stopping after this block, saving the state; once more ends at once")

    with stop_on_signals(told, before_end=partial(_end_at_once, console, folder)) as stop:
        yield stop


async def run(
    settings: Settings,
    folder: RunFolder,
    catalog: Catalog,
    table: Table,
    *,
    resume: bool = False,
    overrides: Sequence[str] = (),
    hparams: Mapping[str, Any] | None = None,
    import_seconds: float = 0.0,
    console: Console | None = None,
    tell: telling.Tell | None = None,
    is_pruned: Callable[[], bool] | None = None,
    pause_epoch: int | None = None,
    take: together.Take = together.alone,
    stopping: Callable[[Console, RunFolder], contextlib.AbstractContextManager[list[int]]] = _stopping,
) -> int:
    """Trains a run in its folder and returns the exit code; `run.json` says how it ended.

    Args:
        settings: the config.
        folder: claimed for this run, or that of the run to go on with.
        catalog: the components.
        table: the raw rows of the config's data.
        resume: whether to go on from the folder's newest checkpoint.
        overrides: the command line's, for `run.json`.
        hparams: what to show of this run in TensorBoard's HParams table.
        import_seconds: what TensorFlow's import took, for `run.json`.
        console: where to show the run.
        tell: called after each block and each epoch: step, last step (None without one), epoch, values, whether the
            epoch ended.
        is_pruned: whether a sweep has given the run up; asked after each block.
        pause_epoch: the epoch after which to stop, to be gone on with; None trains to the end.
        take: gives the run what trains it.
        stopping: gives the signals that stop it.

    Raises:
        TfrunError: as `run.json` then says too.
    """
    console = console or Terminal()
    with folder.held():
        before = folder.read_run() if resume else {}
        if before.get("status") == "completed" and not _has_more_to_do(settings, before):
            say(console, f"{shown(folder.path)} is completed already, at step {before['step']}")
            return 0
        run = new_run(settings, folder, overrides, catalog) | before
        run |= {"status": "running", "ended": None, "error": None}
        run |= {"versions": provenance.versions(), "git": provenance.git()}
        if resume:
            for line in _not_the_same(before, run["versions"]):
                say(console, f"warning: {line}: what follows may differ in its last bits from a run that went on")
            again = {"at": now(), "step": run["step"], "overrides": list(overrides)}
            run["resumed"] = [*before.get("resumed", []), again]
        run["timing"]["import_seconds"] = round(import_seconds, 3)
        folder.write_run(run)

        try:
            with stopping(console, folder) as stop:
                given_up, columns = is_pruned or (lambda: False), hparams or {}
                asked = (resume, columns, console, stop, tell, given_up, pause_epoch, take)
                await _train(settings, folder, catalog, table, run, *asked)
        except Exception as error:
            may_discard = isinstance(error, TfrunError) and not resume and not folder.has_checkpoints
            if may_discard and not (run["engine"] and isinstance(error, ResourceError)):
                folder.discard()  # nothing was trained: a mistake leaves nothing behind
                raise
            status = {DivergedError: "diverged", Interrupted: "stopped"}.get(type(error), "failed")
            exit_code = error.exit_code if isinstance(error, TfrunError) else 1
            fault = {"type": type(error).__name__, "message": str(error), "exit_code": exit_code}
            fault |= getattr(error, "details", {})
            with contextlib.suppress(ResourceError):  # the disk may be what it was about
                folder.write_run(run | {"status": status, "ended": now(), "error": fault})
            log.exception("the run ended: %s", status)
            raise
        return 0


def _not_the_same(before: Mapping[str, Any], versions: Mapping[str, str]) -> list[str]:
    """Returns what the same bits depend on and is not as it was when the run began."""
    earlier = before.get("versions") or {}
    changed = [f"{name} {earlier[name]}, now {new}" for name, new in versions.items() if earlier.get(name, new) != new]
    had, has = (before.get("engine") or {}).get("devices"), devices.device_names()
    return changed + ([f"devices {had}, now {has}"] if had and had != has else [])


def _end_at_once(console: Console, folder: RunFolder, number: int) -> None:
    """Leaves the terminal and `run.json` as they should be, where a second signal ends the process."""
    console.show_cursor()
    run = folder.read_run()
    message = f"ended at once by a second signal; saved up to step {run['step']}"
    fault = {"type": "Interrupted", "message": message, "exit_code": 128 + number}
    with contextlib.suppress(ResourceError):
        folder.write_run(run | {"status": "stopped", "ended": now(), "error": fault})


def new_run(settings: Settings, folder: RunFolder, overrides: Sequence[str], catalog: Catalog) -> dict[str, Any]:
    """Returns `run.json` before anything has happened; `docs/run-folder.md` explains the keys."""
    return {
        "run_id": folder.run_id,
        "name": settings.name,
        "status": "running",
        "started": now(),
        "ended": None,
        "argv": sys.argv,
        "overrides": list(overrides),
        "seed": settings.seed,
        "epoch": 0,
        "step": 0,
        "metrics": {},
        "best": {},
        "higher_is_better": higher_is_better(settings.metric, catalog),
        "timing": {},
        "engine": {},
        "groups": [],
        "parameters": None,
        "data": {},
        "versions": {},
        "git": None,
        "error": None,
    }


async def _train(
    settings: Settings,
    folder: RunFolder,
    catalog: Catalog,
    table: Table,
    run: dict[str, Any],
    resume: bool,
    hparams: Mapping[str, Any],
    console: Console,
    stop: list[int],
    tell: telling.Tell | None,
    is_pruned: Callable[[], bool],
    pause_epoch: int | None,
    take: together.Take,
) -> None:
    timing, started = loop.Timing(), time.perf_counter()
    with progress.waiting(console, "building and compiling"):
        session = build_session(settings, catalog, table, may_be_kept=True)
        restored = _newest_checkpoint(folder, session, console) if resume else None
        engine = await take(session, restored.extra["engine"] if restored else {}, timing)
        session, program = engine.session, engine.program
        engine.show()
        if restored:
            session.state(program).restore(restored, OPTIONAL_ROLE)
            checkpoints.remove_newer(restored)
    run |= session.describe() | {"engine": engine.told}
    record = Record(folder, session, program, run, timing, restored.extra["journals"] if restored else {})
    lost = [f"{name} has lost lines since the checkpoint, which can't be brought back" for name in record.shorter]
    for doubt in [*devices.doubts(settings.trainer, settings.strategy), *lost]:
        say(console, f"warning: {doubt}")
    run["timing"]["build_seconds"] = round(time.perf_counter() - started - timing.compile_seconds, 3)
    folder.write_run(run)
    write_atomically(folder.preprocessing_json, session.examples.preprocessing.to_json())
    log.info("engine: %s, %s", engine.told["mode"], engine.told["why"])

    plan = session.plan
    if pause_epoch is not None:
        plan = replace(plan, pause_step=pause_epoch * plan.steps_per_epoch)

    def save(step: int) -> None:
        engine.show()
        record.save(step)

    try:
        with record, progress.Display(plan.steps_per_epoch, plan.last_step, console) as display:
            roll_back = record.roll_back if settings.trainer.on_divergence == "rollback" else None
            ended_by = await loop.train(
                program,
                engine.run,
                plan,
                telling.with_epochs(record.write, plan, program.names, tell),
                telling.with_steps(display.update, plan, tell),
                save,
                record.wait,
                lambda: bool(stop) or is_pruned(),
                timing,
                roll_back,
            )
        if stop and ended_by == "interrupted":
            by, go_on = signal.Signals(stop[0]).name, f"Go on with: tfrun resume {shown(folder.path)}"
            raise Interrupted(stop[0], f"stopped by {by} at step {run['step']}, its state saved. {go_on}")
        status = {"interrupted": "pruned", "paused": "stopped"}.get(ended_by, "completed")
        if status == "completed":
            engine.show()
            started = time.perf_counter()
            _test(session, program, run, record)
            timing.eval_seconds += time.perf_counter() - started
        if record.board and hparams and status != "stopped":
            columns = summary_metrics(record.results.metrics, record.results.best)
            record.board.write_hparams(folder.run_id, hparams, columns, status)
    except DivergedError as error:
        engine.show()
        found = _diagnosis(session, program)
        message = f"{error}. First not finite is {found.tensor}; {_places(table, found.rows)}"
        raise DivergedError(f"{message}. Its folder: {shown(folder.path)}", **found._asdict()) from error
    finally:
        record.close()
        program.release()
    run["engine"] |= {"ended_by": ended_by, "traces": program.traces.reasons}
    if session.parts.step.skips and (skipped := session.parts.step.skips.total):
        run["engine"]["skipped_steps"] = skipped
        say(console, f"warning: {skipped:,} of {run['step']:,} steps made no update, as their numbers were not finite")
    for why in program.traces.again:
        if why.startswith("block"):
            say(console, f"warning: the step was traced again, which takes as long as at the start. {why}")
    run |= {"status": status, "ended": now()}
    folder.write_run(run)
    progress.print_summary(console, run, folder.path, folder.checkpoints / f"step-{run['step']:09d}")


def _diagnosis(session: Session, program: Program) -> diagnosis.Diagnosis:
    step = int(program.step_count.numpy())
    batch = program.feed.batches(step, 1, session.order.batch_size)
    return diagnosis.diagnose(session.parts.step, batch.data, batch.rows, session.order.block(step, 1))


def _places(table: Table, rows: Sequence[int]) -> str:
    """Returns where rows are, for a person: `rows.csv:14` and how many more."""
    first, more = f"{table.source}:{table.first_line + rows[0]}", len(rows) - 1
    return f"in the row {first}" if not more else f"in {len(rows)} rows of the batch, {first} and {more} more"


def _newest_checkpoint(folder: RunFolder, session: Session, console: Console) -> checkpoints.Checkpoint | None:
    checkpoints.sweep(folder.checkpoints)
    restored = checkpoints.newest(folder.checkpoints)
    if restored is None:
        say(console, "no checkpoint yet: starting from the first step")
        return None
    if restored.extra["fingerprint"] != session.examples.fingerprint:
        raise CheckpointError(f"{session.table.source}: its contents have changed since the run was trained on it")
    for line in restored.passed_over:
        say(console, f"passed over {line}")
    say(console, f"going on from {shown(restored.path)}")
    return restored


def _test(session: Session, program: Program, run: Mapping[str, Any], record: Record) -> None:
    """Evaluates the best weights on the test split; the state that was saved is the last one, and stays so."""
    session.load_best(program)
    splits, targets = session.examples.splits, session.examples.preprocessing.targets
    classes = {metric.name: of_output(targets, metric.output).classes for metric in session.parts.val_metrics}
    draws = record.board is not None and any(hasattr(metric, "matrix") for metric in session.parts.val_metrics)
    for split in ("val", "test"):
        if len(splits[split]) and (split == "test" or draws):
            values = program.evaluate(splits[split])
            if split == "test":
                record.writer.write_epoch(run["epoch"], run["step"], {"test": values})
            if record.board is not None:
                for name, counts in program.matrices.items():
                    record.board.write_image(split, name, run["step"], images.confusion_matrix(counts, classes[name]))
    if record.board is not None:
        _draw_generated(session.parts.model, record.board, run["step"])


def _draw_generated(model: Any, board: TensorBoard, step: int) -> None:
    """Shows what a generator makes, where its examples are images."""
    shape: tuple[int, ...] = getattr(model, "example_shape", ())
    if hasattr(model, "generate") and (len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3))):
        board.write_image("val", "generated", step, images.images(np.asarray(model.generate(NUM_DRAWN))))


def _has_more_to_do(settings: Settings, before: Mapping[str, Any]) -> bool:
    trainer = settings.trainer
    beyond_epochs = trainer.max_epochs is None or before["epoch"] < trainer.max_epochs
    beyond_steps = trainer.max_steps is None or before["step"] < trainer.max_steps
    return beyond_epochs and beyond_steps
