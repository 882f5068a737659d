"""`metrics.jsonl`, the results that run.json gets, and journals on disks that refuse."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tfrun.errors import ResourceError
from tfrun.files import journals
from tfrun.files.journals import Journal, JsonLines, MultiWriter, Results, cut_back, full_names, journal_lengths


def lines(root: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (root / "metrics.jsonl").read_text().splitlines()]


EPOCH = {"train": {"loss": 0.5, "mae": 2.0}, "val": {"loss": 0.25, "mae": 1.0}}


def test_json_lines(tmp_path: Path) -> None:
    writer = JsonLines.open(tmp_path / "metrics.jsonl")
    writer.write_steps(5, {"loss": 1.0})
    writer.write_epoch(1, 11, values=EPOCH)
    writer.write_epoch(2, 22, values={"train": {"loss": float("nan")}})
    writer.flush()
    assert len(lines(tmp_path)) == 2  # before it is closed
    writer.close()
    first, second = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert first == '{"epoch": 1, "step": 11, "train/loss": 0.5, "train/mae": 2.0, "val/loss": 0.25, "val/mae": 1.0}'
    assert second == '{"epoch": 2, "step": 22, "train/loss": null}'


JOURNAL = """\
{"epoch": 1, "step": 10, "train/loss": 0.5, "val/loss": 1e-05}
{"epoch": 2, "step": 20, "train/loss": 0.25, "val/loss": Infinity}
"""


def test_results_of_a_resumed_run(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(JOURNAL)
    results = Results.read(path, best_step=10, monitor="val/loss")
    best = {"epoch": 1, "step": 10, "monitor": "val/loss", "train/loss": 0.5, "val/loss": 1e-05}
    assert results.metrics == {"train/loss": 0.25, "val/loss": None}  # an earlier version wrote Infinity
    assert results.best == best
    results.write_epoch(3, 30, values={"train": {"loss": 0.125}, "val": {"loss": 2.0}})
    results.write_epoch(3, 30, values={"test": {"loss": 4.0}})
    assert results.metrics == {"train/loss": 0.125, "val/loss": 2.0, "test/loss": 4.0}
    assert results.best == best
    results.write_epoch(4, 40, values={"train": {"loss": 0.0}, "val": {"loss": 0.0}}, is_best=True)
    assert results.best == {"epoch": 4, "step": 40, "monitor": "val/loss", "train/loss": 0.0, "val/loss": 0.0}


def test_results_before_the_first_epoch(tmp_path: Path) -> None:
    results = Results.read(tmp_path / "metrics.jsonl", best_step=0, monitor="val/loss")
    assert results.metrics == results.best == {}


def test_full_names() -> None:
    assert full_names({"train": {"loss": 1.0}, "val": {"loss": 2.0, "mae": 3.0}}) == {
        "train/loss": 1.0, "val/loss": 2.0, "val/mae": 3.0,
    }  # fmt: skip


class Remembers:
    """A writer that keeps the calls, or refuses them as a full disk does."""

    def __init__(self, calls: list[tuple[Any, ...]], refuses: str = ""):
        self._calls = calls
        self._refuses = refuses

    def _call(self, name: str, *arguments: Any) -> None:
        if name == self._refuses:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._calls.append((name, *arguments))

    def write_steps(self, step: int, values: Mapping[str, float]) -> None:
        self._call("write_steps", step, values)

    def write_epoch(
        self, epoch: int, step: int, *, values: Mapping[str, Mapping[str, float]], is_best: bool = False
    ) -> None:
        self._call("write_epoch", epoch, step, values, is_best)

    def flush(self) -> None:
        self._call("flush")

    def close(self) -> None:
        self._call("close")


def test_each_writer_gets_everything_in_order() -> None:
    first: list[tuple[Any, ...]] = []
    second: list[tuple[Any, ...]] = []
    writer = MultiWriter([Remembers(first), Remembers(second)])
    writer.write_steps(1, {"loss": 2.0})
    writer.write_epoch(1, 2, values=EPOCH, is_best=True)
    writer.flush()
    writer.close()
    assert first == [("write_steps", 1, {"loss": 2.0}), ("write_epoch", 1, 2, EPOCH, True), ("flush",), ("close",)]
    assert second == first


@pytest.mark.parametrize("method", ["write_steps", "write_epoch", "flush", "close"])
def test_a_writer_that_is_refused_is_named(method: str) -> None:
    writer = MultiWriter([Remembers([], refuses=method)])
    arguments = {
        "write_steps": {"step": 1, "values": {"loss": 2.0}},
        "write_epoch": {"epoch": 1, "step": 2, "values": EPOCH},
    }
    with pytest.raises(ResourceError, match="^Remembers: can't be written: No space left on device$"):
        getattr(writer, method)(**arguments.get(method, {}))


def test_a_journal_is_written_a_piece_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"before\n")
    journal = Journal.open(path, "metrics.jsonl")
    journal.write(b"small\n")
    assert path.read_bytes() == b"before\n"
    journal.write(bytes(journals.PIECE_BYTES))
    assert path.stat().st_size == 7 + 6 + journals.PIECE_BYTES
    journal.write(b"last\n")
    journal.close()
    assert path.read_bytes().endswith(b"\x00last\n")


def test_data_that_is_refused_is_written_later_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "metrics.jsonl"
    journal = Journal.open(path, "metrics.jsonl")
    journal.write(b"one\n")
    journal.flush()

    def write_a_part(file: Any, data: bytes, name: str) -> None:
        os.write(file.fileno(), data[:2])

    with monkeypatch.context() as patch:
        patch.setattr("tfrun.files.disk.write", write_a_part)
        journal.write(b"two\n")
        with pytest.raises(OSError, match="No space left on device: ") as refused:
            journal.flush()
    assert refused.value.filename == str(path)
    assert path.read_bytes() == b"one\n"  # no half line
    journal.write(b"three\n")
    journal.close()
    assert path.read_bytes() == b"one\ntwo\nthree\n"


def test_journals_are_cut_back_to_their_lengths(tmp_path: Path) -> None:
    events = tmp_path / "tensorboard" / "train" / "events.out.tfevents.1.tfrun"
    later = tmp_path / "tensorboard" / "val" / "events.out.tfevents.2.tfrun"
    for path in (events, later):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"0123456789")
    line = b'{"epoch": 1, "step": 2}\n'
    (tmp_path / "metrics.jsonl").write_bytes(line + b'{"epoch":')
    (tmp_path / "tfrun.log").write_bytes(b"is no journal")
    name = "tensorboard/train/events.out.tfevents.1.tfrun"
    assert journal_lengths(tmp_path)[name] == 10 and len(journal_lengths(tmp_path)) == 3
    shorter = cut_back(tmp_path, {name: 4, "metrics.jsonl": 99, "tensorboard/test/events.out.tfevents.3.tfrun": 1})
    lost = "has lost lines since the checkpoint, which can't be restored"
    assert shorter == [f"metrics.jsonl {lost}", f"tensorboard/test/events.out.tfevents.3.tfrun {lost}"]
    assert events.read_bytes() == b"0123" and not later.exists()
    assert (tmp_path / "tfrun.log").exists() and (tmp_path / "metrics.jsonl").read_bytes() == line


@pytest.mark.parametrize(
    ("after", "warned"), [(b'{"epoch": 2, "step": 4}\n', False), (b'{"epoch": 2, "st', False), (b"no JSON\n", True)]
)
def test_a_damaged_line_that_is_cut_off_is_told(after: bytes, warned: bool, tmp_path: Path) -> None:
    line = b'{"epoch": 1, "step": 2}\n'
    (tmp_path / "metrics.jsonl").write_bytes(line + after)
    warnings = cut_back(tmp_path, {"metrics.jsonl": len(line)})
    assert [f"{tmp_path}/metrics.jsonl:2: is damaged, and can't be read as JSON" in text for text in warnings] == (
        [True] if warned else []
    )
    assert (tmp_path / "metrics.jsonl").read_bytes() == line


def test_a_disk_that_refuses_is_one_line() -> None:
    path = Path("/dev/full")
    writer = MultiWriter([JsonLines.open(path)])
    writer.write_epoch(1, 11, values={"val": {"loss": 0.5}})
    with pytest.raises(ResourceError, match=f"{path}: can't be written: "):
        writer.flush()
