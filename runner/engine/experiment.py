"""The table of contents of a run: from a checked config to a folder with results.

    train:     devices → data → build → restore → loop → test → run.json
    evaluate:  devices → data → build → the best weights → metrics
    check:     devices → data → build → what was found
"""

from __future__ import annotations

import logging
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import yaml
from rich.console import Console

from tfrun import provenance
from tfrun.catalog import Catalog
from tfrun.engine import checkpoints, data, devices, loop, modes, progress, writers
from tfrun.engine.build import Parts, build_parts
from tfrun.engine.order import Order
from tfrun.engine.program import Program, Tracker
from tfrun.engine.split import describe_groups
from tfrun.errors import CheckpointError, ConfigError, DataError, DivergedError, Interrupted, ResourceError, TfrunError
from tfrun.runs import RunFolder, now, write_atomically
from tfrun.schema import check_task
from tfrun.table import Table

log = logging.getLogger("tfrun")


@dataclass(frozen=True)
class Session:
    """Everything that is built before the first step."""

    config: dict[str, Any]
    strategy: tf.distribute.Strategy
    table: Table
    examples: data.Examples
    parts: Parts
    order: Order
    plan: loop.Plan
    best: Tracker
    stopper: Tracker | None

    def make_program(self, mode: str) -> Program:
        """Returns the program of a mode; every call shares the same variables but the program's own few."""
        with self.strategy.scope():
            return Program(
                self.parts.step,
                (self.examples.inputs, self.examples.targets),
                self.order,
                self.examples.splits["val"],
                self.parts.val_loss_mean,
                self.parts.val_metrics,
                self.best,
                self.stopper,
                mode,
            )

    def state(self, program: Program) -> checkpoints.State:
        """Returns everything that a resumed run must find again."""
        step = self.parts.step
        return checkpoints.State(
            {
                "model": self.parts.model.variables,
                **{f"optimizer/{group.name}": group.optimizer.variables for group in step.active},
                **{f"learning_rate/{group.name}": [group.base_learning_rate] for group in step.active},
                "train": [variable for metric in [step.loss_mean, *step.metrics] for variable in metric.variables],
                "best": [*self.best.variables, *program.best_weights],
                "early_stopping": self.stopper.variables if self.stopper else [],
                "position": [program.step_count],
            }
        )


def prepare(
    config: dict[str, Any], catalog: Catalog, fitted: data.Preprocessing | None = None
) -> Session:
    """Does everything that comes before the first step.

    Args:
        config: the normalized config.
        catalog: the components.
        fitted: a trained run's preprocessing: then every row of the table is to be evaluated, none trained on.
    """
    strategy = devices.prepare(config["trainer"], config["strategy"], config["seed"])
    table = load_table(config["data"], catalog)
    check_task(config, catalog, table.task)
    if fitted is None:
        examples = data.prepare(table, config["data"])
    else:
        rows = {"train": np.arange(1), "val": np.arange(0), "test": np.arange(len(table.target))}
        examples = data.Examples(*data.encode(table, fitted), rows, fitted, data.fingerprint(table))
    order = Order(examples.splits["train"], config["data"]["batch_size"], config["seed"])
    devices.check_batch_size(order.batch_size, strategy)
    plan = make_plan(config, order.steps_per_epoch)
    sample = tf.nest.map_structure(lambda array: array[:2], (examples.inputs, examples.targets))
    parts = build_parts(config, catalog, strategy, examples.preprocessing, sample, plan.last_step)
    return Session(config, strategy, table, examples, parts, order, plan, *_trackers(config, strategy))


def load_table(config: dict[str, Any], catalog: Catalog) -> Table:
    """Reads the data set that `data` names."""
    component = catalog.get("dataset", config["name"], "data.name")
    return component.load()(**{param.name: config[param.name] for param in component.params if param.name in config})


def make_plan(config: dict[str, Any], steps_per_epoch: int) -> loop.Plan:
    """Returns when the run stops and saves; the nearest of several limits counts."""
    trainer, checkpoint, logger = config["trainer"], config["checkpoint"], config["logger"]
    limits = [trainer["max_steps"], trainer["max_epochs"] and trainer["max_epochs"] * steps_per_epoch]
    by_epochs = checkpoint["every_epochs"] and checkpoint["every_epochs"] * steps_per_epoch
    return loop.Plan(
        steps_per_epoch,
        last_step=min((limit for limit in limits if limit), default=sys.maxsize),
        max_seconds=trainer["max_seconds"],
        save_every_steps=tuple(every for every in (checkpoint["every_steps"], by_epochs) if every),
        save_every_seconds=checkpoint["every_seconds"],
        log_every_steps=logger["every_steps"] if logger else None,
    )


