from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfrun.errors import CheckpointError
from tfrun.files import checkpoints, copy_run
from tfrun.files.runs import RunFolder

EARLIER = {"schedule_end": "step after the last", "offsets": "float32"}


@pytest.fixture
def source(tmp_path: Path) -> RunFolder:
    """A run with a checkpoint at step 10, whose journal has grown since."""
    folder = RunFolder(tmp_path / "0")
    (folder.path / "tensorboard" / "train").mkdir(parents=True)
    (folder.path / "metrics.jsonl").write_text('{"epoch": 1}\n{"epoch": 2}\n')
    (folder.path / "tensorboard" / "train" / "events.out.tfevents.1.tfrun").write_bytes(b"0123456789")
    slots: dict[str, dict[str, Any]] = {
        "model/0000": {"path": "kernel", "shape": [2], "dtype": "float32"},
        "learning_rate/all/0000": {"path": "rate", "shape": [], "dtype": "float32"},
    }
    arrays = {"model/0000": np.array([1, 2], np.float32), "learning_rate/all/0000": np.array(0.5, np.float32)}
    lengths = {"metrics.jsonl": 13, "tensorboard/train/events.out.tfevents.1.tfrun": 4}
    extra = {"journals": lengths, "engine": {"mode": "xla"}, "config": {"seed": 1}}
    checkpoints.save(folder.checkpoints, 10, slots=slots, arrays=arrays, extra=extra, keep=1)
    return folder


def test_a_copy_has_the_state_and_the_journals_of_the_checkpoint(source: RunFolder, tmp_path: Path) -> None:
    target = RunFolder(tmp_path / "1")
    target.path.mkdir()
    source.write_run({"run_id": source.run_id, "status": "running"} | EARLIER)
    copy_run.begin(source, 1, step=10, target=target, rates={"all": 0.25}, config={"seed": 2})
    saved = checkpoints.newest(target.checkpoints)
    assert saved is not None and saved.step == 10 and saved.extra["engine"] == {"mode": "xla"}
    assert saved.extra["config"] == {"seed": 2}
    assert saved.arrays["model/0000"].tolist() == [1, 2]
    assert saved.arrays["learning_rate/all/0000"] == np.float32(0.25)
    assert saved.arrays["learning_rate/all/0000"].dtype == np.float32
    assert (target.path / "metrics.jsonl").read_text() == '{"epoch": 1}\n'
    assert (target.path / "tensorboard" / "train" / "events.out.tfevents.1.tfrun").read_bytes() == b"0123"
    run = json.loads((target.path / "run.json").read_text())
    branch = {"run_id": source.run_id, "epoch": 1, "step": 10}
    fields = {"run_id": target.run_id, "status": "stopped", "epoch": 1, "step": 10, "branch": branch}
    assert run == fields | EARLIER
    whole = checkpoints.newest(source.checkpoints)
    assert whole is not None and whole.arrays["learning_rate/all/0000"] == np.float32(0.5)


def test_a_checkpoint_that_is_not_there_leaves_no_run(source: RunFolder, tmp_path: Path) -> None:
    target = RunFolder(tmp_path / "1")
    target.path.mkdir()
    with pytest.raises(CheckpointError, match="the checkpoint of step 20 can't be read"):
        copy_run.begin(source, 2, step=20, target=target, rates={}, config={})
    assert list(target.path.iterdir()) == []


def test_the_event_files_of_a_copy_are_under_its_words(source: RunFolder, tmp_path: Path) -> None:
    target = RunFolder(tmp_path / "1")
    target.path.mkdir()
    source.write_run({"run_id": source.run_id, "status": "running"})
    copy_run.begin(source, 1, step=10, target=target, rates={}, config={}, words="mlp lr=0.1")
    name = "tensorboard/mlp lr=0.1/train/events.out.tfevents.1.tfrun"
    assert (target.path / name).read_bytes() == b"0123"
    saved = checkpoints.newest(target.checkpoints)
    assert saved is not None and saved.extra["journals"] == {"metrics.jsonl": 13, name: 4}
