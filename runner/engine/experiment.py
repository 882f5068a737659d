"""The table of contents of a run: from a checked config to a folder with results.

    train:     devices → data → build → restore → loop → test → run.json
    evaluate:  devices → data → build → the best weights → metrics
    export:    devices → data → build → the best weights → a model of raw rows, compared in a clean process
    check:     devices → data → build → what was found; a component alone → its contract

How each of them is done stands in the modules that they call.
"""

from __future__ import annotations

import logging
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import keras
import numpy as np
from rich.console import Console

from tfrun import provenance
from tfrun.catalog import Catalog
from tfrun.console import Terminal, say, shown
from tfrun.engine import (
    checkpoints,
    contracts,
    data,
    devices,
    export,
    feed,
    loop,
    modes,
    parity,
    pictures,
    progress,
    writers,
)
from tfrun.engine.build import build_component, build_function
from tfrun.engine.program import Program
from tfrun.engine.record import Record
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
    timing, started = loop.Timing(), time.perf_counter()
    with progress.waiting(console, "building and compiling"):
        session = build_session(config, catalog, table)
        restored = _newest_checkpoint(folder, session, console) if resume else None
        session, program, engine = _engine(session, restored.extra["engine"] if restored else {}, timing)
        if restored:
            session.state(program).restore(restored, OPTIONAL_ROLE)
            checkpoints.remove_newer(restored)
    run |= session.describe() | {"engine": engine}
    record = Record(folder, session, program, run, timing, restored.extra["journals"] if restored else {})
    run["timing"]["build_seconds"] = round(time.perf_counter() - started - timing.compile_seconds, 3)
    folder.write_run(run)
    write_atomically(folder.preprocessing_json, session.examples.preprocessing.to_json())
    log.info("engine: %s, %s", engine["mode"], engine["why"])

    plan = session.plan
    try:
        with record, progress.Display(plan.steps_per_epoch, plan.last_step, console) as display:
            ended_by = loop.train(
                program, plan, record.write, display.update, record.save, record.wait, lambda: bool(stop), timing
            )
        if ended_by == "interrupted":
            by, go_on = signal.Signals(stop[0]).name, f"Go on with: tfrun resume {shown(folder.path)}"
            raise Interrupted(stop[0], f"stopped by {by} at step {run['step']}, its state saved. {go_on}")
        started = time.perf_counter()
        _test(session, program, run, record)
        timing.eval_seconds += time.perf_counter() - started
        if record.board and hparams:
            record.board.write_hparams(folder.run_id, hparams, summary_metrics(record.results))
    except DivergedError as error:
        raise DivergedError(f"{error}. Its folder: {shown(folder.path)}") from error
    finally:
        record.close()
        program.release()
    run["engine"] |= {"ended_by": ended_by, "traces": program.traces.reasons}
    for why in program.traces.again:
        if why.startswith("block"):
            say(console, f"warning: the step was traced again, which takes as long as at the start. {why}")
    run |= {"status": "completed", "ended": now()}
    folder.write_run(run)
    progress.print_summary(console, run, folder.path, folder.checkpoints / f"step-{run['step']:09d}")


def _engine(session: Session, before: dict[str, Any], timing: loop.Timing) -> tuple[Session, Program, dict[str, Any]]:
    """Picks where the examples lie and how the program is compiled.

    Args:
        session: what is trained; the one that is returned may be over the variables of an earlier one.
        before: what was picked when the run began, in a run that goes on; it is kept.
        timing: takes the seconds of compiling.

    Returns:
        The session, its program, and what `run.json` says of the engine.
    """
    config = session.config
    why_stream = modes.why_stream(before.get("residency") or config["data"]["residency"], session.bytes_to_load)
    session, program = with_program(session, streams=bool(why_stream))
    choice = modes.choose(
        before.get("loop") or config["trainer"]["compile"],
        session.strategy,
        session.parts.model,
        session.plan,
        program,
        session.state(program),
        session.choices,
    )
    program.mode, timing.compile_seconds = choice.mode, choice.compile_seconds
    picked = {
        "mode": "stream" if why_stream else choice.mode,
        "why": "; ".join(filter(None, [why_stream, choice.why])),
        "loop": choice.mode,
        "residency": "stream" if why_stream else "device",
    }
    return session, program, (before or picked) | {"devices": devices.device_names()}


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
    splits, classes = session.examples.splits, session.examples.preprocessing.classes
    draws = record.board is not None and any(hasattr(metric, "matrix") for metric in session.parts.val_metrics)
    for split in ("val", "test"):
        if len(splits[split]) and (split == "test" or draws):
            values = program.evaluate(splits[split])
            if split == "test":
                record.writer.write_epoch(run["epoch"], run["step"], {"test": values})
            if record.board is not None:
                for name, counts in program.matrices.items():
                    record.board.write_image(split, name, run["step"], pictures.confusion_matrix(counts, classes))


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
    saved = _saved(folder)
    fitted = data.Preprocessing.from_json(folder.preprocessing_json.read_text()) if other_data else None
    session = build_session(config, catalog, table, fitted)
    program = _program_with_best(session, saved)
    rows = session.examples.splits["test"]
    if len(rows) == 0:
        raise DataError("data.test_split: there are no test rows to evaluate on. Received: 0 rows")
    console = Terminal()
    say(console, f"{shown(folder.path)}, best weights up to step {saved.step}")
    say(console, f"{len(rows)} rows of {session.table.source}")
    for name, value in program.evaluate(rows).items():
        say(console, f"test/{name:15s} {value:.6g}")


