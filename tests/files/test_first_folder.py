from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tfrun.errors import CheckpointError
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


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("hydra: {runtime: {cwd: [", "hydra.yaml"),
        ("a: &a [x, x]\n" + "".join(f"{chr(98 + k)}: &{chr(98 + k)} [{f'*{chr(97 + k)}, ' * 9}]\n" for k in range(9)),
         "hydra.yaml:.*: too large: its aliases stand for more than 100,000 nodes"),
        ("[" * 200 + "]" * 200, "hydra.yaml:1: more than 100 levels of YAML"),
        ("#" * (10 * 2**20 + 1), "hydra.yaml: a YAML file may have at most 10,485,760 bytes"),
    ],
)  # fmt: skip
def test_hydra_s_file_has_the_limits_of_every_yaml_file(text: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "hydra.yaml").write_text(text)
    with pytest.raises(CheckpointError, match=reason):
        first_folder.of_hydra(tmp_path)
    (tmp_path / ".hydra" / "hydra.yaml").write_text("another: program\n")
    assert first_folder.of_hydra(tmp_path) == {}


def test_a_module_is_a_file_or_a_folder(project: Path) -> None:
    run = project / "outputs" / "run"
    described = {"path": str(project), "from_run": "."}
    assert first_folder.find(run, described, needed=[("mine.py", "mine")]) == run  # it is nowhere
    (project / "mine").mkdir()
    assert first_folder.find(run, described, needed=[("mine.py", "mine")]) == project
