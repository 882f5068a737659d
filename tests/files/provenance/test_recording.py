from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tfrun
from tfrun.files import failpoints
from tfrun.files.provenance import record, recording
from tfrun.files.provenance.recording import Recording, Subject
from tfrun.files.runs import RunFolder

Git = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """The folder of a run beside a repository `tmp_path`, which is the current folder."""
    folder = tmp_path / "outputs" / "default" / "2026-01-01_00-00-00_abcdef"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("")
    monkeypatch.chdir(tmp_path)
    return RunFolder(folder)


@pytest.fixture
def subject(tmp_path: Path, git: Git) -> Subject:
    """A plugin with changes, one that git doesn't have, and a folder of configs."""
    (tmp_path / ".gitignore").write_text("outputs\n")
    (tmp_path / "plugin.py").write_text("import helper\n")
    git("init", "-q", ".")
    git("add", ".")
    git("commit", "-qm", "one")
    (tmp_path / "plugin.py").write_text("import helper  # new\n")
    (tmp_path / "helper.py").write_text("1\n")
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "mine.yaml").write_text("name: mlp\n")
    return Subject([("plugin", tmp_path / "plugin.py")], [tmp_path / "conf"])


def recorded(run: RunFolder, subject: Subject, **options: Any) -> list[str]:
    """Records, and returns the paths in the folder `provenance/`."""
    with Recording.start(run, subject, **options):
        pass
    folder = run.path / "provenance"
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def log(run: RunFolder) -> str:
    return run.log.read_text() if run.log.exists() else ""


def test_a_run_is_recorded_with_its_changes_and_sources(run: RunFolder, subject: Subject, git: Git) -> None:
    files = recorded(run, subject)
    assert files == ["changes.patch", "provenance.json", "sources/0/conf/model/mine.yaml", "sources/0/helper.py"]
    read = record.read(run.path)
    assert read is not None and read.git is not None and read.git.patch is not None
    assert read.git.commit == git("rev-parse", "HEAD") and read.git.is_dirty and read.folder == str(Path.cwd())
    assert read.git.patch.file == run.path / "provenance" / "changes.patch"
    assert "+import helper  # new" in read.git.patch.file.read_text()
    states = {file.name: (file.kind, file.git, file.copy and file.copy.read_text()) for file in read.files}
    assert states == {
        "plugin": ("plugin", "changed", None),
        "helper": ("import", "untracked", "1\n"),
        "model/mine.yaml": ("config", "untracked", "name: mlp\n"),
    }
    assert read.packages["numpy"].version is not None and read.tfrun["version"] == tfrun.__version__
    assert read.python["version"] == ".".join(map(str, sys.version_info[:3])) and read.left_out == ()
    assert log(run) == ""


def test_contents_are_left_out_on_request(run: RunFolder, subject: Subject) -> None:
    assert recorded(run, replace(subject, patch=False, sources=False)) == ["provenance.json"]
    text = (run.path / "provenance" / "provenance.json").read_text()
    assert text.count("provenance.patch=false") == 1 and text.count("provenance.sources=false") == 2
    read = record.read(run.path)
    assert read is not None and all(file.sha256 for file in read.files)


def test_a_patch_that_is_too_large_leaves_a_copy_of_the_plugin(run: RunFolder, subject: Subject) -> None:
    (Path.cwd() / "plugin.py").write_text("# new\n")
    (Path.cwd() / ".gitignore").write_text("outputs\n" + "".join(f"{k}\n" for k in range(2_000_000)))
    files = recorded(run, Subject(subject.modules))
    assert files == ["provenance.json", "sources/0/plugin.py"]
    read = record.read(run.path)
    assert read is not None and read.git is not None and read.git.patch is not None
    assert read.git.patch.why_no_file == "it has more than 10,485,760 bytes"


def test_a_patch_or_a_file_with_a_password_is_left_out(run: RunFolder, subject: Subject, tmp_path: Path) -> None:
    for name in ("plugin.py", "conf/model/mine.yaml"):
        (tmp_path / name).write_text("storage = 'postgresql://me:hunter2@host/db'  # new\n")
    (tmp_path / "helper.py").write_text("see = 'https://host.example/a@b'\n")
    assert recorded(run, Subject([*subject.modules, ("helper", tmp_path / "helper.py")], subject.config_folders)) == [
        "provenance.json",
        "sources/0/helper.py",
    ]
    read = record.read(run.path)
    assert read is not None and read.git is not None and read.git.patch is not None
    why = "it has an address with a user or a password"
    assert read.git.patch.why_no_file == why and read.git.patch.sha256 is None
    assert [file.why_no_copy for file in read.files] == [why, None, why]
    assert all(b"hunter2" not in path.read_bytes() for path in run.path.rglob("*") if path.is_file())


