from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tfrun.files import first_folder


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a data file, in which a command runs."""
    project = tmp_path / "project"
    (project / "outputs" / "run").mkdir(parents=True)
    (project / "rows.csv").write_text("")
    monkeypatch.chdir(project)
    return project


NEEDED = [("rows.csv",)]


def test_it_is_found_from_anywhere(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = project / "outputs" / "run"
    described = first_folder.describe(run)
    assert described == {"path": str(project), "from_run": "../.."}
    monkeypatch.chdir("/")
    assert first_folder.find(run, described, needed=NEEDED) == project
    # moved alone, it still means the folder where the command ran
    moved = tmp_path / "deep" / "er" / "run"
    shutil.copytree(run, moved)
    assert first_folder.find(moved, described, needed=NEEDED) == project
    # a copy of all has its own data
    shutil.copytree(project, tmp_path / "copy")
    copied = tmp_path / "copy" / "outputs" / "run"
    assert first_folder.find(copied, described, needed=NEEDED) == tmp_path / "copy"
    # on another machine, the data may be where the person is
    shutil.rmtree(project)
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "rows.csv").write_text("")
    monkeypatch.chdir(tmp_path / "here")
    assert first_folder.find(moved, described, needed=NEEDED) == tmp_path / "here"


def test_a_run_of_an_earlier_version_has_the_folder_in_hydra_s_file(project: Path) -> None:
    run = project / "outputs" / "run"
    assert first_folder.of_hydra(run) == {}
    assert first_folder.find(run, {}, needed=[]) == project  # the current folder
    (run / ".hydra").mkdir()
    (run / ".hydra" / "hydra.yaml").write_text("hydra:\n  runtime:\n    cwd: /somewhere\n")
    assert first_folder.of_hydra(run) == {"path": "/somewhere"}


def test_a_module_is_a_file_or_a_folder(project: Path) -> None:
    run = project / "outputs" / "run"
    described = {"path": str(project), "from_run": "."}
    assert first_folder.find(run, described, needed=[("mine.py", "mine")]) == run  # it is nowhere
    (project / "mine").mkdir()
    assert first_folder.find(run, described, needed=[("mine.py", "mine")]) == project