def _trackers(config: dict[str, Any], strategy: tf.distribute.Strategy) -> tuple[Tracker, Tracker | None]:
    stopping, checkpoint = config["early_stopping"], config["checkpoint"]
    with strategy.scope():
        best = Tracker(checkpoint["monitor"], checkpoint["mode"])
        if stopping is None:
            return best, None
        return best, Tracker(stopping["monitor"], stopping["mode"], stopping["min_delta"], stopping["patience"])


def train(
    config: dict[str, Any],
    folder: RunFolder,
    catalog: Catalog,
    *,
    resume: bool = False,
    overrides: Sequence[str] = (),
    hparams: dict[str, Any] | None = None,
    import_seconds: float = 0.0,
    console: Console | None = None,
) -> int:
    """Trains a run in its folder and returns the exit code; `run.json` says how it ended.

    Args:
        config: the normalized config.
        folder: claimed for this run, or that of the run to go on with.
        catalog: the components.
        resume: whether to go on from the folder's newest checkpoint.
        overrides: the command line's, for `run.json`.
        hparams: what to show of this run in TensorBoard's HParams table.
        import_seconds: what TensorFlow's import took, for `run.json`.
        console: where to show the run.

    Raises:
        TfrunError: as `run.json` then says too.
    """
    console = console or Console()
    with folder.held():
        before = folder.read_run() if resume else {}
        if before.get("status") == "completed" and not _has_more_to_do(config, before):
            console.print(f"{progress.shown(folder.path)} is completed already, at step {before['step']}", soft_wrap=True)
            return 0
        run = {
            "run_id": folder.run_id,
            "name": config["name"],
            "status": "running",
            "started": before.get("started") or now(),
            "ended": None,
            "argv": before.get("argv") or sys.argv,
            "overrides": before.get("overrides") or list(overrides),
            "seed": config["seed"],
            "epoch": 0,
            "step": 0,
            "metrics": {},
            "best": {},
            "timing": {"import_seconds": round(import_seconds, 3)},
            "engine": before.get("engine", {}),
            "groups": [],
            "parameters": None,
            "data": {},
            "versions": provenance.versions(),
            "git": provenance.git(),
            "error": None,
        }
        folder.write_run(run)
        try:
            with stop_on_signals() as stop:
                _train(config, folder, catalog, run, resume, hparams or {}, console, stop)
        except Exception as error:
            if isinstance(error, ConfigError | DataError) and not resume and run["step"] == 0:
                folder.discard()  # nothing was trained: a mistake leaves nothing behind
                raise
            status = {DivergedError: "diverged", Interrupted: "stopped"}.get(type(error), "failed")
            exit_code = error.exit_code if isinstance(error, TfrunError) else 1
            fault = {"type": type(error).__name__, "message": str(error), "exit_code": exit_code}
            run |= {"status": status, "ended": now(), "error": fault}
            folder.write_run(run)
            log.exception("the run ended: %s", status)
            raise
        return 0