def test_without_git_everything_else_is_recorded(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plugin.py").write_text("1\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert recorded(run, Subject([("plugin", tmp_path / "plugin.py")])) == ["provenance.json", "sources/0/plugin.py"]
    read = record.read(run.path)
    assert read is not None and read.git is None and read.left_out == (("git", "there is no git"),)


def test_nothing_of_the_current_folder_is_run(run: RunFolder, subject: Subject, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    for name in ("json", "sitecustomize", "usercustomize", "tfrun", "hashlib", "git"):
        (tmp_path / f"{name}.py").write_text(f"open({str(marker)!r}, 'w')\n")
    (tmp_path / "git").write_text(f"#!/bin/sh\ntouch {marker}\n")
    (tmp_path / "git").chmod(0o755)
    (tmp_path / "plugin.py").write_text(f"open({str(marker)!r}, 'w')\n")
    assert "provenance.json" in recorded(run, subject)
    assert not marker.exists()


def test_a_resume_records_only_what_differs(run: RunFolder, subject: Subject, tmp_path: Path) -> None:
    first = recorded(run, subject)
    before = {name: (run.path / "provenance" / name).read_bytes() for name in first}
    again = Subject(subject.modules)
    assert recorded(run, again, resumed=True) == first
    (tmp_path / "helper.py").write_text("2\n")
    (tmp_path / "plugin.py").write_text("import helper  # newer\n")
    assert recorded(run, again, resumed=True) == sorted(
        [*first, "resumed-1.json", "resumed-1.patch", "resumed-1-sources/0/helper.py"]
    )
    assert recorded(run, again, resumed=True)[-1] != "resumed-2.json"
    assert {name: (run.path / "provenance" / name).read_bytes() for name in first} == before
    (resumed,) = record.read_resumed(run.path)
    differing = record.differences(record.read(run.path), resumed)  # type: ignore[arg-type]
    assert [(item.aspect, item.name) for item in differing] == [
        ("sources", "import helper"),
        ("sources", "plugin plugin"),
        ("patch", "patch"),
    ]
    (tmp_path / "helper.py").write_text("1\n")
    files = recorded(run, again, resumed=True)  # it differs from the last one, in one file
    assert "resumed-2.json" in files and "resumed-2-sources/0/helper.py" in files and "resumed-2.patch" not in files
    newest = record.newest(run.path)
    assert newest is not None and newest.git is not None and newest.git.patch is not None
    assert newest.git.patch.file == run.path / "provenance" / "resumed-1.patch"


def test_a_run_of_an_earlier_version_has_no_first_record(run: RunFolder) -> None:
    assert recorded(run, Subject(), resumed=True) == ["resumed-1.json"]
    assert record.read(run.path) is None and record.newest(run.path) is not None


def test_a_job_has_the_record_of_its_sweep(run: RunFolder, subject: Subject) -> None:
    (run.path / "trials.jsonl").write_text("")
    recorded(run, subject)
    job = RunFolder(run.path / "3")
    job.path.mkdir()
    job.config_yaml.write_text("")
    assert recorded(job, Subject(subject.modules)) == []
    assert record.read(job.path) == record.read(run.path)
    Path("helper.py").write_text("2\n")
    assert recorded(job, Subject(subject.modules)) == ["changes.patch", "provenance.json", "sources/0/helper.py"]
    own = record.read(job.path)
    assert own is not None and own.file.is_relative_to(job.path)


def test_nothing_is_written_before_the_run_begins(run: RunFolder) -> None:
    assert recorded(run, Subject(), waits=True) == []
    with Recording.start(run, Subject(), waits=True) as waiting:
        waiting.may_write()
    assert record.read(run.path) is not None


def test_an_interrupt_gives_it_up(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "CODE", "import time; time.sleep(100)")
    num_threads = threading.active_count()
    with pytest.raises(KeyboardInterrupt), Recording.start(run, Subject()):
        raise KeyboardInterrupt
    assert not (run.path / "provenance").exists() and log(run) == ""
    assert threading.active_count() == num_threads


@pytest.mark.parametrize("file", ["provenance/provenance.json", "tfrun.log"])
def test_a_run_that_is_discarded_leaves_nothing(file: str, run: RunFolder) -> None:
    """Its folder is removed while the record is written, or why there is none, and so has that alone."""
    with pytest.raises(ValueError, match="x"), Recording.start(run, Subject()) as started:
        assert started._thread is not None
        started._thread.join()
        run.discard()
        run.path.joinpath(file).parent.mkdir(parents=True)
        run.path.joinpath(file).touch()
        raise ValueError("x")
    assert not run.path.exists()
    with Recording.start(run, Subject()):
        pass
    assert not run.path.exists()


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise SystemExit('broken')", "broken"),
        ("import os; os.kill(os.getpid(), 9)", "its process ended with -9"),
        ("print('{')", "Expecting property name"),
        ('print(\'{"lengths": [1], "record": {}}\')', "has written 0 bytes of files instead of 1"),
        ("import time; time.sleep(100)", "it took longer than 1 s"),
    ],
)
def test_a_process_that_fails_is_a_line_in_the_log(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, code: str, reason: str
) -> None:
    monkeypatch.setattr(recording, "CODE", code)
    monkeypatch.setattr(recording, "SECONDS", 1.0)
    assert recorded(run, Subject()) == []
    assert log(run).startswith("provenance: not recorded: ") and reason in log(run) and log(run).count("\n") == 1


