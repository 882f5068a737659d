"""Whether examples are streamed, given the memory that they need."""

from __future__ import annotations

import pytest
import tensorflow as tf

from tfrun import host_memory
from tfrun.engine import private
from tfrun.engine.training import residency


@pytest.mark.parametrize(
    ("setting", "num_bytes", "reason"),
    [
        ("stream", 1000, "data.residency=stream"),
        ("auto", 2**20, None),
        ("auto", 3 * 2**20, "3 MiB of examples don't fit into the device's memory beside the model"),
        ("device", 3 * 2**20, None),
    ],
)
def test_reasons_to_stream(setting: str, num_bytes: int, reason: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(residency, "available_bytes", lambda: 2**20)
    assert residency.reason_to_stream(setting, num_bytes) == reason


def test_examples_may_use_half_of_the_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [])
    monkeypatch.setattr(host_memory, "free_bytes", lambda: 1000.0)
    assert residency.available_bytes() == 500


def test_examples_may_use_half_of_the_smallest_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: ["GPU:0", "GPU:1"])
    monkeypatch.setattr(private, "gpu_memory_limits", lambda: [400, 200])
    assert residency.available_bytes() == 100