def _train(
    config: dict[str, Any],
    folder: RunFolder,
    catalog: Catalog,
    run: dict[str, Any],
    resume: bool,
    hparams: dict[str, Any],
    console: Console,
    stop: list[int],
) -> None:
    timing = loop.Timing()
    build_started = time.perf_counter()
    session = prepare(config, catalog)
    checkpoints.sweep(folder.checkpoints)
    restored = checkpoints.newest(folder.checkpoints) if resume else None
    if restored:
        _check_same_data(session, restored)
        for line in restored.passed_over:
            console.print(f"passed over {line}", soft_wrap=True, highlight=False, markup=False)
        console.print(f"going on from {progress.shown(restored.path)}", soft_wrap=True, highlight=False, markup=False)
    choice = modes.choose(
        restored.extra["mode"] if restored else config["trainer"]["compile"],
        config["data"]["residency"],
        sum(array.nbytes for array in tf.nest.flatten((session.examples.inputs, session.examples.targets))),
        session.strategy,
        session.parts.model,
        session.plan.last_step,
        session.make_program,
        session.state,
    )
    timing.compile_seconds = choice.compile_seconds
    program, state = choice.program, session.state(choice.program)
    if restored:
        state.restore(restored)
    writers.cut_back(folder.path, restored.extra["journals"] if restored else {})
    why = restored.extra["why"] if restored else choice.why
    run |= describe(session) | {"engine": {"mode": choice.mode, "why": why, "devices": devices.device_names()}}
    run["timing"]["build_seconds"] = round(time.perf_counter() - build_started - timing.compile_seconds, 3)
    folder.write_run(run)
    write_atomically(folder.preprocessing_json, session.examples.preprocessing.to_json())
    log.info("engine: %s, %s", choice.mode, choice.why)

    board = writers.TensorBoard(folder.tensorboard, folder.path) if config["logger"] else None
    writer = writers.MultiWriter(filter(None, [writers.JsonLines(folder.metrics_jsonl, folder.path), board]))
    if board and not restored:
        board.write_text("config", "```yaml\n" + yaml.safe_dump(config, sort_keys=False) + "```")
        board.write_text("groups", "```yaml\n" + yaml.safe_dump(run["groups"], sort_keys=False) + "```")

    def save(step: int) -> None:
        extra = {"mode": choice.mode, "why": why, "journals": writer.lengths(), "fingerprint": session.examples.fingerprint}
        checkpoints.save(folder.checkpoints, step, state, extra, config["checkpoint"]["keep"])
        run["step"], run["epoch"] = step, step // session.plan.steps_per_epoch
        folder.write_run(run)

    names = [group.name for group in session.parts.step.active]
    try:
        with progress.Display(session.plan.steps_per_epoch, session.plan.last_step, console) as display:
            ended = loop.train(program, session.plan, writer, names, display.update, save, lambda: bool(stop), timing)
        if ended == "interrupted":
            raise Interrupted(stop[0], f"stopped by {signal.Signals(stop[0]).name} at step {run['step']}, saved. {_how_to_go_on(folder)}")
        started = time.perf_counter()
        _test(session, program, run, writer)
        timing.eval_seconds += time.perf_counter() - started
        writer.close()
        finish(folder, run, session, program)
        if board:
            board.write_hparams(folder.run_id, hparams, summary_metrics(run))
    finally:
        writer.close()
        run["timing"] |= {key: round(value, 3) for key, value in asdict(timing).items() if key != "timed_steps"}
        run["timing"]["steps_per_second"] = timing.steps_per_second and round(timing.steps_per_second, 1)
    run |= {"status": "completed", "ended": now(), "engine": run["engine"] | {"ended_by": ended}}
    folder.write_run(run)
    progress.print_summary(console, run, folder.path, folder.checkpoints / f"step-{run['step']:09d}")


def _test(session: Session, program: Program, run: dict[str, Any], writer: writers.Writer) -> None:
    """Evaluates the best weights on the test split; the state that was saved is the last one, and stays so."""
    load_best(session, program)
    rows = session.examples.splits["test"]
    if len(rows):
        writer.write_epoch(run["epoch"], run["step"], {"test": program.evaluate(rows)})


def load_best(session: Session, program: Program) -> None:
    """Gives the model its best weights, where an epoch has ended."""
    if int(session.best.best_step.numpy()):
        for variable, best in zip(session.parts.model.variables, program.best_weights, strict=True):
            variable.assign(best)


def finish(folder: RunFolder, run: dict[str, Any], session: Session, program: Program) -> None:
    """Fills in `metrics` and `best` from the journal, which holds every epoch's."""
    lines = [yaml.safe_load(line) for line in folder.metrics_jsonl.read_text().splitlines()]
    best_step = int(session.best.best_step.numpy())
    for line in lines:
        values = {key: value for key, value in line.items() if "/" in key}
        run["metrics"] |= values
        if line["step"] == best_step and "train/loss" in line:
            run["best"] = {"epoch": line["epoch"], "step": best_step, "monitor": session.best.monitor, **values}


def summary_metrics(run: dict[str, Any]) -> dict[str, float]:
    """Returns the columns of the HParams table: best and last of what was validated, and the test."""
    metrics = {f"last/{key}": value for key, value in run["metrics"].items() if not key.startswith("test/")}
    metrics |= {f"best/{key}": value for key, value in run["best"].items() if "/" in key and isinstance(value, float)}
    return metrics | {key: value for key, value in run["metrics"].items() if key.startswith("test/")}


def describe(session: Session) -> dict[str, Any]:
    """Returns what `run.json` says of the model and the data."""
    splits = {split: len(rows) for split, rows in session.examples.splits.items()}
    return {
        "groups": describe_groups(session.parts.step.groups),
        "parameters": session.parts.model.count_params(),
        "data": {
            "source": session.table.source,
            "task": session.table.task,
            "rows": len(session.table.target),
            **splits,
            "fingerprint": session.examples.fingerprint,
        },
    }


