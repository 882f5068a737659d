"""Files of a run folder that are damaged, or another program's: each is one line that names the file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tfrun.errors import CheckpointError
from tfrun.files.json_files import read_metrics
from tfrun.files.runs import RunFolder

RUN = {"run_id": "a", "status": "completed", "epoch": 1, "step": 2, "metrics": {"val/loss": None, "val/mae": 1.5}}
LINE = {"epoch": 1, "step": 2, "val/loss": 0.5}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"status": "runn', "is damaged, and can't be read as JSON: Unterminated string"),
        ("[" * 100_000, "is damaged, and can't be read as JSON: it is nested too deeply"),
        ("\xff", "is damaged, and can't be read as JSON"),
        ("[1]", r"is damaged: it must be a mapping. Received: \[1\]"),
        ("null", "is damaged: it must be a mapping. Received: None"),
        ("{}", "is damaged, or not of a run of tfrun: it has no 'status'"),
        (json.dumps(RUN | {"metrics": 3}), "not of a run of tfrun. Received: metrics=3"),
        (json.dumps(RUN | {"metrics": {"val/loss": "abc"}}), "Received: metrics={'val/loss': 'abc'}"),
        (json.dumps(RUN | {"best": None}), "Received: best=None"),
        (json.dumps(RUN | {"timing": []}), r"Received: timing=\[\]"),
        (json.dumps(RUN | {"overrides": 3}), "Received: overrides=3"),
        (json.dumps(RUN | {"resumed": 5}), "Received: resumed=5"),
        (json.dumps(RUN | {"step": "5"}), "Received: step='5'"),
    ],
)
def test_a_damaged_run_json(tmp_path: Path, content: str, reason: str) -> None:
    folder = RunFolder(tmp_path)
    folder.run_json.write_bytes(content.encode("latin-1"))
    with pytest.raises(CheckpointError, match=rf"^{folder.run_json}: .*{reason}"):
        folder.read_run()
    folder.run_json.write_text(json.dumps(RUN))
    assert folder.read_run() == RUN


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"epoch": 2, "st', "is damaged, and can't be read as JSON"),
        ("", "is damaged, and can't be read as JSON"),
        ("[2]", "must be a mapping"),
        ('{"epoch": 2}', "a line has an epoch, a step and numbers"),
        ('{"epoch": 2, "step": 4, "val/loss": "x"}', "a line has an epoch, a step and numbers"),
    ],
)
def test_a_damaged_line_of_metrics_jsonl(tmp_path: Path, line: str, reason: str) -> None:
    folder = RunFolder(tmp_path)
    first = json.dumps(LINE)
    folder.metrics_jsonl.write_text(f"{first}\n{line}\n{first}\n")
    with pytest.raises(CheckpointError, match=rf"^{folder.metrics_jsonl}:2: .*{reason}"):
        folder.read_metrics()


def test_a_line_that_a_crash_has_torn_is_left_out(tmp_path: Path) -> None:
    """It has no newline; a damaged one that has is no torn one, wherever it is."""
    folder = RunFolder(tmp_path)
    first = json.dumps(LINE)
    for rest in ("", "{", first):
        folder.metrics_jsonl.write_text(f"{first}\n{rest}")
        assert folder.read_metrics() == [LINE]
    folder.metrics_jsonl.write_text(f"{first}\nno JSON\n")
    with pytest.raises(CheckpointError, match=r"metrics.jsonl:2: is damaged, and can't be read as JSON"):
        folder.read_metrics()
    length = len(first) + 1
    assert read_metrics(folder.metrics_jsonl, length) == [LINE]
    for wrong in (length - 1, length + 3):
        with pytest.raises(CheckpointError, match=rf":{1 + (wrong > length)}: is damaged: .* {wrong} bytes were whole"):
            read_metrics(folder.metrics_jsonl, wrong)


def test_preprocessing_json(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with pytest.raises(CheckpointError, match=r"preprocessing.json: can't be read: No such file"):
        folder.read_preprocessing()
    folder.preprocessing_json.write_text("[]")
    with pytest.raises(CheckpointError, match=r"preprocessing.json: is damaged: it must be a mapping"):
        folder.read_preprocessing()
