#!/usr/bin/env python
"""How fast tfrun trains beside Keras' fit() and other loops, as ratios measured side by side in one run.

    scripts/bench.py                         every case
    scripts/bench.py --case wide_deep-512    one
    scripts/bench.py --quick                 few rounds: whether it works, not how fast it is
    scripts/bench.py --json results.json     the numbers as well
    scripts/bench.py --patience 60           waits before each measurement, so long at most, for an idle machine

A round runs every contender once, one after the other, so that what slows the machine down slows them all; a ratio is
taken within a round, and the median over the rounds is shown with the least and the greatest. "others" is how many
cores other processes used meanwhile: they slow fit()'s many small calls more than one long call. All train the same
model, built by tfrun's own components, on the same rows, float32. Before anything is timed, all follow the same order
for one epoch from the same weights, and their validation losses have to agree: nobody is fast by doing less.

What is timed, always as training steps per second:
    tfrun       the whole program as `tfrun …` runs it, from its first block's end to the end of its loop: training,
                metrics, validation after each epoch, curves and metrics.jsonl, the progress lines, one checkpoint on
                the way and one at the end
    fit()       with metrics and validation_data, without a progress bar, checkpoint or logger
    other loops with metrics and validation; the bare loop with neither: it is the limit
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
import io
import json
import math
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any
from unittest import mock

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.table import Table
from tensorflow.python.framework.config import disable_op_determinism

from tfrun import cli, schema
from tfrun.compose import session
from tfrun.engine import loop
from tfrun.engine.session import build_session
from tfrun.engine.step import gather
from tfrun.table import load_table

EVALUATION_ROWS = 1024  # tfrun's; whoever may choose gets the same
TOLERANCE = 1e-4  # of the losses after one epoch in the same order, relative
BASE = "fit() default"
LIMIT = "bare loop"
QUIET_CORES = 0.2

Data = tuple[Any, Any]  # inputs and targets
Train = Callable[[Data, int, bool], Any]  # (rows, epochs, whether to shuffle) → trains


@dataclass(frozen=True)
class Case:
    """A model on a data set.

    Attributes:
        write: writes the data set into a folder and returns the overrides that name it.
        words: the other overrides.
        groups: whether the model asks for several optimizers, so that a single Adam is another contender.
        loss: Keras' own, for the loop that the others are checked against.
        xla: whether XLA's loop suits the model here.
        epochs: of tfrun's run.
        fit_epochs: of one call of anyone else.
    """

    write: Callable[[Path], list[str]]
    words: list[str]
    groups: bool
    loss: Callable[[], keras.losses.Loss]
    xla: bool
    epochs: int
    fit_epochs: int


def write_numbers(folder: Path) -> list[str]:
    """20,480 rows of 8 normal numbers and a smooth target of them."""
    random = np.random.default_rng(0)
    x = random.normal(size=(20480, 8)).astype("float32")
    w = random.normal(size=8)
    y = np.tanh(x @ w) + 0.3 * x[:, 0] * x[:, 1] + 0.1 * random.normal(size=len(x))
    path = folder / "numbers.csv"
    header = ",".join([*(f"x{k}" for k in range(8)), "y"])
    np.savetxt(path, np.column_stack([x, y]), fmt="%.7g", delimiter=",", header=header, comments="")
    return ["data=csv", f"data.path={path}", "data.target=y"]


def write_images(folder: Path) -> list[str]:
    """1,280 images of 28 × 28 noise, 0 to 1, in 10 classes."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, size=(1280, 28, 28)).astype("float32") / 255
    path = folder / "images.npz"
    np.savez(path, x=images, y=random.integers(0, 10, size=len(images)))
    return ["data=npz", f"data.path={path}", "metric=classification", "loss=sparse_categorical_crossentropy"]


def _wide_deep(batch_size: int, epochs: int, fit_epochs: int) -> Case:
    words = ["model=wide_deep", "loss=huber", f"data.batch_size={batch_size}"]
    return Case(write_numbers, words, True, keras.losses.Huber, True, epochs, fit_epochs)


