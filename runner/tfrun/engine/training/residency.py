"""Whether the examples lie on the device, or are streamed from the host."""

from __future__ import annotations

import tensorflow as tf

from tfrun import host_memory
from tfrun.engine import private


def reason_to_stream(residency: str, bytes_to_load: int) -> str | None:
    """Returns why the examples stay on the host, or None if they go to the device.

    Args:
        residency: the config's `data.residency`.
        bytes_to_load: the memory that they would need there.
    """
    if residency == "stream":
        return "data.residency=stream"
    if residency == "auto" and bytes_to_load > min(available_bytes(), host_memory.data_limit()):
        return f"{bytes_to_load / 2**20:,.0f} MiB of examples don't fit into the device's memory beside the model"
    return None


def available_bytes() -> float:
    """Returns how much of the device's memory examples may use: half of the smallest GPU's, or of the free memory."""
    limits = private.gpu_memory_limits() if tf.config.list_logical_devices("GPU") else []
    return 0.5 * min(limits, default=host_memory.free_bytes())
