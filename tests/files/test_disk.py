"""Files that are replaced whole, whatever happens meanwhile."""

from __future__ import annotations

import logging
import os
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tfrun.console import library_output_to
from tfrun.engine.recording.tensorboard import TensorBoard
from tfrun.errors import ResourceError
from tfrun.files import checkpoints
from tfrun.files.disk import refuse_link, refuse_links_inside, remove_left_behind, try_folder, write_atomically
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


@pytest.mark.parametrize(
    "link", ["tensorboard", "checkpoints", ".hydra", "tensorboard/train", "checkpoints/step-000000003", "0"]
)
def test_a_folder_that_is_a_link_is_not_written_into(link: str, tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", RunFolder(tmp_path / "run")
    outside.mkdir()
    (folder.path / link).parent.mkdir(parents=True)
    (folder.path / link).symlink_to(outside)
    writes: list[Callable[[], object]] = [folder.held().__enter__]
    if link.startswith("tensorboard"):
        writes.append(lambda: TensorBoard(folder.tensorboard).write_epoch(1, 2, values={"train": {"mae": 1.0}}))
    if link == "checkpoints":
        writes.append(lambda: checkpoints.save(folder.checkpoints, 3, slots={}, arrays={}, extra={}, keep=1))
    for write in writes:
        with pytest.raises(ResourceError, match=f"^{folder.path / link}: can't be written: it is a link, and tfrun"):
            write()
    assert list(outside.iterdir()) == []


def test_links_of_a_person_s_own_and_a_run_behind_one_are_accepted(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    (folder.path / "checkpoints").mkdir(parents=True)
    for link in ("best", "2026-data", "checkpoints/newest"):
        (folder.path / link).symlink_to(tmp_path)
    (tmp_path / "latest").symlink_to(folder.path)
    for reached in (folder, RunFolder(tmp_path / "latest")):
        with reached.held():
            pass


def test_a_path_inside_a_run_leads_through_no_link(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    run = tmp_path / "run"
    (run / "real").mkdir(parents=True)
    (run / "predictions").symlink_to(tmp_path / "outside")
    (tmp_path / "latest").symlink_to(run)
    for reached in (run, tmp_path / "latest"):
        refuse_links_inside(run, reached / "real" / "new" / "rows.csv")
        with pytest.raises(ResourceError, match="predictions: can't be written: it is a link"):
            refuse_links_inside(run, reached / "predictions" / "new" / "rows.csv")
    (tmp_path / "link").symlink_to(tmp_path / "outside")
    refuse_links_inside(run, tmp_path / "link" / "rows.csv")  # a person has named it


def test_what_processes_that_are_gone_have_left_is_removed(tmp_path: Path) -> None:
    """Beside a file or a folder that several processes may write, only that of running ones stays."""
    gone = subprocess.Popen(["true"])
    gone.wait()
    names = [f".{name}.{pid}" for name in ("export", "other") for pid in (gone.pid, os.getpid(), os.getppid())]
    for name in names:
        (tmp_path / name / "model").mkdir(parents=True)
    (tmp_path / f".rows.csv.{gone.pid}").symlink_to(tmp_path / "outside")
    remove_left_behind(tmp_path, "export")
    remove_left_behind(tmp_path, "rows.csv")
    kept = {f".export.{os.getppid()}", *(name for name in names if "other" in name)}
    assert {path.name for path in tmp_path.iterdir()} == kept
    remove_left_behind(tmp_path / "is not there", "export")


def test_only_what_killed_writes_left_behind_is_removed(tmp_path: Path) -> None:
    for name in (".run.json.12345", ".config.yaml.1", ".hidden", "run.json.12345", "run.json"):
        (tmp_path / name).write_text("")
    (tmp_path / ".folder.1").mkdir()
    (tmp_path / ".best.1").symlink_to(".folder.1")
    remove_left_behind(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".folder.1", ".hidden", "run.json", "run.json.12345"]


def test_a_folder_is_tried_without_a_trace(tmp_path: Path) -> None:
    try_folder(tmp_path / "new" / "below")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        try_folder(tmp_path / "file")
    with pytest.raises(OSError):
        try_folder(Path("/proc/new"))
