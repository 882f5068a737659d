"""`run.json`: changed and written by two threads, and never half changed."""

from __future__ import annotations

import errno
import json
import threading
from pathlib import Path

import pytest

from tfrun.errors import ResourceError
from tfrun.files.run_json import RunJson
from tfrun.files.runs import RunFolder


def on_disk(folder: Path) -> dict:
    return json.loads((folder / "run.json").read_text())


def test_begin_writes_the_fields_and_later_changes_wait_for_write(tmp_path: Path) -> None:
    run = RunJson.begin(RunFolder(tmp_path), {"status": "running", "step": 0})
    assert on_disk(tmp_path) == {"status": "running", "step": 0}
    run.update(step=12, epoch=3)
    assert on_disk(tmp_path) == {"status": "running", "step": 0}
    run.write()
    assert on_disk(tmp_path) == {"status": "running", "step": 12, "epoch": 3}
    assert list(on_disk(tmp_path)) == ["status", "step", "epoch"]  # the keys keep their order


def test_the_file_is_the_one_that_a_run_folder_writes(tmp_path: Path) -> None:
    fields = {"status": "running", "metrics": {"val/loss": float("inf"), "val/auc": float("nan")}}
    RunJson.begin(RunFolder(tmp_path), fields)
    written = (tmp_path / "run.json").read_bytes()
    RunFolder(tmp_path).write_run(fields)
    assert (tmp_path / "run.json").read_bytes() == written
    expected = '{\n  "status": "running",\n  "metrics": {\n    "val/loss": null,\n    "val/auc": null\n  }\n}\n'
    assert written == expected.encode()


def test_fields_are_read_as_from_a_mapping(tmp_path: Path) -> None:
    run = RunJson(RunFolder(tmp_path), {"status": "running", "best": {"val/loss": 0.5}})
    assert run["status"] == "running" and run.get("branch") is None and "best" in run
    assert dict(run) == {"status": "running", "best": {"val/loss": 0.5}} and len(run) == 2
    with pytest.raises(KeyError, match="epoch"):
        run["epoch"]
    assert not (tmp_path / "run.json").exists()


def test_what_is_read_or_given_is_a_copy(tmp_path: Path) -> None:
    given = {"timing": {"build_seconds": 1.0}}
    run = RunJson(RunFolder(tmp_path), given)
    given["timing"]["build_seconds"] = 2.0
    run["timing"]["build_seconds"] = 3.0
    run.to_dict()["timing"]["build_seconds"] = 4.0
    metrics = {"val/loss": 0.5}
    run.update(metrics=metrics)
    metrics["val/loss"] = 9.0
    assert run.to_dict() == {"timing": {"build_seconds": 1.0}, "metrics": {"val/loss": 0.5}}


def test_a_mapping_gets_entries_and_a_list_gets_items(tmp_path: Path) -> None:
    run = RunJson(RunFolder(tmp_path), {"timing": {"build_seconds": 1.0, "eval_seconds": 2.0}})
    run.merge("timing", {"eval_seconds": 5.0, "train_seconds": 7.0})
    run.merge("engine", {"mode": "xla"})
    run.append("rollbacks", {"from": 9})
    run.append("rollbacks", {"from": 20})
    assert run["timing"] == {"build_seconds": 1.0, "eval_seconds": 5.0, "train_seconds": 7.0}
    assert run["engine"] == {"mode": "xla"}
    assert run["rollbacks"] == [{"from": 9}, {"from": 20}]


def test_a_disk_that_refuses_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunJson.begin(RunFolder(tmp_path), {"step": 1})
    run.update(step=2)

    def refuse(*paths: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tfrun.files.disk.os.replace", refuse)
    with pytest.raises(ResourceError, match="run.json: can't be written: No space left"):
        run.write()
    assert on_disk(tmp_path) == {"step": 1} and run["step"] == 2


def test_two_threads_lose_no_change_and_readers_see_whole_updates(tmp_path: Path) -> None:
    run = RunJson.begin(RunFolder(tmp_path), {"step": 0, "epoch": 0, "rollbacks": [], "timing": {}})
    torn = []

    def background() -> None:
        for step in range(1, 301):
            run.update(step=step, epoch=step)
            run.append("rollbacks", step)
            run.merge("timing", {f"background_{step}": step})
            if step % 10 == 0:
                run.write()

    thread = threading.Thread(target=background)
    thread.start()
    for step in range(1, 301):
        run.append("rollbacks", -step)
        run.merge("timing", {f"training_{step}": step})
        fields = run.to_dict()
        if fields["step"] != fields["epoch"]:
            torn.append(fields)
        if step % 10 == 0:
            run.write()
    thread.join()
    run.write()
    assert not torn
    assert sorted(run["rollbacks"]) == sorted([*range(1, 301), *range(-300, 0)])
    assert len(run["timing"]) == 600
    assert on_disk(tmp_path) == run.to_dict()
