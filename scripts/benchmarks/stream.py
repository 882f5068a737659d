"""Compares streaming with its two bounds: the bare tf.data pipeline, and the same run with its rows on the device.

The bare pipeline shuffles row numbers, gathers batches from memory and prefetches them, but trains
nothing. Images it gathers as bytes and scales, as a stream does. Streaming from disk, and from the store into which
Parquet, TFRecord and image files are converted, is compared with the same pipeline. A streaming tfrun is timed as a
whole program, from the end of its first block to the end of its loop; with its rows on the device
it is timed within its blocks, which is the bound that computing sets.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import tensorflow as tf
from rich.table import Table

from benchmarks import keras_loops, report, stored_sources
from benchmarks.cases import STREAMED
from benchmarks.results import spread
from benchmarks.setup import Data, Setup, Train, build
from benchmarks.tfrun_run import in_fresh_process, run_tfrun

EPOCHS = {
    "wide_deep-32": 200,
    "mlp-32": 20,
    "mlp-512": 30,
    "images-32": 20,
}  # of tfrun's run, so that it takes some seconds
SECONDS = 1.5  # about how long the other loops run in a round
RESIDENT = "resident, within its blocks"
BARE = "bare tf.data"
STREAM = "streaming from {}"
STREAM_BLOCKS = "streaming from {}, within its blocks"
MIN_RATIO = 0.95  # the target

Rates = Callable[[], dict[str, float]]  # steps per second, by name


def run(*, cases: Sequence[str], rounds: int, json_file: Path | None) -> None:
    """Measures the cases, prints a table of each and writes the numbers.

    Args:
        cases: their names.
        rounds: how often every contender is timed, one after the other.
        json_file: where to write the numbers as well.
    """
    # TensorFlow takes the loops' functions of one name for one function that is traced again, and warns
    tf.get_logger().setLevel("ERROR")
    written: dict[str, Any] = {"machine": report.machine(), "rounds": rounds, "cases": {}}
    report.print_machine(written["machine"])
    for name in cases:
        rows = measure_case(name, rounds)
        print_table(f"{name}: {rounds} rounds", rows)
        written["cases"][name] = rows
        report.write_json(written, json_file)


def measure_case(name: str, rounds: int) -> list[dict[str, Any]]:
    """Returns the rows of a case's table."""
    case = STREAMED[name]
    folder = Path(tempfile.mkdtemp())
    try:
        overrides = [*case.write(folder), *case.overrides, f"trainer.max_epochs={EPOCHS[name]}", "trainer.compile=xla"]
        sources = {"memory": overrides}
        if "data=npz" in overrides:
            sources = {"memory": [*overrides, f"data.path={compressed(folder)}"], "disk": overrides}
        contenders: list[Rates] = [partial(resident, overrides)]
        contenders += [partial(streaming, source, source_overrides) for source, source_overrides in sources.items()]
        stored = stored_sources.write(folder, overrides)
        contenders += [partial(streaming_from_store, folder, source, of_source) for source, of_source in stored.items()]
        make_bare = bare_pixels if "data=images" in overrides else bare_pipeline
        contenders.append(loop(overrides, BARE, make_loop=make_bare))
        contenders.append(loop(overrides, "tf.range over tf.data", make_loop=keras_loops.stream))
        rates: dict[str, list[float]] = {}
        for _ in range(rounds):
            for contender in contenders:
                for contender_name, rate in contender().items():
                    rates.setdefault(contender_name, []).append(rate)
        return rows_of(rates)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def compressed(folder: Path) -> Path:
    """Writes the images again, compressed: tfrun reads such a file into memory, since it can't map its bytes."""
    path = folder / "compressed.npz"
    with np.load(folder / "images.npz") as archive:
        np.savez_compressed(path, **archive)
    return path


def resident(overrides: Sequence[str]) -> dict[str, float]:
    """Returns the rate of tfrun with its rows on the device."""
    return {RESIDENT: in_fresh_process(run_tfrun, [*overrides, "data.residency=device"]).rate_in_blocks}