def test_no_process_can_be_started(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere")
    assert recorded(run, Subject()) == []
    assert "no process could be started" in log(run)


def test_the_current_folder_is_gone(run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert recorded(run, Subject()) == []
    assert "not recorded: no process could be started" in log(run)


@pytest.mark.parametrize("place", ["changes.patch.write", "helper.py.write", "provenance.json.rename"])
def test_a_full_disk_is_a_line_in_the_log(run: RunFolder, subject: Subject, place: str) -> None:
    failpoints.set_failpoint(f"{place}=full")
    try:
        assert recorded(run, subject) == []
    finally:
        failpoints.set_failpoint("")
    assert os.strerror(errno.ENOSPC) in log(run) and not (run.path / "provenance").exists()


@pytest.mark.parametrize("name", ["provenance", "provenance/resumed-1-sources", "provenance/resumed-1.patch"])
def test_nothing_is_written_through_a_link(run: RunFolder, subject: Subject, tmp_path: Path, name: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (run.path / name).parent.mkdir(exist_ok=True)
    (run.path / name).symlink_to(elsewhere)
    with Recording.start(run, subject, resumed=True):
        pass
    assert list(elsewhere.iterdir()) == [] and "it is a link" in log(run)
    assert not (run.path / "provenance" / "resumed-1.json").exists()


def test_the_parts_of_a_killed_write_are_removed(run: RunFolder, subject: Subject) -> None:
    (run.path / "provenance").mkdir()
    (run.path / "provenance" / ".provenance.json.99999999").write_text("")
    assert ".provenance.json.99999999" not in recorded(run, subject)


def test_paths_that_are_not_utf_8(run: RunFolder, subject: Subject, tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"\xff")
    folder.mkdir()
    (folder / "a.yaml").write_text("1")
    assert f"sources/0/{folder.name}/a.yaml" in recorded(run, replace(subject, config_folders=[folder]))
    read = record.read(run.path)
    assert read is not None and read.files[-1].path == str(folder / "a.yaml")


def test_the_process_needs_no_other_package(tmp_path: Path) -> None:
    """It starts in a tenth of the time without them, and none can keep it from starting."""
    program = "import sys; " + recording.CODE.replace("collect.main()", "print(*sys.modules)").replace("\n", ";")[:-1]
    done = subprocess.run(
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            program.replace("import sys; import sys, types", "import sys, types"),
            recording.PACKAGE,
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    tops = {name.partition(".")[0] for name in done.stdout.split()} - {"__main__", "tfrun"}
    assert tops <= set(sys.stdlib_module_names)


def test_a_secret_of_the_environment_is_not_written(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_VAR_password", "hunter2")
    monkeypatch.setenv("XLA_FLAGS", "--xla=1")
    recorded(run, Subject())
    text = (run.path / "provenance" / "provenance.json").read_text()
    assert "hunter2" not in text and json.loads(text)["environment"]["XLA_FLAGS"] == "--xla=1"