def evaluate(config: dict[str, Any], folder: RunFolder, catalog: Catalog, *, other_data: bool = False) -> None:
    """Prints the metrics of a run's best weights on its test split, or on every row of other data.

    Args:
        config: the normalized config, with the data to evaluate on.
        folder: the run.
        catalog: the components.
        other_data: whether `config["data"]` is not what the run was trained on.
    """
    saved = checkpoints.newest(folder.checkpoints)
    if saved is None:
        raise CheckpointError(f"{folder.checkpoints}: the run has no checkpoint yet")
    fitted = data.Preprocessing.from_json(folder.preprocessing_json.read_text()) if other_data else None
    session = prepare(config, catalog, fitted=fitted)
    program = session.make_program("graph_loop")
    session.state(program).restore(saved)
    load_best(session, program)
    rows = session.examples.splits["test"]
    if len(rows) == 0:
        raise DataError("data.test_split: the run has no test rows to evaluate on. Received: 0")
    metrics = {f"test/{name}": value for name, value in program.evaluate(rows).items()}
    console = Console()
    console.print(f"{progress.shown(folder.path)} at step {saved.step}, best weights, on {len(rows)} rows of {session.table.source}", soft_wrap=True)
    for name, value in metrics.items():
        console.print(f"{name:20s} {value:.6g}", highlight=False)


def check(config: dict[str, Any], catalog: Catalog) -> None:
    """Prints what can be found out without training: shapes, splits, groups, memory.

    Raises:
        TfrunError: what would have stopped the run.
    """
    session = prepare(config, catalog)
    found = describe(session)
    console = Console()
    splits = ", ".join(f"{split} {found['data'][split]}" for split in ("train", "val", "test"))
    console.print(f"data        {found['data']['source']}: {found['data']['rows']} rows ({splits}), {found['data']['task']}", soft_wrap=True)
    arrays = tf.nest.flatten((session.examples.inputs, session.examples.targets))
    for name, array in (session.examples.inputs.items() if isinstance(session.examples.inputs, dict) else [("input", arrays[0])]):
        console.print(f"            {name} {array.shape[1:]} {array.dtype}", highlight=False)
    console.print(f"steps       {session.plan.steps_per_epoch} an epoch, {session.plan.last_step} in all", highlight=False)
    console.print(f"model       {config['model']['name']}, {found['parameters']:,} parameters", highlight=False)
    for group in found["groups"]:
        rate = f" at {group['learning_rate']:g}" if group["learning_rate"] is not None else ""
        console.print(f"group       {group['name']}: {group['optimizer']}{rate}, {group['parameters']:,} parameters", highlight=False)
        for path in group["variables"]:
            console.print(f"            {path}", soft_wrap=True, highlight=False, markup=False)
    state = session.state(session.make_program("graph_loop")).read().values()
    resident, variables = sum(array.nbytes for array in arrays), sum(array.nbytes for array in state)
    console.print(f"memory      {resident / 2**20:.1f} MiB data, {variables / 2**20:.1f} MiB variables and their state", highlight=False)
    console.print("everything that can be checked without training is in order")


def _has_more_to_do(config: dict[str, Any], before: dict[str, Any]) -> bool:
    steps_per_epoch = before["step"] // before["epoch"] if before.get("epoch") else None
    trainer = config["trainer"]
    limits = [trainer["max_steps"], steps_per_epoch and trainer["max_epochs"] and trainer["max_epochs"] * steps_per_epoch]
    return before["step"] < min((limit for limit in limits if limit), default=0)


def _check_same_data(session: Session, restored: checkpoints.Checkpoint) -> None:
    if restored.extra["fingerprint"] != session.examples.fingerprint:
        raise CheckpointError(f"{session.table.source}: the data is not what the run was trained on; its contents have changed")


def _how_to_go_on(folder: RunFolder) -> str:
    return f"Go on with: tfrun resume {progress.shown(folder.path)}"


@contextmanager
def stop_on_signals() -> Iterator[list[int]]:
    """Gives a list that the first SIGINT or SIGTERM is put into; the second one ends the process at once."""
    received: list[int] = []

    def handle(number: int, _frame: Any) -> None:
        received.append(number)
        signal.signal(number, signal.SIG_DFL)

    numbers = (signal.SIGINT, signal.SIGTERM)
    earlier = [signal.signal(number, handle) for number in numbers]
    try:
        yield received
    finally:
        for number, handler in zip(numbers, earlier, strict=True):
            signal.signal(number, handler)
