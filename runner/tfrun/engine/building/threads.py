"""The number of threads of an operation on a CPU: what `trainer.threads=auto` becomes.

A small operation takes less time than sharing it, and XLA's loop of a small model loses up to 60 % with two threads, in
some runs and not in others. TensorFlow fixes the number when its runtime starts, so it follows from an estimate of the
work of a step, never from a measurement: the same command has the same number on the same machine.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Mapping

import keras
import tensorflow as tf

from tfrun import host_cores
from tfrun.config.automatic import AUTO
from tfrun.config.earlier_runs import EarlierTrainer
from tfrun.config.settings import GroupSettings, Settings
from tfrun.data.preprocessing import Preprocessing
from tfrun.engine.building.tables import EXACT
from tfrun.engine.building.work import Work, work_of

LARGE_PRODUCT = 2**23  # floating-point operations: a matrix product that is worth sharing
LARGE_ARRAY = 2**20  # values: an array whose update is worth sharing
BY_ROWS = {kind.__name__.lower() for kind in EXACT}  # optimizers that may update by rows without `rows: lazy`

log = logging.getLogger("tfrun")


def num_threads() -> int:
    """Returns the threads that an operation has in this process, or will have once TensorFlow's runtime starts."""
    return tf.config.threading.get_intra_op_parallelism_threads() or host_cores.num_cores()


def limit() -> int | None:
    """Returns the threads of an operation, or None if there is one for each core."""
    count = num_threads()
    return None if count == host_cores.num_cores() else count


def choose(settings: Settings, preprocessing: Preprocessing, *, build: Callable[[], keras.Model]) -> bool:
    """Sets the number of threads of this process, if it is `auto` and TensorFlow's runtime hasn't started.

    Args:
        settings: the config.
        preprocessing: describes the data set.
        build: returns the model, not called yet.

    Returns:
        Whether the model was built to estimate its work. Keras remembers its names then, and has to forget them.
    """
    trainer = settings.trainer
    if trainer.threads != AUTO or not _can_be_set():
        return False
    if isinstance(trainer, EarlierTrainer):
        tf.config.threading.set_intra_op_parallelism_threads(trainer.began_with_threads or 0)
        return False
    if num_threads() == 1 or _has_accelerators(settings):
        return False
    num_rows = max(1, settings.data.batch_size // trainer.microbatches)
    try:
        work = work_of(build, preprocessing.features, num_rows=num_rows)
    except Exception as error:  # if it is a mistake, the model that is trained raises it again
        log.info("the model can't be built without values, so that all cores are used: %s", error)
        work = None
    if work is not None and _can_be_set():
        work = work._replace(array=max(work.array, largest_whole_table(work.tables, settings.groups.values())))
        log.info("the largest operation of a step: %d floating-point operations, an array of %d values", *work[:2])
        tf.config.threading.set_intra_op_parallelism_threads(1 if is_small(work) else 0)
    return True


def is_small(work: Work) -> bool:
    """Returns whether one thread trains a model at least as fast as several."""
    return work.product < LARGE_PRODUCT and work.array < LARGE_ARRAY


def largest_whole_table(tables: Mapping[str, int], groups: Collection[GroupSettings]) -> int:
    """Returns the number of values of the largest table all of which an optimizer updates, or 0.

    An estimate: `building.tables` finds out once the optimizers are built.

    Args:
        tables: the number of values of each table, by its path.
        groups: the optimizer groups.
    """

    def is_whole(path: str) -> bool:
        owners = [group for group in groups if re.search(group.match, path)]
        return any(owner.rows == "dense" or (owner.rows == "auto" and owner.name not in BY_ROWS) for owner in owners)

    return max((values for path, values in tables.items() if is_whole(path)), default=0)


def _can_be_set() -> bool:
    """Returns whether TensorFlow's runtime hasn't started yet."""
    before = tf.config.threading.get_intra_op_parallelism_threads()
    try:
        tf.config.threading.set_intra_op_parallelism_threads(before + 1)  # the same number would always be accepted
    except RuntimeError:
        return False
    tf.config.threading.set_intra_op_parallelism_threads(before)
    return True


def _has_accelerators(settings: Settings) -> bool:
    """Returns whether the operations run on a GPU, or on several devices, which share the threads of the host."""
    strategy = settings.strategy.name
    return strategy in ("mirrored", "multi_worker", "tpu") or (
        strategy != "cpu" and bool(tf.config.list_physical_devices("GPU"))
    )
