"""Where the program runs: device strategy, precision, determinism. Called once, before TensorFlow's runtime starts."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfrun.config.settings import StrategySettings, TrainerSettings
from tfrun.engine import private
from tfrun.errors import ConfigError, ResourceError


def prepare(trainer: TrainerSettings, strategy: StrategySettings, seed: int) -> tf.distribute.Strategy:
    """Sets the process up and returns the strategy.

    Args:
        trainer: `precision`, `deterministic` and `threads` are used.
        strategy: which devices.
        seed: for Python, NumPy, TensorFlow and Keras.

    Raises:
        ResourceError: a device that was asked for isn't there.
    """
    with private.keep_kernels():
        keras.utils.clear_session(free_memory=False)  # automatic names begin anew, as in a process of the run's own
    name = strategy.name
    gpus = tf.config.list_physical_devices("GPU")
    if name == "gpu" and not gpus:
        raise ResourceError(f"strategy: gpu needs a GPU that TensorFlow sees. Received devices: {device_names()}")
    if name == "cpu" and gpus:
        tf.config.set_visible_devices([], "GPU")
    for gpu in gpus if name != "cpu" else []:
        tf.config.experimental.set_memory_growth(gpu, True)
    if strategy.logical_cpus:
        parts = [tf.config.LogicalDeviceConfiguration()] * strategy.logical_cpus
        tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], parts)

    if trainer.threads not in (None, tf.config.threading.get_intra_op_parallelism_threads()):
        tf.config.threading.set_intra_op_parallelism_threads(trainer.threads)
    keras.config.set_floatx("float64" if trainer.precision == "float64" else "float32")
    keras.config.set_dtype_policy(trainer.precision)
    if trainer.deterministic:
        tf.config.experimental.enable_op_determinism()
    with private.keep_kernels():
        keras.utils.set_random_seed(seed)
    return _mirrored(strategy) if name == "mirrored" else tf.distribute.get_strategy()


def _mirrored(strategy: StrategySettings) -> tf.distribute.Strategy:
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
    return tf.distribute.MirroredStrategy(devices)


def doubts(trainer: TrainerSettings, strategy: StrategySettings) -> list[str]:
    """Returns what works, but hardly as it was meant."""
    on_cpu = strategy.name == "cpu" or not tf.config.list_physical_devices("GPU")
    if trainer.precision == "mixed_float16" and on_cpu:
        return ["trainer.precision: a CPU computes mixed_float16 by way of float32, which alone is faster"]
    return []


def check_batch_size(batch_size: int, strategy: tf.distribute.Strategy, microbatches: int) -> None:
    """Raises ConfigError where a batch can't be shared out evenly."""
    replicas = strategy.num_replicas_in_sync
    if batch_size % (replicas * microbatches):
        parts = " × ".join(
            f"{n} {what}" for n, what in ((replicas, "replicas"), (microbatches, "microbatches")) if n > 1
        )
        raise ConfigError(f"data.batch_size: must be a multiple of {parts}. Received: {batch_size}")


def device_names() -> str:
    """Returns the devices that TensorFlow sees, for messages and `run.json`."""
    return ", ".join(device.name.removeprefix("/physical_device:") for device in tf.config.list_physical_devices())