CASES = {
    "wide_deep-32": _wide_deep(32, epochs=200, fit_epochs=3),
    "wide_deep-512": _wide_deep(512, epochs=1000, fit_epochs=12),
    "cnn-32": Case(
        write_images,
        ["model=cnn", "data.batch_size=32"],
        groups=False,
        loss=lambda: keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        xla=False,
        epochs=9,
        fit_epochs=3,
    ),
}
ONE_ADAM = ["optimizer=adam"]


@dataclass(frozen=True, repr=False)  # TensorFlow's warnings print it, with all its rows
class Setup:
    """A contender's own copy of the model and of what belongs to it; `optimizers` each with its variables."""

    model: keras.Model
    loss: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    metrics: list[keras.metrics.Metric]
    val_metrics: list[keras.metrics.Metric]
    optimizers: list[tuple[keras.optimizers.Optimizer, list[keras.Variable]]]
    train: Data
    val: Data
    first_epoch: Data
    batch_size: int

    @property
    def steps_per_epoch(self) -> int:
        return len(self.train[1]) // self.batch_size

    def optimizer(self) -> keras.optimizers.Optimizer:
        """Returns one optimizer for fit(): Keras' MultiOptimizer where there are several."""
        if len(self.optimizers) == 1:
            return self.optimizers[0][0]
        owners = {variable.path: optimizer for optimizer, variables in self.optimizers for variable in variables}
        return keras.optimizers.MultiOptimizer(lambda variable: owners[variable.path])

    def step(self, x: Any, y: tf.Tensor) -> tf.Tensor:
        """Trains on one batch and returns its loss."""
        with tf.GradientTape() as tape:
            y_pred = self.model(x, training=True)
            loss = tf.reduce_mean(self.loss(y, y_pred))
        variables = [variable for _, own in self.optimizers for variable in own]
        gradients = tape.gradient(loss, [variable.value for variable in variables])
        start = 0
        for optimizer, own in self.optimizers:
            optimizer.apply(gradients[start : start + len(own)], own)
            start += len(own)
        for metric in self.metrics:
            metric.update_state(y, y_pred)
        return loss

    def evaluate(self, x: Any, y: tf.Tensor) -> tf.Tensor:
        """Updates the validation metrics with one batch and returns the sum of its losses."""
        y_pred = self.model(x, training=False)
        for metric in self.val_metrics:
            metric.update_state(y, y_pred)
        return tf.reduce_sum(self.loss(y, y_pred))

    def val_loss(self, loss: keras.losses.Loss) -> float:
        """Returns Keras' own loss over the validation rows."""
        return float(loss(self.val[1], self.model(self.val[0], training=False)))


def build(words: Sequence[str]) -> Setup:
    """Builds what tfrun would train, from the same overrides."""
    with session(words) as hydra:
        config = schema.normalize(hydra.compose(words).config, hydra.catalog, words)
        made = build_session(config, hydra.catalog, load_table(config["data"], hydra.catalog))
    disable_op_determinism()
    examples, step = (made.examples.inputs, made.examples.targets), made.parts.step
    return Setup(
        made.parts.model,
        step.loss,
        step.metrics,
        made.parts.val_metrics,
        [(group.optimizer, group.variables) for group in step.active],
        take(examples, made.examples.splits["train"]),
        take(examples, made.examples.splits["val"]),
        take(examples, made.order.block(0, made.order.steps_per_epoch)),
        made.order.batch_size,
    )


def take(data: Any, rows: np.ndarray) -> Any:
    """Returns the given rows of every array."""
    return tf.nest.map_structure(lambda array: array[rows], data)