def streaming(source: str, overrides: Sequence[str]) -> dict[str, float]:
    """Returns the rates of tfrun with rows that the host streams to the device."""
    run = in_fresh_process(run_tfrun, [*overrides, "data.residency=stream"])
    return {STREAM.format(source): run.rate, STREAM_BLOCKS.format(source): run.rate_in_blocks}


def streaming_from_store(folder: Path, source: str, overrides: Sequence[str]) -> dict[str, float]:
    """Returns the rates of tfrun with rows that were converted into a store below `folder`, in the first round."""
    with mock.patch.dict(os.environ, {"TFRUN_DATA_MEMORY": "1", "XDG_CACHE_HOME": str(folder / "cache")}):
        return streaming(f"the store of {source}", overrides)


def loop(overrides: Sequence[str], name: str, *, make_loop: Callable[[Setup], Train]) -> Rates:
    """Builds a loop over the rows and traces it; returns a function that measures its rate."""
    setup = build(overrides)
    train = make_loop(setup)

    def rate(epochs: int) -> float:
        started = time.perf_counter()
        train(setup.train, setup.val, epochs=epochs, shuffle=True)
        return epochs * setup.steps_per_epoch / (time.perf_counter() - started)

    rate(1)
    epochs = max(1, round(SECONDS * rate(1) / setup.steps_per_epoch))
    return lambda: {name: rate(epochs)}


def bare_pipeline(setup: Setup) -> Train:
    """A loop that iterates over the batches and does nothing with them."""
    return _bare(lambda data, shuffle: keras_loops.gathered_batches(data, setup.batch_size, shuffle=shuffle), setup)


def bare_pixels(setup: Setup) -> Train:
    """The same of images, which lie in memory as bytes and become floats from 0 to 1 in each batch."""

    def batches(data: Data, shuffle: bool) -> tf.data.Dataset:
        x, y = data
        pixels = np.round(x * 255).astype(np.uint8)
        rows = keras_loops.gathered_batches((pixels, y), setup.batch_size, shuffle=shuffle)
        scaled = rows.map(lambda x, y: (tf.cast(x, tf.float32) * (1 / 255), y), num_parallel_calls=tf.data.AUTOTUNE)
        return scaled.prefetch(2)

    return _bare(batches, setup)


def _bare(batches: Callable[[Data, bool], tf.data.Dataset], setup: Setup) -> Train:
    @tf.function
    def epoch(iterator: Any, num_steps: tf.Tensor) -> tf.Tensor:
        last = tf.constant(0.0)
        for _ in tf.range(num_steps):
            _, y = next(iterator)
            last = tf.cast(y[0, 0], tf.float32)
        return last

    def train(data: Data, val: Data | None, *, epochs: int, shuffle: bool) -> None:
        iterator = iter(batches(data, shuffle).repeat())
        for _ in range(epochs):
            float(epoch(iterator, tf.constant(len(data[1]) // setup.batch_size)))

    return train


def rows_of(rates: dict[str, list[float]]) -> list[dict[str, Any]]:
    """Returns each contender's rate and its ratio to the lower of the two bounds, taken within each round."""
    bounds = [min(pair) for pair in zip(rates[BARE], rates[RESIDENT], strict=True)]
    return [
        {
            "contender": name,
            "steps_per_second": spread(by_round),
            "ratio": spread([rate / bound for rate, bound in zip(by_round, bounds, strict=True)]),
        }
        for name, by_round in rates.items()
    ]


def print_table(title: str, rows: Sequence[dict[str, Any]]) -> None:
    """Prints a case's table, and whether streaming reaches its target."""
    table = Table(title=title, title_justify="left")
    for head in ["contender", "steps/s", "÷ min(bare tf.data, resident)", "least..greatest", ""]:
        table.add_column(head, justify="left" if head == "contender" else "right", no_wrap=True)
    for row in rows:
        ratio = row["ratio"]
        verdict = "" if ratio["median"] >= MIN_RATIO else f"below {MIN_RATIO}"
        table.add_row(
            row["contender"],
            f"{row['steps_per_second']['median']:,.0f}",
            f"{ratio['median']:.2f}",
            f"{ratio['least']:.2f}..{ratio['greatest']:.2f}",
            verdict if row["contender"].startswith(STREAM.format("")) and "within" not in row["contender"] else "",
        )
    report.console.print(table)
