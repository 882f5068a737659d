"""The checkpoint of a run that is resumed, and data that no longer fit it."""

from __future__ import annotations

import io
import json
import shutil
from typing import Any

import pytest
from rich.console import Console

from tfrun.engine.resuming import without_source
from tfrun.errors import CheckpointError
from tfrun.files import checkpoints
from tfrun.files.runs import RunFolder

PER_EPOCH = 6  # steps of the small run


def console() -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, width=200), out


def test_a_run_that_is_resumed_reads_no_other_weights(small: Any) -> None:
    settings = small.settings("model=linear", "init.from=gone.weights.h5")
    init = without_source(settings, RunFolder(small.root)).init
    assert (init.source, init.reads_weights) == (str(small.root), False)


def test_a_run_without_a_checkpoint_starts_from_the_first_step(small: Any) -> None:
    folder = small.train("trainer.max_epochs=1")
    run = folder.read_run()
    shutil.rmtree(folder.checkpoints)
    folder.write_run(run | {"status": "failed"})
    before = folder.run_json.read_bytes()
    with pytest.raises(CheckpointError, match=f"the folder is gone, though .* says that step {PER_EPOCH} was saved"):
        small.resume(folder, "trainer.max_epochs=1", resume=True)
    assert folder.run_json.read_bytes() == before
    folder.write_run(run | {"status": "failed", "step": 0, "epoch": 0})  # it failed before its first checkpoint
    out, text = console()
    small.resume(folder, "trainer.max_epochs=1", resume=True, console=out)
    assert "no checkpoint yet: starting from the first step" in text.getvalue()
    assert [line["epoch"] for line in folder.read_metrics()] == [1, 1]


def test_a_run_is_not_resumed_on_other_data(small: Any) -> None:
    folder = small.train("trainer.max_epochs=1")
    path = max(folder.checkpoints.glob("step-*")) / "manifest.json"
    assert json.loads(path.read_text())["extra"]["fingerprint"]
    saved = checkpoints.newest(folder.checkpoints)
    assert saved is not None
    checkpoints.save(
        folder.checkpoints,
        PER_EPOCH + 1,
        slots=saved.slots,
        arrays=saved.arrays,
        extra=saved.extra | {"fingerprint": "other"},
        keep=3,
    )
    run = folder.read_run()
    folder.write_run(run | {"status": "stopped"})
    before = folder.run_json.read_bytes()
    with pytest.raises(CheckpointError, match="have changed since the run was trained on it. Fingerprint then: other"):
        small.resume(folder, resume=True)
    assert folder.run_json.read_bytes() == before


def test_a_run_without_a_checkpoint_is_not_resumed_on_other_data_either(small: Any) -> None:
    folder = small.train("trainer.max_epochs=1")
    shutil.rmtree(folder.checkpoints)
    run = folder.read_run() | {"status": "failed", "step": 0, "epoch": 0}
    folder.write_run(run | {"data": run["data"] | {"fingerprint": "other"}})
    before = folder.run_json.read_bytes()
    with pytest.raises(CheckpointError, match=f"Fingerprint then: other, now: {run['data']['fingerprint']}. Other"):
        small.resume(folder, "trainer.max_epochs=1", resume=True)
    assert folder.run_json.read_bytes() == before
    folder.write_run(run | {"data": {}})  # a mistake in the config ended it before it read its data
    small.resume(folder, "trainer.max_epochs=1", resume=True)
    assert folder.read_run()["data"]["fingerprint"] == run["data"]["fingerprint"]
