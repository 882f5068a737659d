"""Whether the packages of a run may be installed; what installs them is a stand-in here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tfrun.commands import reproduced_environment
from tfrun.commands.reproduced_environment import python_of_run
from tfrun.errors import CheckpointError, ConfigError
from tfrun.files import strict_json
from tfrun.files.provenance.installing import Packages
from tfrun.files.runs import RunFolder

PYTHON = Path("/environment/bin/python")


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """The folder of a run with two packages, one of which is from a folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(reproduced_environment, "install", lambda packages: PYTHON)
    packages = [
        {"name": "numpy", "version": "0.0.1", "origin": None},
        {"name": "mine", "version": "1", "origin": {"folder": "/mine"}},
    ]
    fields = {
        "at": "2026-01-01T00:00:00+00:00",
        "folder": "/p",
        "tfrun": {"version": "1", "folder": "/t", "git": None},
        "git": None,
        "python": {},
        "packages": packages,
        "machine": {},
        "environment": {},
        "roots": [],
        "files": [],
        "has_configs": False,
        "left_out": [],
    }
    (tmp_path / "provenance").mkdir()
    (tmp_path / "provenance" / "provenance.json").write_text(strict_json.dumps(fields))
    return RunFolder(tmp_path)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], None]:
    """Makes standard input and output a terminal at which someone types an answer; None is Ctrl-D."""

    def answer(text: str | None) -> None:
        def ask(prompt: str) -> str:
            assert prompt == "Install them? [y/N] "
            if text is None:
                raise EOFError
            return text

        for stream in ("stdin", "stdout"):
            monkeypatch.setattr(f"sys.{stream}.isatty", lambda: True)
        monkeypatch.setattr("builtins.input", ask)

    return answer


def test_a_script_must_say_yes(recorded: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="would install 1 package, 1 of them not installed here: numpy==0.0.1"):
        python_of_run(recorded, may_install=False)
    assert python_of_run(recorded, may_install=True) == PYTHON
    out = capsys.readouterr().out
    assert "warning: mine can't be had: it is from /mine" in out
    assert "installing 1 package into " in out


@pytest.mark.parametrize("text", ["y", "Yes ", "YES"])
def test_a_person_says_yes(recorded: RunFolder, terminal: Callable[[str | None], None], text: str) -> None:
    terminal(text)
    assert python_of_run(recorded, may_install=False) == PYTHON


@pytest.mark.parametrize("text", ["", "n", "yeah", None])
def test_a_person_does_not_say_yes(
    recorded: RunFolder, terminal: Callable[[str | None], None], text: str | None
) -> None:
    terminal(text)
    with pytest.raises(ConfigError, match="nothing was installed, as the answer wasn't yes"):
        python_of_run(recorded, may_install=False)


def test_an_environment_that_is_there_needs_no_answer(recorded: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reproduced_environment, "python_of", lambda folder: folder / "python")
    folder = Packages(("numpy==0.0.1",), ()).folder
    assert python_of_run(recorded, may_install=False) == folder / "python"


def test_a_run_without_a_record(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="has no record of its packages"):
        python_of_run(RunFolder(tmp_path), may_install=True)