def export_run(config: dict[str, Any], folder: RunFolder, catalog: Catalog, table: Table, format: str) -> None:
    """Writes a run's best weights as a model that takes raw rows, and compares its predictions with the run's own.

    Args:
        config: the normalized config.
        folder: the run.
        catalog: the components.
        table: the raw rows of the run's data.
        format: one of export.FILES.

    Raises:
        TfrunError: the format can't hold the model, or predictions differ.
    """
    saved = _saved(folder)
    export.check_format(format, data.Preprocessing.from_json(folder.preprocessing_json.read_text()))
    first = {name: np.array(column[: export.CHECKED_ROWS]) for name, column in table.columns.items()}
    session = build_session(config, catalog, table)
    _program_with_best(session, saved)
    model, preprocessing = session.parts.model, session.examples.preprocessing
    has_targets = not getattr(session.parts.step.algorithm, "own_targets", False)
    inputs, _, _ = feed.sample(session.examples, len(next(iter(first.values()))))
    expected = export.predictions(model(inputs, training=False), preprocessing, has_targets)
    path = export.write(export.portable(model, preprocessing, has_targets), format, folder.path / "export")
    console = Terminal()
    say(console, f"{shown(path)}, best weights up to step {saved.step}")
    for name, kind in export.inputs_of(preprocessing).items():
        say(console, f"        {name}: {kind}")
    off = export.check(path, format, export.raw_rows(first, preprocessing), expected)
    say(console, f"checked in a clean process: {len(expected)} rows, predictions at most {off:.2g} off the run's own")


def _saved(folder: RunFolder) -> checkpoints.Checkpoint:
    saved = checkpoints.newest(folder.checkpoints)
    if saved is None:
        raise CheckpointError(f"{folder.checkpoints}: the run has no checkpoint yet")
    return saved


def _program_with_best(session: Session, saved: checkpoints.Checkpoint) -> Program:
    """Returns a program whose model has the best weights of the run that was saved."""
    program = session.make_program()
    session.state(program).restore(saved, OPTIONAL_ROLE)
    session.load_best(program)
    return program


def check(config: dict[str, Any], catalog: Catalog, table: Table, parity_steps: int = 0) -> None:
    """Prints what can be found out without training: data, shapes, groups, memory.

    Args:
        config: the normalized config.
        catalog: the components.
        table: the raw rows of the config's data.
        parity_steps: how many steps to take in Python and compiled, to compare them; 0 for none.

    Raises:
        TfrunError: what would have stopped the run, or steps that differ.
    """
    console, session = Terminal(), build_session(config, catalog, table)
    program = session.make_program()
    state = session.state(program)
    variables = sum(array.nbytes for array in state.read().values())
    progress.print_check(
        console, config, session.describe(), session.examples.inputs, session.plan, session.data_bytes, variables
    )
    if parity_steps:
        found = parity.compare(program, state, parity_steps)
        progress.print_parity(console, found, parity_steps)
        for difference in found:
            if difference.first:
                step, tensor = difference.first
                raise parity.ParityError(
                    f"check: compiled by {difference.mode}, step {step} gives another {tensor} than in Python, by more "
                    f"than {parity.TOLERANCE:g}. Furthest off: {difference.tensor}, by {difference.off:.2g}"
                )
    say(console, "All that can be checked without training is in order.")


def check_contracts(components: Sequence[tuple[str, Mapping[str, Any]]], catalog: Catalog) -> None:
    """Puts components through their kinds' contracts and prints what was found.

    Args:
        components: the kind of each, and its name and parameters.
        catalog: where they are looked up.

    Raises:
        ContractError: a promise isn't kept.
    """
    console, broken, total = Terminal(), [], 0
    for kind, config in components:
        keras.utils.set_random_seed(0)
        name = f"{kind}={config['name']}"
        build = build_component if kind == "optimizer" else build_function  # the others' functions aren't called
        found = contracts.findings(kind, partial(build, catalog, kind, config, kind))
        progress.print_findings(console, name, found)
        total += len(found)
        broken += [f"{name}: {finding.promise}" for finding in found if not finding.kept]
    if broken:
        raise contracts.ContractError(f"check: {len(broken)} of {total} promises aren't kept: {'; '.join(broken)}")


def _has_more_to_do(config: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    trainer = config["trainer"]
    beyond_epochs = trainer["max_epochs"] is None or before["epoch"] < trainer["max_epochs"]
    beyond_steps = trainer["max_steps"] is None or before["step"] < trainer["max_steps"]
    return beyond_epochs and beyond_steps
