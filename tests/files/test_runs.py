from __future__ import annotations

import errno
import json
import os
import pwd
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tfrun.errors import ConfigError, FolderInUseError, ResourceError
from tfrun.files import runs
from tfrun.files.runs import RunFolder, claim, open_run

Tfrun = Callable[..., subprocess.CompletedProcess[str]]

HOLD = """
import sys, time
from pathlib import Path
from tfrun.files.runs import RunFolder
with RunFolder(Path(sys.argv[1])).held():
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_claimed_folder_is_new_and_empty(tmp_path: Path) -> None:
    folder = claim(tmp_path, "trial")
    assert folder.path.parent == tmp_path / "outputs" / "trial"
    assert list(folder.path.iterdir()) == []
    assert re.fullmatch(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d_[0-9a-f]{6}", folder.run_id)
    assert claim(tmp_path, "trial", kind="multirun").path.parent == tmp_path / "multirun" / "trial"


def test_the_root_may_be_relative_or_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert claim(".", "a").path.parent == tmp_path / "outputs" / "a"
    assert claim("~/runs", "a").path.parent == tmp_path / "home" / "runs" / "outputs" / "a"


def test_a_claim_is_exclusive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight threads at once, and four ids only: every clash must be noticed."""
    ids, lock = iter(f"{k // 8:06x}" for k in range(10**6)), threading.Lock()

    def next_id(_bytes: int) -> str:
        with lock:
            return next(ids)

    monkeypatch.setattr("secrets.token_hex", next_id)
    start = threading.Barrier(8)

    def work(_worker: int) -> list[Path]:
        start.wait()
        return [claim(tmp_path, "trial").path for _ in range(25)]

    with ThreadPoolExecutor(8) as pool:
        claimed = [path for own in pool.map(work, range(8)) for path in own]
    assert len(claimed) == len(set(claimed)) == 200
    assert all(path.is_dir() for path in claimed)


