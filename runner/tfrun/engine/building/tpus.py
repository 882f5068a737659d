"""Finds a TPU and makes its strategy. It was never tried on one: only the error without a TPU was."""

from __future__ import annotations

import functools
import os

import tensorflow as tf

from tfrun.errors import ResourceError

LOCAL = "local"  # the TPU of this host, in TensorFlow's words
NAMED_BY = ("TPU_NAME", "KUBE_GOOGLE_CLOUD_TPU_ENDPOINTS")  # variables that TensorFlow reads


@functools.cache
def over_tpu(address: str | None) -> tf.distribute.Strategy:
    """Returns this process' strategy over the cores of a TPU.

    Args:
        address: its name or grpc:// address. None is what the environment names, or this host's own.

    Raises:
        ResourceError: there is none.
    """
    is_named = any(os.environ.get(name) for name in NAMED_BY)
    name = address or (None if is_named else LOCAL)
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=name)
        if name != LOCAL:
            tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver)
    except (tf.errors.OpError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0].partition(" with these attrs")[0]
        raise ResourceError(
            f"strategy: tpu needs a TPU on this host, or its address in strategy.address or TPU_NAME. "
            f"Received: {address or 'null'}: {reason}"
        ) from error
