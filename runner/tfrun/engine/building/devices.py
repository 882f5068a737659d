"""Where and how the program computes: devices, precision, determinism."""

from __future__ import annotations

import faulthandler
import functools
import logging
import os
import signal

import keras
import tensorflow as tf

from tfrun.config.automatic import AUTO
from tfrun.config.settings import StrategySettings, TrainerSettings
from tfrun.engine import private
from tfrun.engine.building import tpus
from tfrun.engine.building.threads import num_threads
from tfrun.errors import ConfigError, ResourceError
from tfrun.stop_signals import stop_signals
from tfrun.workers.cluster import VARIABLE, Cluster

MAKING_SECONDS = 120.0  # after which a strategy isn't made any more, which takes a second once all have met

log = logging.getLogger(__name__)


def prepare(
    trainer: TrainerSettings, strategy: StrategySettings, *, seed: int, cluster: Cluster | None = None
) -> tf.distribute.Strategy:
    """Sets devices, precision, determinism and seeds of this process, and returns the strategy.

    TensorFlow accepts a choice of devices only before its runtime has started, so that all runs of a process must have
    the same.

    Args:
        trainer: `precision`, `deterministic` and `threads` are used. `threads.choose` decides what `auto` becomes.
        strategy: the devices.
        seed: for Python, NumPy, TensorFlow and Keras.
        cluster: the workers that train together. None trains in this process alone, also with a strategy of several:
            what isn't training needs no other worker.

    Raises:
        ResourceError: a requested device doesn't exist, or TensorFlow has started with others.
    """
    try:
        _choose_devices(strategy, cluster)
        if trainer.threads not in (None, AUTO, num_threads()):
            tf.config.threading.set_intra_op_parallelism_threads(trainer.threads)
    except RuntimeError as error:
        raise ResourceError(
            "strategy, trainer.threads: TensorFlow had started before with other devices or threads, in the data set "
            f"for example, which can set the same with tf.config before it begins. Received: {error}"
        ) from error
    if trainer.deterministic:
        tf.config.experimental.enable_op_determinism()
    if cluster is not None:  # before anything else uses a device
        over_workers = _over_workers(cluster.as_variable())
        begin_names_and_draws(trainer, seed=seed)
        return over_workers
    over_tpu = tpus.over_tpu(strategy.address) if strategy.name == "tpu" else None
    begin_names_and_draws(trainer, seed=seed)
    return over_tpu or (_mirrored(strategy) if strategy.name == "mirrored" else tf.distribute.get_strategy())


def begin_names_and_draws(trainer: TrainerSettings, *, seed: int) -> None:
    """Makes Keras number automatic names from the start and draw from the seed, as in the first run of a process."""
    with private.keep_kernels():
        keras.utils.clear_session(free_memory=False)
    set_precision(trainer.precision)  # which clearing the session forgets
    with private.keep_kernels():
        keras.utils.set_random_seed(seed)


def set_precision(precision: str) -> None:
    """Sets the precision of this process, as `trainer.precision` calls it."""
    keras.config.set_floatx("float64" if precision == "float64" else "float32")
    keras.config.set_dtype_policy(precision)


def _choose_devices(strategy: StrategySettings, cluster: Cluster | None) -> None:
    """Makes those devices visible to TensorFlow that the strategy uses. Raises ResourceError if there is no GPU."""
    name = strategy.name
    gpus = tf.config.list_physical_devices("GPU")
    if name == "gpu" and not gpus:
        raise ResourceError(f"strategy: gpu needs a GPU that TensorFlow sees. Received devices: {device_names()}")
    is_tried = cluster is not None and cluster.is_local  # several processes can't share a GPU
    if (name == "cpu" or is_tried) and gpus:
        tf.config.set_visible_devices([], "GPU")
    for gpu in take_memory_as_needed() if name != "cpu" and not is_tried else []:
        log.warning("TensorFlow had started before, in the data set: it takes all memory of %s", gpu)
    if strategy.logical_cpus:
        parts = [tf.config.LogicalDeviceConfiguration()] * strategy.logical_cpus
        tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], parts)


def take_memory_as_needed() -> list[str]:
    """Makes TensorFlow take the memory of GPUs as it needs it, and returns those of which it has taken all before."""
    taken = []
    for gpu in tf.config.list_physical_devices("GPU"):
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except RuntimeError:  # TensorFlow has started
            taken.append(gpu.name)
    return taken


def _mirrored(strategy: StrategySettings) -> tf.distribute.Strategy:
    """Returns the strategy that trains on several devices. Raises ResourceError if there aren't enough."""
    kind = "CPU" if strategy.logical_cpus else "GPU"
    known = [device.name.removeprefix("/device:") for device in tf.config.list_logical_devices(kind)]
    devices = strategy.devices or known
    missing = [device for device in devices if device.upper() not in known]
    if missing:
        raise ResourceError(
            f"strategy.devices: no such device. Received: {', '.join(missing)}. Known: {', '.join(known)}"
        )
    if len(devices) < 2:
        raise ResourceError(
            f"strategy: mirrored needs two devices or more. Received: {', '.join(devices) or 'none'} "
            f"of {device_names()}. strategy.logical_cpus=2 splits the CPU to try it out"
        )
    return _strategy_over(tuple(devices))


@functools.cache
def _strategy_over(devices: tuple[str, ...]) -> tf.distribute.Strategy:
    """Returns this process' strategy over some devices.

    A strategy numbers the sums over its replicas from the same start, and TensorFlow remembers the shape of each number
    for as long as the process lives: a second strategy would end a run whose model has other shapes.
    """
    return tf.distribute.MirroredStrategy(devices)


@functools.cache
def _over_workers(variable: str) -> tf.distribute.Strategy:
    """Returns this process' strategy over several workers, once all of them make it.

    While it waits for the others it can't be interrupted, so they must have met before.

    Args:
        variable: the text of TF_CONFIG.
    """
    os.environ[VARIABLE] = variable
    # one of them may have died since they met; no thread of Python could end this process then
    faulthandler.dump_traceback_later(MAKING_SECONDS, exit=True)
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    finally:
        faulthandler.cancel_dump_traceback_later()
    for number in stop_signals():  # TensorFlow has put a handler of its own in place of Python's
        signal.signal(number, signal.getsignal(number))
    return strategy


def warnings(trainer: TrainerSettings, strategy: StrategySettings) -> list[str]:
    """Returns a line for each setting that works, but probably not as its user expects."""
    on_cpu = strategy.name == "cpu" or not tf.config.list_physical_devices("GPU")
    if trainer.precision == "mixed_float16" and on_cpu:
        return ["trainer.precision: a CPU computes mixed_float16 in float32; trainer.precision=float32 is faster"]
    return []


def check_batch_size(batch_size: int, strategy: tf.distribute.Strategy, *, microbatches: int) -> None:
    """Raises ConfigError if a batch can't be divided equally among replicas and microbatches."""
    counts = {"replicas": strategy.num_replicas_in_sync, "microbatches": microbatches}
    if batch_size % (counts["replicas"] * counts["microbatches"]):
        factors = " × ".join(f"{count} {name}" for name, count in counts.items() if count > 1)
        raise ConfigError(f"data.batch_size: must be a multiple of {factors}. Received: {batch_size}")


def device_names() -> str:
    """Returns the names of the devices that TensorFlow sees, for messages and `run.json`."""
    return ", ".join(device.name.removeprefix("/physical_device:") for device in tf.config.list_physical_devices())