def test_all_starts_of_a_job_have_one_folder(tmp_path: Path) -> None:
    """Even eight at once; each of five jobs has its own, for runs as for sweeps."""
    assert runs.folder_of_job(tmp_path, "trial", job="0") is None
    start = threading.Barrier(8)

    def work(_worker: int) -> list[Path]:
        start.wait()
        return [runs.claim_for_job(tmp_path, "trial", job=str(job)).path for job in range(5)]

    with ThreadPoolExecutor(8) as pool:
        claimed = {path for paths in pool.map(work, range(8)) for path in paths}
    assert sorted(path.name.rpartition("_")[2] for path in claimed) == ["0", "1", "2", "3", "4"]
    folder = runs.folder_of_job(tmp_path, "trial", job="3")
    assert folder and folder.path in claimed and re.fullmatch(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d_3", folder.run_id)
    assert runs.claim_for_job(tmp_path, "trial", job="3", kind="multirun").path.parent.parent.name == "multirun"
    assert runs.folder_of_job(tmp_path, "other", job="3") is None


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(ResourceError, match=r"run\.lock: can't be locked: Function not implemented"):
        RunFolder(tmp_path).held().__enter__()
    with pytest.raises(ResourceError, match="Function not implemented"):
        runs.claim_for_job(tmp_path, "trial", job="3")


@pytest.mark.parametrize("parts", [["root"], ["root", "outputs"], ["root", "outputs", "trial"]])
def test_a_file_in_the_way(tmp_path: Path, parts: list[str]) -> None:
    blocked = tmp_path.joinpath(*parts)
    blocked.parent.mkdir(parents=True, exist_ok=True)
    blocked.write_text("")
    with pytest.raises(ResourceError, match="output_root: .* can't be written: .*Received: "):
        claim(tmp_path / "root", "trial")


def test_a_root_that_can_t_be_written() -> None:
    user = os.geteuid()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        root.chmod(0o555)
        try:
            if user == 0:  # root may write everywhere
                os.seteuid(pwd.getpwnam("nobody").pw_uid)
            with pytest.raises(ResourceError, match="Permission denied"):
                claim(root, "trial")
        finally:
            os.seteuid(user)
            root.chmod(0o700)


def test_a_sweep_s_job_is_named_with_its_sweep() -> None:
    assert RunFolder(Path("/a/multirun/trial/2026-01-01_00-00-00/3")).run_id == "2026-01-01_00-00-00/3"


def test_discard_removes_the_parents_it_leaves_empty(tmp_path: Path) -> None:
    first, second = claim(tmp_path, "trial"), claim(tmp_path, "trial")
    (first.path / "file").write_text("")
    first.discard()
    assert list((tmp_path / "outputs" / "trial").iterdir()) == [second.path]
    second.discard()
    assert list(tmp_path.iterdir()) == []
    second.discard()  # what is gone is gone


def test_a_held_folder_is_refused(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with folder.held():
        holder = f"in use by another process: pid {os.getpid()} on .* since "
        with pytest.raises(FolderInUseError, match=holder), folder.held():
            pass
        with pytest.raises(FolderInUseError), folder.held():  # the refusal freed nothing
            pass
    with folder.held():
        pass


def test_kill_9_frees_a_held_folder(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(FolderInUseError, match=f"pid {process.pid} "), RunFolder(tmp_path).held():
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
        with RunFolder(tmp_path).held():
            pass


def test_what_a_killed_write_left_behind_is_removed(tmp_path: Path) -> None:
    kept = [tmp_path / name for name in (".hydra", "run.json", ".notes", "tensorboard")]
    kept[0].mkdir()
    for path in (*kept[1:3], tmp_path / ".run.json.4711"):
        path.write_text("{")
    with RunFolder(tmp_path).held():
        assert {path.name for path in tmp_path.iterdir()} == {".hydra", "run.json", ".notes", "run.lock"}


def test_a_second_process_ends_with_code_7(
    tfrun: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    folder = claim(tmp_path, "trial")
    folder.config_yaml.write_text(tfrun("--cfg", "job").stdout)
    before = {path: path.read_bytes() for path in folder.path.rglob("*")}
    with folder.held():
        refused = tfrun("resume", str(folder.path), "trainer.max_epochs=3")
    (folder.path / "run.lock").unlink()
    assert {path: path.read_bytes() for path in folder.path.rglob("*")} == before  # no config and no log
    assert refused.returncode == 7
    assert refused.stderr.startswith(f"tfrun: error: {folder.path} is in use by another process: pid {os.getpid()} ")
    assert len(refused.stderr.splitlines()) == 1


def test_run_json(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert folder.read_run() == {}
    folder.write_run({"status": "running", "metrics": {"val/loss": float("inf")}})
    assert folder.read_run() == {"status": "running", "metrics": {"val/loss": None}}
    folder.run_json.write_text('{"status": "running", "metrics": {"val/loss": Infinity}}')  # an earlier version's
    assert folder.read_run() == {"status": "running", "metrics": {"val/loss": float("inf")}}
    assert json.loads((tmp_path / "run.json").read_text())["status"] == "running"


def test_open_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="^nowhere: not a run folder, it does not exist. Expected .*outputs/"):
        open_run("nowhere")
    (tmp_path / "run").mkdir()
    with pytest.raises(ConfigError, match="^run: not a run folder, it has no config.yaml"):
        open_run("run")
    (tmp_path / "run" / "config.yaml").write_text("seed: 1")
    assert open_run("run").path == tmp_path / "run"


def test_the_time_has_its_offset() -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d", runs.now())


def test_a_sweep_is_no_run_and_its_runs_are_named(tmp_path: Path) -> None:
    (tmp_path / "trials.jsonl").touch()
    with pytest.raises(ConfigError, match=rf"a sweep, not a run\. Its best run is {tmp_path}/best, and its first one"):
        runs.open_run(tmp_path)
