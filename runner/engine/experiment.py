"""The table of contents of a run: from a checked config to a folder with results.

    train:     devices → data → build → restore → loop → test → run.json
    evaluate:  devices → data → build → the best weights → metrics
    check:     devices → data → build → what was found

How each of them is done stands in the modules that they call.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import yaml
from rich.console import Console

from tfrun import provenance
from tfrun.catalog import Catalog
from tfrun.console import Terminal, say, shown
from tfrun.engine import checkpoints, data, devices, loop, modes, progress, writers
from tfrun.engine.background import Background
from tfrun.engine.program import BlockResult, Program
from tfrun.engine.session import OPTIONAL_ROLE, Session, build_session, with_program
from tfrun.engine.signals import stop_on_signals
from tfrun.errors import CheckpointError, DataError, DivergedError, Interrupted, TfrunError
from tfrun.runs import RunFolder, now, write_atomically
from tfrun.table import Table

log = logging.getLogger("tfrun")


def train(
    config: dict[str, Any],
    folder: RunFolder,
    catalog: Catalog,
    table: Table,
    *,
    resume: bool = False,
    overrides: Sequence[str] = (),
    hparams: Mapping[str, Any] | None = None,
    import_seconds: float = 0.0,
    console: Console | None = None,
) -> int:
    """Trains a run in its folder and returns the exit code; `run.json` says how it ended.

    Args:
        config: the normalized config.
        folder: claimed for this run, or that of the run to go on with.
        catalog: the components.
        table: the raw rows of the config's data.
        resume: whether to go on from the folder's newest checkpoint.
        overrides: the command line's, for `run.json`.
        hparams: what to show of this run in TensorBoard's HParams table.
        import_seconds: what TensorFlow's import took, for `run.json`.
        console: where to show the run.

    Raises:
        TfrunError: as `run.json` then says too.
    """
    console = console or Terminal()
    with folder.held():
        before = folder.read_run() if resume else {}
        if before.get("status") == "completed" and not _has_more_to_do(config, before):
            say(console, f"{shown(folder.path)} is completed already, at step {before['step']}")
            return 0
        run = new_run(config, folder, overrides) | before | {"status": "running", "ended": None, "error": None}
        run |= {"versions": provenance.versions(), "git": provenance.git()}
        if resume:
            again = {"at": now(), "step": run["step"], "overrides": list(overrides)}
            run["resumed"] = [*before.get("resumed", []), again]
        run["timing"]["import_seconds"] = round(import_seconds, 3)
        folder.write_run(run)

        def told(number: int) -> None:
            name = signal.Signals(number).name
            say(console, f"{name}: stopping after this block, saving the state; once more ends at once")

        try:
            with stop_on_signals(told, before_end=console.show_cursor) as stop:
                _train(config, folder, catalog, table, run, resume, hparams or {}, console, stop)
        except Exception as error:
            if isinstance(error, TfrunError) and not resume and run["step"] == 0 and not folder.has_checkpoints:
                folder.discard()  # nothing was trained: a mistake leaves nothing behind
                raise
            status = {DivergedError: "diverged", Interrupted: "stopped"}.get(type(error), "failed")
            exit_code = error.exit_code if isinstance(error, TfrunError) else 1
            fault = {"type": type(error).__name__, "message": str(error), "exit_code": exit_code}
            folder.write_run(run | {"status": status, "ended": now(), "error": fault})
            log.exception("the run ended: %s", status)
            raise
        return 0


def new_run(config: Mapping[str, Any], folder: RunFolder, overrides: Sequence[str]) -> dict[str, Any]:
    """Returns `run.json` before anything has happened; `docs/run-folder.md` explains the keys."""
    return {
        "run_id": folder.run_id,
        "name": config["name"],
        "status": "running",
        "started": now(),
        "ended": None,
        "argv": sys.argv,
        "overrides": list(overrides),
        "seed": config["seed"],
        "epoch": 0,
        "step": 0,
        "metrics": {},
        "best": {},
        "timing": {},
        "engine": {},
        "groups": [],
        "parameters": None,
        "data": {},
        "versions": {},
        "git": None,
        "error": None,
    }


def _train(
    config: dict[str, Any],
    folder: RunFolder,
    catalog: Catalog,
    table: Table,
    run: dict[str, Any],
    resume: bool,
    hparams: Mapping[str, Any],
    console: Console,
    stop: list[int],
) -> None:
    timing, earlier, started = loop.Timing(), dict(run["timing"]), time.perf_counter()
    with progress.waiting(console, "building and compiling"):
        session = build_session(config, catalog, table)
        restored = _newest_checkpoint(folder, session, console) if resume else None
        engine = restored.extra["engine"] if restored else {}
        why_stream = modes.why_stream(engine.get("residency") or config["data"]["residency"], session.data_bytes)
        session, program = with_program(session, streams=bool(why_stream))
        state = session.state(program)
        choice = modes.choose(
            engine.get("loop") or config["trainer"]["compile"],
            session.strategy,
            session.parts.model,
            session.plan.last_step,
            session.plan.max_seconds,
            program,
            state,
            session.choices(),
        )
        program.mode = choice.mode
        if restored:
            state.restore(restored, OPTIONAL_ROLE)
            checkpoints.remove_newer(restored)
    writers.cut_back(folder.path, restored.extra["journals"] if restored else {})
    engine = engine or {
        "mode": "stream" if why_stream else choice.mode,
        "why": "; ".join(filter(None, [why_stream, choice.why])),
        "loop": choice.mode,
        "residency": "stream" if why_stream else "device",
    }
    run |= session.describe() | {"engine": engine | {"devices": devices.device_names()}}
    run["timing"]["build_seconds"] = round(time.perf_counter() - started - choice.compile_seconds, 3)
    timing.compile_seconds = choice.compile_seconds
    folder.write_run(run)
    write_atomically(folder.preprocessing_json, session.examples.preprocessing.to_json())
    log.info("engine: %s, %s", engine["mode"], engine["why"])

    board = writers.TensorBoard(folder.tensorboard) if config["logger"] else None
    results = writers.Results(folder.metrics_jsonl, int(session.best.best_step.numpy()), session.best.monitor)
    lines = writers.JsonLines(folder.metrics_jsonl)
    writer = writers.MultiWriter(filter(None, [lines, results, board]))
    if board and not restored:
        board.write_text("config", _as_markdown(config))
        board.write_text("groups", _as_markdown(run["groups"]))

    plan, slots, background, saved = session.plan, state.describe(), Background(), threading.Event()
    saved.set()
    group_names = [group.name for group in session.parts.step.active]

    def write(first_step: int, result: BlockResult) -> None:
        background.do(loop.write, writer, plan, group_names, program.names, first_step, result)

    def save(step: int) -> None:
        nonlocal saved
        saved.wait()  # for the disk: there is one copy of the state in memory at a time
        saved = background.do(save_now, step, state.read(), timing.added_to(earlier))

    def save_now(step: int, arrays: Mapping[str, np.ndarray], seconds: Mapping[str, float | None]) -> None:
        writer.flush()  # what the checkpoint says of the journals must be true after a power cut too
        journals = writers.journal_lengths(folder.path)
        extra = {"engine": engine, "journals": journals, "fingerprint": session.examples.fingerprint}
        checkpoints.save(folder.checkpoints, step, slots, arrays, extra, config["checkpoint"]["keep"])
        run.update(step=step, epoch=step // plan.steps_per_epoch, metrics=results.metrics, best=results.best)
        run["timing"] |= seconds
        folder.write_run(run)

    try:
        # until the background ends, the journals and run.json are its own
        with background, progress.Display(plan.steps_per_epoch, plan.last_step, console) as display:
            ended_by = loop.train(
                program, plan, write, display.update, save, background.wait, lambda: bool(stop), timing
            )
        if ended_by == "interrupted":
            by, go_on = signal.Signals(stop[0]).name, f"Go on with: tfrun resume {shown(folder.path)}"
            raise Interrupted(stop[0], f"stopped by {by} at step {run['step']}, its state saved. {go_on}")
        started = time.perf_counter()
        _test(session, program, run, writer)
        timing.eval_seconds += time.perf_counter() - started
        if board and hparams:
            board.write_hparams(folder.run_id, hparams, summary_metrics(results))
    except DivergedError as error:
        raise DivergedError(f"{error}. Its folder: {shown(folder.path)}") from error
    finally:
        writer.close()
        run["timing"] |= timing.added_to(earlier)
        run["engine"] |= {"traces": program.num_traces}
        program.release()
    run |= {"metrics": results.metrics, "best": results.best}
    run |= {"status": "completed", "ended": now(), "engine": run["engine"] | {"ended_by": ended_by}}
    folder.write_run(run)
    progress.print_summary(console, run, folder.path, folder.checkpoints / f"step-{run['step']:09d}")


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


def _test(session: Session, program: Program, run: Mapping[str, Any], writer: writers.Writer) -> None:
    """Evaluates the best weights on the test split; the state that was saved is the last one, and stays so."""
    session.load_best(program)
    rows = session.examples.splits["test"]
    if len(rows):
        writer.write_epoch(run["epoch"], run["step"], {"test": program.evaluate(rows)})


def summary_metrics(results: writers.Results) -> dict[str, float]:
    """Returns the columns of the HParams table: validation (or training, without it), best and last, and the test."""
    split = "val/" if any(key.startswith("val/") for key in results.metrics) else "train/"
    columns: dict[str, float] = {}
    for key, value in results.metrics.items():
        if key.startswith(split):
            columns |= {f"{key}_best": results.best.get(key, value), f"{key}_last": value}
        elif key.startswith("test/"):
            columns[key] = value
    return columns


def evaluate(
    config: dict[str, Any], folder: RunFolder, catalog: Catalog, table: Table, *, other_data: bool = False
) -> None:
    """Prints the metrics of a run's best weights on its test split, or on every row of other data.

    Args:
        config: the normalized config, with the data to evaluate on.
        folder: the run.
        catalog: the components.
        table: the raw rows of the config's data.
        other_data: whether `config["data"]` is not what the run was trained on.
    """
    saved = checkpoints.newest(folder.checkpoints)
    if saved is None:
        raise CheckpointError(f"{folder.checkpoints}: the run has no checkpoint yet")
    fitted = data.Preprocessing.from_json(folder.preprocessing_json.read_text()) if other_data else None
    session = build_session(config, catalog, table, fitted)
    program = session.make_program()
    session.state(program).restore(saved, OPTIONAL_ROLE)
    session.load_best(program)
    rows = session.examples.splits["test"]
    if len(rows) == 0:
        raise DataError("data.test_split: there are no test rows to evaluate on. Received: 0 rows")
    console = Terminal()
    say(console, f"{shown(folder.path)}, best weights up to step {saved.step}")
    say(console, f"{len(rows)} rows of {session.table.source}")
    for name, value in program.evaluate(rows).items():
        say(console, f"test/{name:15s} {value:.6g}")


def check(config: dict[str, Any], catalog: Catalog, table: Table) -> None:
    """Prints what can be found out without training: data, shapes, groups, memory.

    Raises:
        TfrunError: what would have stopped the run.
    """
    session = build_session(config, catalog, table)
    variables = sum(array.nbytes for array in session.state(session.make_program()).read().values())
    progress.print_check(
        Terminal(), config, session.describe(), session.examples.inputs, session.plan, session.data_bytes, variables
    )


def _has_more_to_do(config: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    trainer = config["trainer"]
    beyond_epochs = trainer["max_epochs"] is None or before["epoch"] < trainer["max_epochs"]
    beyond_steps = trainer["max_steps"] is None or before["step"] < trainer["max_steps"]
    return beyond_epochs and beyond_steps


def _as_markdown(content: Any) -> str:
    return f"```yaml\n{yaml.safe_dump(content, sort_keys=False)}```"
