"""What the tables' benchmark does with Keras: the encoded rows for the others, the check of the losses, and fit()."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import keras_loops
from benchmarks.contenders import Loop, Tfrun
from benchmarks.machine import peak_bytes
from benchmarks.setup import Reference, Setup, build, select
from benchmarks.tables_data import TABLES, Batches
from benchmarks.tfrun_run import in_fresh_process, run_tfrun

LOSS = "binary_crossentropy"
FEW_ROWS = "data.limit_rows=10000"  # enough to build a model whose rows come from elsewhere
WARM_STEPS = 2
MIN_STEPS = 3


def prepare(overrides: Sequence[str], folder: Path) -> None:
    """Writes the encoded training rows, all weights but the tables and the tables' number of rows into a folder."""
    setup = build(overrides)
    encoded(setup, setup.train).save(folder / "train")
    weights = {variable.path: variable.numpy() for variable in setup.model.variables if variable.path not in TABLES}
    np.savez(folder / "others.npz", table_rows=setup.model.wide.num_ids, **weights)


def encoded(setup: Setup, data: Any) -> Batches:
    """Returns rows as loops outside of tfrun train them."""
    inputs, targets = data
    ids = inputs["categories"] + setup.model.wide.offsets
    return Batches(np.ascontiguousarray(inputs["numbers"]), ids.astype("int32"), targets.astype("float32"))


def check(overrides: Sequence[str], optimizers: Mapping[str, Sequence[str]], folder: Path) -> dict[str, dict[str, Any]]:
    """Trains a short epoch with each optimizer; writes its rows and the initial weights into the folder.

    Args:
        overrides: of the model and the rows, as many as a short epoch has.
        optimizers: each optimizer's overrides. `adam` is lazy: a plain loop doesn't do the same, so that tfrun's losses
            are the ones to reach.
        folder: where to write.

    Returns:
        For each optimizer the losses that all others have to reach (`train_loss`, `val_loss`), and how far off those of
        tfrun and fit() were, relatively.
    """
    setup = build([*overrides, *next(iter(optimizers.values()))])
    np.savez(folder / "weights.npz", **{variable.path: variable.numpy() for variable in setup.model.variables})
    encoded(setup, setup.first_epoch).save(folder / "train")
    encoded(setup, setup.val).save(folder / "val")
    found: dict[str, dict[str, Any]] = {}
    for name, own in optimizers.items():
        whole = [*overrides, *own]
        differences = {}
        if name == "adam":
            line = in_fresh_process(run_tfrun, [*whole, "trainer.max_epochs=1"]).last_line
            losses = {"train_loss": line["train/loss"], "val_loss": line["val/loss"]}
        else:
            reference = Reference.of(whole, LOSS)
            losses = {"train_loss": reference.train_loss, "val_loss": reference.val_loss}
            tfrun = Tfrun("tfrun", whole, mode="xla", epochs=1, is_quick=True)
            fit = Loop("fit()", whole, make_loop=keras_loops.fit, seconds=0.0)
            differences = {contender.name: contender.difference(reference) for contender in (tfrun, fit)}
        found[name] = {**losses, "differences": differences}
    return found


def measure_fit(overrides: Sequence[str], folder: Path, *, batch_size: int, seconds: float) -> dict[str, Any]:
    """Lets fit() train for some seconds on rows that `prepare` wrote; returns what it measured."""
    setup = build([*overrides, FEW_ROWS])
    batches = Batches.load(folder / "train")
    categories = (batches.ids - setup.model.wide.offsets).astype("int32")
    data = ({"numbers": batches.numbers, "categories": categories}, batches.targets.astype(setup.train[1].dtype))
    most = len(batches.targets) // batch_size
    fit = keras_loops.fit(setup)

    def train(steps: int) -> float:
        """Returns the seconds of one call of fit()."""
        rows = select(data, np.arange(steps * batch_size))
        started = time.perf_counter()
        fit(rows, None, epochs=1, shuffle=True)
        return time.perf_counter() - started

    train(WARM_STEPS)
    a_step = train(WARM_STEPS) / WARM_STEPS
    if seconds / a_step > MIN_STEPS:  # the first steps of a call take longer
        few = min(most, max(MIN_STEPS, int(0.2 * seconds / a_step)))
        a_step = train(few) / few
    steps = min(most, max(MIN_STEPS, int(seconds / a_step)))
    cpu_started = time.process_time()
    wall = train(steps)
    cpu = time.process_time() - cpu_started
    return {"steps_per_second": steps / wall, "cpu_ms": 1000 * cpu / steps, "peak_mb": peak_bytes() / 1e6}
