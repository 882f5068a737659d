from __future__ import annotations

import csv
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tfrun.commands import new

Result = tuple[int, str, str]
FILES = [
    ".gitignore",
    "README.md",
    "conf/experiment/first.yaml",
    "data/homes.csv",
    "houses/__init__.py",
    "houses/losses.py",
    "houses/metrics.py",
    "houses/models.py",
    "pyproject.toml",
    "tests/test_components.py",
]


def written(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_it_says_what_it_has_written(run: Callable[..., Result], tmp_path: Path) -> None:
    code, out, err = run("new", "houses")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "houses: a project of 10 files",
        *(f"  {name}" for name in FILES),
        "",
        "Try:",
        "",
        "  cd houses",
        "  tfrun -cd conf experiment=first",
        "  tfrun check -cd conf experiment=first loss=asymmetric metric=within model=small_net",
        "  python -m pytest",
    ]
    assert written(tmp_path / "houses") == FILES
    assert [path.name for path in tmp_path.iterdir()] == ["houses"]


def test_a_folder_may_be_empty(run: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "houses").mkdir()
    assert run("new", "houses")[0] == 0
    assert written(tmp_path / "houses") == FILES


def test_the_current_folder_stays_the_same_one(
    run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "houses").mkdir()
    monkeypatch.chdir(tmp_path / "houses")
    assert run("new", ".")[0] == 0
    assert Path.cwd() == tmp_path / "houses" and written(Path.cwd()) == FILES


def test_folders_above_are_made(run: Callable[..., Result], tmp_path: Path) -> None:
    assert run("new", "all/of it/houses")[0] == 0
    assert written(tmp_path / "all" / "of it" / "houses") == FILES
    assert "  cd 'all/of it/houses'\n".replace("houses'", "homes'") in run("new", "all/of it/homes")[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "new: needs one folder, for example: tfrun new houses. Received: none"),
        (["a", "b"], "new: needs one folder, for example: tfrun new houses. Received: a b"),
        (["a", "model=mlp"], "new: needs one folder, for example: tfrun new houses. Received: a model=mlp"),
        ([""], "new: needs one folder, for example: tfrun new houses. Received: ''"),
        (["full"], "new: the folder must be new or empty. Received: 'full', which has a.txt"),
        (["full/a.txt"], "new: the folder must be new or empty. Received: 'full/a.txt', a file"),
        (["gone"], "new: the folder must be new or empty. Received: 'gone', a link to nothing"),
    ],
)
def test_a_folder_that_can_not_be_a_project(
    words: list[str], message: str, run: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.txt").write_text("mine")
    (tmp_path / "gone").symlink_to("nowhere")
    assert run("new", *words) == (2, "", f"tfrun: error: {message}\n")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.txt", "full", "gone"]


def test_a_parent_that_can_not_be_written(run: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, out, err = run("new", "file/houses")
    assert (code, out) == (5, "") and err.startswith("tfrun: error: file/houses: can't be written: ")
    code, out, err = run("new", "/proc/houses")
    assert (code, out) == (5, "") and err.startswith("tfrun: error: /proc/houses: can't be written: ")


@pytest.mark.parametrize("exists", [False, True])
def test_nothing_is_left_of_a_project_that_can_not_be_written(
    exists: bool, run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_text

    def refuse_tests(path: Path, *args: str) -> int:
        if path.name == "test_components.py":
            raise OSError(28, "No space left on device")
        return write(path, *args)

    if exists:
        (tmp_path / "houses").mkdir()
    monkeypatch.setattr(Path, "write_text", refuse_tests)
    message = "tfrun: error: houses: can't be written: No space left on device\n"
    assert run("new", "houses") == (5, "", message)
    assert [path.name for path in tmp_path.rglob("*")] == ["houses"] * exists


def test_it_imports_no_tensorflow(tmp_path: Path) -> None:
    code = "import sys\nfrom tfrun import cli\nassert cli.main(['new', 'houses']) == 0\n"
    code += "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, timeout=300)


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("houses", "houses"),
        ("My-Houses 2", "my_houses_2"),
        ("3d", "project_3d"),
        ("日本", "project"),
        ("class", "class_project"),
        ("tests", "tests_project"),
        ("keras", "keras_project"),
        ("json", "json_project"),
    ],
)
def test_the_name_of_the_package(title: str, name: str) -> None:
    assert new.package_name(title) == name


def test_a_folder_of_the_name_is_no_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "houses").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert new.package_name("houses") == "houses"


def test_the_rows() -> None:
    """Row 1 is 30 + 37 = 67 square metres in the east, at 3: 201, and 53 − 2·21 − 10 = 1 more."""
    rows = list(csv.DictReader(new.homes().splitlines()))
    assert len(rows) == 200
    assert rows[0] == {"area": "30", "district": "north", "price": "50"}
    assert rows[1] == {"area": "67", "district": "east", "price": "202"}
    assert {row["district"] for row in rows} == {"north", "east", "south"}


@pytest.mark.parametrize("title", ["houses", "class", "my homes"])
def test_the_files_are_well_formed(title: str, tmp_path: Path) -> None:
    new.write_project(tmp_path / title, new.project_files(title))
    files = [path for path in (tmp_path / title).rglob("*") if path.is_file()]
    assert [path for path in files if re.search(r"\$\w", path.read_text())] == []
    ruff = [sys.executable, "-m", "ruff"]
    for command in (["check", "--select", "E,F,I,B,UP"], ["format", "--check"]):
        options = ["--isolated", "--line-length", "120", "--no-cache"]
        done = subprocess.run([*ruff, *command, *options, "."], cwd=tmp_path / title, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_the_commands_of_its_readme(
    run: Callable[..., Result],
    tmp_path: Path,
    warm_server: Callable[[str], object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert run("new", "my-houses")[0] == 0
    project = tmp_path / "my-houses"
    lines = re.findall(r"^    (\S.*)$", (project / "README.md").read_text(), re.MULTILINE)
    assert len(lines) == 5 and lines[-1] == "python -m pytest"
    server: object = warm_server("tfrun")
    for line in lines[:-1]:
        process = server.process(shlex.split(line)[1:], cwd=project, env=dict(os.environ))  # type: ignore[attr-defined]
        done = process.completed(120)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        assert "warning" not in done.stdout
    assert len(list((project / "outputs" / "my_houses").iterdir())) == 2  # of the first two commands
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    result = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0 and "3 passed" in result.stdout, result.stdout
