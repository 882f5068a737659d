"""Two replicas on two halves of the CPU against one device: the same training, but for rounding."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Tfrun = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.slow
def test_two_replicas_equal_one_device(tfrun: Tfrun, tmp_path: Path) -> None:
    common = ["trainer.max_epochs=3", "optimizer.groups.deep.clip_norm=0.1", "checkpoint.every_seconds=null"]
    lines = {}
    for name, own in {"one": [], "two": ["strategy=mirrored", "strategy.logical_cpus=2"]}.items():
        done = tfrun(*common, *own, f"name={name}")
        assert done.returncode == 0, done.stderr
        (run,) = (tmp_path / "outputs" / name).iterdir()
        lines[name] = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert len(lines["one"]) == 4
    for one, two in zip(lines["one"], lines["two"], strict=True):
        assert two == pytest.approx(one, rel=1e-5)


def test_a_batch_must_be_shared_out_evenly(tfrun: Tfrun, tmp_path: Path) -> None:
    done = tfrun("strategy=mirrored", "strategy.logical_cpus=2", "data.batch_size=31")
    assert done.returncode == 2
    assert done.stderr == "tfrun: error: data.batch_size: must be a multiple of 2 replicas. Received: 31\n"
    assert list(tmp_path.iterdir()) == []