def fit(setup: Setup, jit: bool | str = "auto", steps_per_execution: int = 1, gathered: bool = False) -> Train:
    """Keras' own loop; `gathered` gives it whole batches gathered in tf.data instead of arrays."""
    best = jit != "auto"
    how = {"jit_compile": jit, "steps_per_execution": steps_per_execution}
    setup.model.compile(setup.optimizer(), setup.loss, metrics=setup.metrics, **how)
    options: dict[str, Any] = {"validation_batch_size": EVALUATION_ROWS} if best else {}

    def train(data: Data, epochs: int, shuffle: bool) -> None:
        if gathered:
            batches = gathered_batches(data, setup.batch_size, shuffle)
            setup.model.fit(batches, epochs=epochs, shuffle=False, validation_data=setup.val, verbose=0, **options)
        else:
            x, y = take(data, np.arange(len(data[1]) // setup.batch_size * setup.batch_size))
            options_of_arrays = {"batch_size": setup.batch_size, "shuffle": shuffle, **options}
            setup.model.fit(x, y, epochs=epochs, validation_data=setup.val, verbose=0, **options_of_arrays)

    return train


def gathered_batches(data: Data, batch_size: int, shuffle: bool) -> tf.data.Dataset:
    """One epoch of batches, each gathered at once by row numbers; a new order each time it is iterated over."""
    x, y = tf.nest.map_structure(tf.constant, data)
    steps = len(data[1]) // batch_size

    def order(_: tf.Tensor) -> tf.data.Dataset:
        rows = tf.range(len(data[1]))
        rows = tf.random.shuffle(rows) if shuffle else rows
        return tf.data.Dataset.from_tensor_slices(tf.reshape(rows[: steps * batch_size], [steps, batch_size]))

    batches = tf.data.Dataset.range(1).flat_map(order).map(lambda rows: gather((x, y), rows)).prefetch(2)
    return batches.apply(tf.data.experimental.assert_cardinality(steps))


def per_step(setup: Setup) -> Train:
    """A compiled step, called from Python for each batch of a tf.data set, as the guides write it."""
    step, evaluate = tf.function(setup.step), tf.function(setup.evaluate)

    def train(data: Data, epochs: int, shuffle: bool) -> None:
        batches = tf.data.Dataset.from_tensor_slices(data)
        batches = batches.shuffle(len(data[1])) if shuffle else batches
        batches = batches.batch(setup.batch_size, drop_remainder=True).prefetch(2)
        validation = tf.data.Dataset.from_tensor_slices(setup.val).batch(EVALUATION_ROWS)
        for _ in range(epochs):
            for x, y in batches:
                loss = step(x, y)
            for x, y in validation:
                loss = evaluate(x, y)
            read_and_reset(setup, loss)

    return train


def stream(setup: Setup) -> Train:
    """The loop over an epoch's tf.data iterator inside one graph."""

    @tf.function
    def epoch(iterator: Any, num_steps: tf.Tensor) -> tf.Tensor:
        total = tf.constant(0.0)
        for _ in tf.range(num_steps):
            x, y = next(iterator)
            total += setup.step(x, y)
        return total

    evaluate = tf.function(setup.evaluate)

    def train(data: Data, epochs: int, shuffle: bool) -> None:
        iterator = iter(gathered_batches(data, setup.batch_size, shuffle).repeat())
        for _ in range(epochs):
            epoch(iterator, tf.constant(len(data[1]) // setup.batch_size))
            read_and_reset(setup, evaluate(*setup.val))

    return train


def bare(setup: Setup, xla: bool) -> Train:
    """An epoch over resident tensors as one loop that keeps the sum of losses: no metrics, no validation."""
    batch_size, setup = setup.batch_size, without_metrics(setup)

    @tf.function(jit_compile=xla)
    def epoch(data: Any, order: tf.Tensor) -> tf.Tensor:
        total = tf.constant(0.0)
        for k in tf.range(tf.shape(order)[0] // batch_size):
            rows = tf.reshape(tf.slice(order, [k * batch_size], [batch_size]), [batch_size])
            total += setup.step(*gather(data, rows))
        return total

    random = np.random.default_rng(0)

    def train(data: Data, epochs: int, shuffle: bool) -> None:
        resident, rows = tf.nest.map_structure(tf.constant, data), np.arange(len(data[1]), dtype="int32")
        for _ in range(epochs):
            float(epoch(resident, tf.constant(random.permutation(rows) if shuffle else rows)))

    return train


def without_metrics(setup: Setup) -> Setup:
    """Returns the setup for training alone."""
    return Setup(**{**vars(setup), "metrics": [], "val_metrics": []})


def read_and_reset(setup: Setup, loss: tf.Tensor) -> None:
    """Brings an epoch's metrics to the host."""
    float(loss)
    for metric in [*setup.metrics, *setup.val_metrics]:
        float(metric.result())
        metric.reset_state()


def eager(setup: Setup, loss: keras.losses.Loss) -> float:
    """Trains one epoch in the first epoch's order by a plain loop with Keras' own loss; returns its mean loss."""
    setup, losses = Setup(**{**vars(without_metrics(setup)), "loss": loss}), []
    for start in range(0, len(setup.first_epoch[1]), setup.batch_size):
        x, y = take(setup.first_epoch, np.arange(start, start + setup.batch_size))
        losses.append(float(setup.step(tf.nest.map_structure(tf.constant, x), tf.constant(y))))
    return statistics.fmean(losses)


@dataclass(frozen=True)
class Run:
    """A run of tfrun: steps per second of the whole program and within its blocks, and what came before them."""

    rate: float
    rate_in_blocks: float
    first_seconds: float
    mode: str
    num_checkpoints: int
    last_line: dict[str, float]


def run_tfrun(words: Sequence[str]) -> Run:
    """Runs the command in this process, its output into a sink."""
    marks: list[tuple[float, int]] = []
    train = loop.train

    def marked_train(*args: Any, **kwargs: Any) -> Any:
        call = inspect.signature(train).bind(*args, **kwargs)
        show = call.arguments["show"]

        def marked_show(step: int, *rest: Any) -> None:
            show(step, *rest)
            marks.append((time.perf_counter(), step))

        call.arguments["show"] = marked_show
        ended = train(*call.args, **call.kwargs)
        marks.append((time.perf_counter(), marks[-1][1]))
        return ended

    root = Path(tempfile.mkdtemp())
    try:
        with mock.patch.object(loop, "train", marked_train), contextlib.redirect_stdout(io.StringIO()):
            started = time.perf_counter()
            exit_code = cli.main([*words, f"output_root={root}"])
        if exit_code != 0:
            raise SystemExit(f"tfrun {' '.join(words)} ended with exit code {exit_code}")
        (path,) = root.glob("outputs/*/*/run.json")
        run = json.loads(path.read_text())
        lines = (path.parent / "metrics.jsonl").read_text().splitlines()
        (begun, first_step), (ended, last_step) = marks[0], marks[-1]
        return Run(
            (last_step - first_step) / (ended - begun),
            run["timing"]["steps_per_second"] or math.nan,
            begun - started,
            run["engine"]["mode"],
            len(list((path.parent / "checkpoints").glob("step-*"))),
            next(line for line in map(json.loads, reversed(lines)) if "val/loss" in line),
        )
    finally:
        # tfrun turns it on for the process; the others run without it, as they do by default
        disable_op_determinism()
        shutil.rmtree(root, ignore_errors=True)


def make_others(case: Case, words: Sequence[str]) -> dict[str, Callable[[], tuple[Setup, Train]]]:
    """Returns the contenders beside tfrun by name, each to be built when its turn comes."""
    adam = [*words, *ONE_ADAM]
    spe = min(128, build(adam).steps_per_epoch)

    def made(how: Callable[..., Train], own: Sequence[str], *options: Any) -> Callable[[], tuple[Setup, Train]]:
        def make() -> tuple[Setup, Train]:
            setup = build(own)
            return setup, how(setup, *options)

        return make

    others = {
        BASE: made(fit, adam),
        "fit() default, once more": made(fit, adam),
        f"fit() {spe} steps/call": made(fit, adam, False, spe),
        f"fit() {spe} steps/call, jit": made(fit, adam, True, spe),
        f"fit() {spe} steps/call, gathered": made(fit, adam, False, spe, True),
        "tf.function per step": made(per_step, adam),
        "tf.range over tf.data": made(stream, adam),
        f"{LIMIT}, {'XLA' if case.xla else 'graph'}": made(bare, adam, case.xla),
    }
    if case.groups:
        others["fit() default, MultiOptimizer"] = made(fit, words)
    return others


def check_same_work(case: Case, words: Sequence[str]) -> dict[str, float]:
    """Lets all follow one order for one epoch from the same weights; returns each one's relative difference.

    Compared are the validation losses with those of a plain eager loop, for tfrun the mean training losses as well.
    """
    differences = {}
    mode = [f"trainer.compile={'xla' if case.xla else 'graph'}", "trainer.max_epochs=1"]
    for own in (words, [*words, *ONE_ADAM]):
        setup = build(own)
        train_loss = eager(setup, case.loss())
        val_loss = setup.val_loss(case.loss())
        line = run_tfrun([*own, *mode]).last_line
        name = "tfrun" if own is words else "tfrun, one Adam"
        differences[name] = max(abs(line["train/loss"] / train_loss - 1), abs(line["val/loss"] / val_loss - 1))
        for other, make in make_others(case, words).items():
            if (other == "fit() default, MultiOptimizer") == (own is words and case.groups):
                other_setup, train = make()
                train(other_setup.first_epoch, 1, False)
                differences[other] = abs(other_setup.val_loss(case.loss()) / val_loss - 1)
        if not case.groups:
            break
    far = {name: difference for name, difference in differences.items() if not difference <= TOLERANCE}
    if far:
        raise SystemExit(f"not the same work: losses after one epoch differ by more than {TOLERANCE}. Received: {far}")
    return differences


@dataclass
class Result:
    """What was measured of a contender: in each round steps per second and others' cores; the seconds of its start."""

    first_seconds: float
    rates: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)


class Neighbours:
    """How many cores other processes use, from /proc/stat; nan where there is none."""

    def __init__(self) -> None:
        self._before = self._now()

    @staticmethod
    def _now() -> tuple[float, float]:
        """Returns the seconds of the clock and the CPU seconds that others have used."""
        ticks = os.sysconf("SC_CLK_TCK")
        try:
            user, nice, system, _, _, interrupt, soft, *_ = map(int, Path("/proc/stat").read_text().split()[1:9])
        except OSError:
            return time.perf_counter(), math.nan
        own = os.times()
        return time.perf_counter(), (user + nice + system + interrupt + soft) / ticks - own.user - own.system

    def cores(self) -> float:
        """Returns the mean since the last call."""
        (began, used_before), self._before = self._before, self._now()
        return max(0.0, (self._before[1] - used_before) / (self._before[0] - began))

    def wait(self, patience: float) -> None:
        """Waits until they are quiet, or for `patience` seconds; then begins a new mean."""
        ends = time.perf_counter() + patience
        while time.perf_counter() < ends:
            self.cores()
            time.sleep(1)
            if not self.cores() > QUIET_CORES:
                break
        self.cores()


def measure(
    case: Case, words: Sequence[str], rounds: int, epochs: int, fit_epochs: int, patience: float
) -> dict[str, Result]:
    """Runs the rounds and returns the results by contender."""
    neighbours = Neighbours()
    own = {"tfrun": words} | ({"tfrun, one Adam": [*words, *ONE_ADAM]} if case.groups else {})
    whole = [f"trainer.max_epochs={epochs}", f"checkpoint.every_epochs={epochs // 2}"]
    results: dict[str, Result] = {}
    for name, overrides in own.items():
        run = run_tfrun([*overrides, *whole])
        results[name] = Result(run.first_seconds)
        results[f"{name}: within its blocks"] = Result(math.nan)
    others: dict[str, tuple[Train, Setup, int]] = {}
    for name, make in make_others(case, words).items():
        setup, train = make()
        # as long as the others' calls, for a limit that starting the call doesn't lower
        num_epochs = fit_epochs * 20 if name.startswith(LIMIT) and case.xla else fit_epochs
        others[name] = train, setup, num_epochs
        seconds = [timed(train, setup.train, num_epochs) for _ in range(2)]
        results[name] = Result(seconds[0] - seconds[1])
    for _ in range(rounds):
        for name, overrides in own.items():
            neighbours.wait(patience)
            run = run_tfrun([*overrides, *whole])
            results[name].others.append(neighbours.cores())
            if run.num_checkpoints < 2:
                raise SystemExit("the run has no checkpoint but the last one; one on the way has to be timed")
            results[name].rates.append(run.rate)
            results[f"{name}: within its blocks"].rates.append(run.rate_in_blocks)
        for name, (train, setup, num_epochs) in others.items():
            neighbours.wait(patience)
            steps = num_epochs * setup.steps_per_epoch
            results[name].rates.append(steps / timed(train, setup.train, num_epochs))
            results[name].others.append(neighbours.cores())
    return results


def timed(train: Train, rows: Data, epochs: int) -> float:
    """Returns the seconds that training took."""
    started = time.perf_counter()
    train(rows, epochs, True)
    return time.perf_counter() - started


def ratios(results: dict[str, Result], base: str, name: str) -> list[float]:
    """Returns a contender's rate by the base's in the same round."""
    return [own / other for own, other in zip(results[name].rates, results[base].rates, strict=True)]


def rows_of(results: dict[str, Result], differences: dict[str, float]) -> list[dict[str, Any]]:
    """Returns a case's rows of the table."""
    return [
        {
            "contender": name,
            "steps_per_second": statistics.median(result.rates),
            "least": min(result.rates),
            "greatest": max(result.rates),
            "ratio": statistics.median(ratios(results, BASE, name)),
            "least_ratio": min(ratios(results, BASE, name)),
            "greatest_ratio": max(ratios(results, BASE, name)),
            "first_call_seconds": None if math.isnan(result.first_seconds) else result.first_seconds,
            "others_cores": statistics.median(result.others) if result.others else None,
            "loss_difference": differences.get(name),
        }
        for name, result in results.items()
    ]


def print_table(console: Console, case: str, rows: list[dict[str, Any]]) -> None:
    """Prints a case's table."""
    table = Table(title=case, title_justify="left")
    table.add_column("contender", no_wrap=True)
    for head in (
        "steps/s",
        "least..greatest",
        "÷ fit()",
        "least..greatest",
        "first call s",
        "others",
        "loss differs by",
    ):
        table.add_column(head, justify="right", no_wrap=True)
    for row in rows:
        first, others, difference = row["first_call_seconds"], row["others_cores"], row["loss_difference"]
        table.add_row(
            row["contender"],
            f"{row['steps_per_second']:,.0f}",
            f"{row['least']:,.0f}..{row['greatest']:,.0f}",
            f"{row['ratio']:.2f}",
            f"{row['least_ratio']:.2f}..{row['greatest_ratio']:.2f}",
            "" if first is None else f"{first:.2f}",
            "" if others is None else f"{others:.1f}",
            "" if difference is None else f"{difference:.0e}",
        )
    console.print(table)


def print_summary(console: Console, results: dict[str, Result]) -> None:
    """Prints tfrun beside the best of fit() and beside the limit."""
    fits = [name for name in results if name.startswith("fit()")]
    best = max(fits, key=lambda name: statistics.median(results[name].rates))
    limit = next(name for name in results if name.startswith(LIMIT))
    for base in (best, limit):
        own = {name: ratios(results, base, name) for name in ("tfrun", "tfrun, one Adam") if name in results}
        parts = [f"{name} {statistics.median(r):.2f} [{min(r):.2f}..{max(r):.2f}]" for name, r in own.items()]
        console.print(f"÷ {base}: {'; '.join(parts)}", highlight=False)


def machine() -> dict[str, Any]:
    """Returns what the numbers were measured on."""
    models = [line.partition(":")[2].strip() for line in _cpu_lines() if line.startswith("model name")]
    return {
        "date": date.today().isoformat(),
        "cpu": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "devices": [device.name for device in tf.config.list_physical_devices()],
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
    }


def _cpu_lines() -> list[str]:
    with contextlib.suppress(OSError):
        return Path("/proc/cpuinfo").read_text().splitlines()
    return []


def main() -> None:
    """Measures what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", choices=CASES, help="only this one; may be repeated")
    parser.add_argument("--quick", action="store_true", help="two short rounds")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--patience", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the results")
    args = parser.parse_args()

    console = Console(width=150)
    report: dict[str, Any] = {"machine": machine(), "rounds": 2 if args.quick else args.rounds, "cases": {}}
    console.print(", ".join(f"{key} {value}" for key, value in report["machine"].items()), highlight=False)
    for name in args.case or CASES:
        case = CASES[name]
        folder = Path(tempfile.mkdtemp())
        try:
            words = [*case.write(folder), *case.words]
            differences = check_same_work(case, words)
            epochs, fit_epochs = (max(2, case.epochs // 10), 1) if args.quick else (case.epochs, case.fit_epochs)
            results = measure(case, words, report["rounds"], epochs, fit_epochs, args.patience)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        rows = rows_of(results, differences)
        print_table(console, f"{name}: {report['rounds']} rounds", rows)
        print_summary(console, results)
        report["cases"][name] = rows
        if args.json:
            args.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
