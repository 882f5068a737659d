"""Files that are replaced whole, whatever happens meanwhile."""

from __future__ import annotations

import logging
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tfrun.console import library_output_to
from tfrun.errors import ResourceError
from tfrun.files.disk import refuse_link, remove_left_behind, write_atomically
from tfrun.files.journals import Journal, cut_back
from tfrun.files.runs import RunFolder
from tfrun.sweep.ledger import Ledger


def test_write_atomically_replaces(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    write_atomically(path, "first")
    write_atomically(path, "the second")
    assert path.read_text() == "the second"
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.json"
    write_atomically(path, "old")

    def full(_file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ResourceError, match=r"run\.json: can't be written: No space left"):
        write_atomically(path, "new")
    assert path.read_text() == "old"


def test_readers_never_see_half_a_file(tmp_path: Path) -> None:
    path, contents = tmp_path / "run.json", {"a" * 100_000, "b" * 50_000}
    write_atomically(path, "a" * 100_000)
    seen, done = set(), threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.add(path.read_text())

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read)
        for _ in range(50):
            for content in contents:
                write_atomically(path, content)
        done.set()
        reading.result()
    assert seen <= contents


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    folder = RunFolder(tmp_path / "run")
    (folder.path / "tensorboard" / "train").mkdir(parents=True)
    links = ["run.lock", "metrics.jsonl", "tfrun.log", "trials.jsonl", "tensorboard/train/events.out.tfevents.1.x"]
    links += ["run.json", "study.db", f".run.json.{os.getpid()}"]
    for name in links:
        (folder.path / name).symlink_to(precious)

    def hold() -> None:
        with folder.held():
            pass

    through_none = "can't be written: it is a link, and tfrun writes through none"
    for write in (
        hold,
        lambda: Journal.open(folder.metrics_jsonl, "metrics.jsonl"),
        lambda: cut_back(folder.path, {"metrics.jsonl": 1, "tensorboard/train/events.out.tfevents.1.x": 1}),
        lambda: Ledger(folder.path).record_state(0, "failed"),
        lambda: folder.write_run({}),
        lambda: refuse_link(folder.path / "study.db"),
    ):
        with pytest.raises(ResourceError, match=through_none):
            write()
    with library_output_to(folder.log):
        logging.getLogger("tfrun").warning("this line is lost")
    folder.write_run({"status": "failed"})  # the temporary link is gone now
    assert folder.read_run() == {"status": "failed"} and not folder.run_json.is_symlink()
    assert precious.read_text() == "mine"


def test_only_what_killed_writes_left_behind_is_removed(tmp_path: Path) -> None:
    for name in (".run.json.12345", ".config.yaml.1", ".hidden", "run.json.12345", "run.json"):
        (tmp_path / name).write_text("")
    (tmp_path / ".folder.1").mkdir()
    remove_left_behind(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".folder.1", ".hidden", "run.json", "run.json.12345"]
