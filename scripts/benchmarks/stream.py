"""Streaming beside what bounds it: the bare tf.data pipeline, and the same run with its rows on the device.

The bare pipeline shuffles row numbers, gathers batches of rows that lie in memory and prefetches them; nothing is
trained on them. Streaming from disk is compared with that one too. tfrun streaming is timed as a whole program, from
its first block's end to the end of its loop; resident it is timed within its blocks, so that it is the bound that
computing sets.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from rich.table import Table

from benchmarks import keras_loops, report
from benchmarks.cases import CASES
from benchmarks.results import spread
from benchmarks.setup import Data, Setup, Train, build
from benchmarks.tfrun_run import run_tfrun

EPOCHS = {"wide_deep-32": 200, "mlp-32": 20, "mlp-512": 30}  # of a run of tfrun: some seconds
SECONDS = 1.5  # about how long the loops beside tfrun run in a round
RESIDENT, BARE = "resident, within its blocks", "bare tf.data"
STREAM, STREAM_BLOCKS = "streaming from {}", "streaming from {}, within its blocks"
WANTED = 0.95

Rates = Callable[[], dict[str, float]]  # steps per second, by name


def run(rounds: int, json_file: Path | None) -> None:
    """Measures the cases, prints a table of each and writes the numbers.

    Args:
        rounds: how often everyone is timed, one after the other.
        json_file: where to write the numbers as well.
    """
    tf.get_logger().setLevel("ERROR")  # it takes the loops of one name for one that is traced again
    written: dict[str, Any] = {"machine": report.machine(), "rounds": rounds, "cases": {}}
    report.print_machine(written["machine"])
    for name in EPOCHS:
        rows = measure_case(name, rounds)
        print_table(f"{name}: {rounds} rounds", rows)
        written["cases"][name] = rows
        if json_file:
            json_file.write_text(json.dumps(written, indent=1) + "\n")


def measure_case(name: str, rounds: int) -> list[dict[str, Any]]:
    """Returns the rows of a case's table."""
    case, folder = CASES[name], Path(tempfile.mkdtemp())
    try:
        words = [*case.write(folder), *case.words, f"trainer.max_epochs={EPOCHS[name]}", "trainer.compile=xla"]
        sources = {"memory": words}
        if "data=npz" in words:
            sources = {"memory": [*words, f"data.path={compressed(folder)}"], "disk": words}
        contenders: list[Rates] = [partial(resident, words)]
        contenders += [partial(streaming, source, own) for source, own in sources.items()]
        contenders += [loop(words, BARE, bare_pipeline), loop(words, "tf.range over tf.data", keras_loops.stream)]
        rates: dict[str, list[float]] = {}
        for _ in range(rounds):
            for contender in contenders:
                for who, rate in contender().items():
                    rates.setdefault(who, []).append(rate)
        return rows_of(rates)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def compressed(folder: Path) -> Path:
    """Writes the images once more; those are read into memory, since the bytes in the file are not the array's."""
    path = folder / "compressed.npz"
    with np.load(folder / "images.npz") as archive:
        np.savez_compressed(path, **archive)
    return path


def resident(words: Sequence[str]) -> dict[str, float]:
    """Trains on rows on the device."""
    return {RESIDENT: run_tfrun([*words, "data.residency=device"]).rate_in_blocks}


def streaming(source: str, words: Sequence[str]) -> dict[str, float]:
    """Trains on rows that the host brings."""
    run = run_tfrun([*words, "data.residency=stream"])
    return {STREAM.format(source): run.rate, STREAM_BLOCKS.format(source): run.rate_in_blocks}


def loop(words: Sequence[str], name: str, how: Callable[[Setup], Train]) -> Rates:
    """Returns what times a loop over the rows, which is traced already."""
    setup = build(words)
    train = how(setup)

    def rate(epochs: int) -> float:
        started = time.perf_counter()
        train(setup.train, setup.val, epochs, True)
        return epochs * setup.steps_per_epoch / (time.perf_counter() - started)

    rate(1)
    epochs = max(1, round(SECONDS * rate(1) / setup.steps_per_epoch))
    return lambda: {name: rate(epochs)}


def bare_pipeline(setup: Setup) -> Train:
    """Iterates over the batches and does nothing with them."""

    @tf.function
    def epoch(iterator: Any, num_steps: tf.Tensor) -> tf.Tensor:
        last = tf.constant(0.0)
        for _ in tf.range(num_steps):
            _, y = next(iterator)
            last = tf.cast(y[0, 0], tf.float32)
        return last

    def train(data: Data, val: Data | None, epochs: int, shuffle: bool) -> None:
        iterator = iter(keras_loops.gathered_batches(data, setup.batch_size, shuffle).repeat())
        for _ in range(epochs):
            float(epoch(iterator, tf.constant(len(data[1]) // setup.batch_size)))

    return train


def rows_of(rates: dict[str, list[float]]) -> list[dict[str, Any]]:
    """Returns everyone's rate and its ratio to the lower of the two bounds, taken within each round."""
    bounds = [min(pair) for pair in zip(rates[BARE], rates[RESIDENT], strict=True)]
    return [
        {
            "contender": who,
            "steps_per_second": spread(own),
            "ratio": spread([rate / bound for rate, bound in zip(own, bounds, strict=True)]),
        }
        for who, own in rates.items()
    ]


def print_table(title: str, rows: Sequence[dict[str, Any]]) -> None:
    """Prints a case, and whether streaming reaches what is wanted of it."""
    table = Table(title=title, title_justify="left")
    for head in ["contender", "steps/s", "÷ min(bare tf.data, resident)", "least..greatest", ""]:
        table.add_column(head, justify="left" if head == "contender" else "right", no_wrap=True)
    judged = {STREAM.format(source) for source in ("memory", "disk")}
    for row in rows:
        ratio = row["ratio"]
        verdict = "" if ratio["median"] >= WANTED else f"below {WANTED}"
        table.add_row(
            row["contender"],
            f"{row['steps_per_second']['median']:,.0f}",
            f"{ratio['median']:.2f}",
            f"{ratio['least']:.2f}..{ratio['greatest']:.2f}",
            verdict if row["contender"] in judged else "",
        )
    report.console.print(table)
