from __future__ import annotations

import io
import logging
import os
from pathlib import Path
from typing import Any

import pytest
from rich.table import Table

from tfrun.cli import prefix_warnings
from tfrun.console import (
    Results,
    Terminal,
    is_live,
    library_output_to,
    say,
    tensorboard_command,
)
from tfrun.folders import shown
from tfrun.line_breaks import fitted
from tfrun.streams import complain


def test_a_log_on_a_full_disk_loses_its_lines_alone(capfd: pytest.CaptureFixture[str]) -> None:
    with library_output_to(Path("/dev/full")):
        logging.getLogger("tfrun").warning("training goes on")
    assert capfd.readouterr() == ("", "")


def test_what_libraries_log_goes_to_the_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with library_output_to(tmp_path / "log"):
        logging.getLogger("tfrun").warning("training goes on")
    assert (tmp_path / "log").read_text().endswith("WARNING tfrun: training goes on\n")
    assert capfd.readouterr() == ("", "")


def test_a_warning_before_there_is_a_log_says_so(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    monkeypatch.setattr(logging.lastResort, "formatter", None)
    prefix_warnings()
    logging.getLogger("tfrun.data").warning("%d rows are left out", 2)
    assert capsys.readouterr().err == "warning: 2 rows are left out\n"


def test_paths_below_the_current_folder_are_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert shown(tmp_path / "outputs" / "a") == "outputs/a"
    assert shown(Path("/elsewhere")) == "/elsewhere"


@pytest.mark.parametrize(
    ("variable", "value", "expected"), [("TERM", "xterm", True), ("TERM", "dumb", False), ("NO_COLOR", "1", False)]
)
def test_a_display_moves_on_a_terminal_only(
    variable: str, value: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Tty(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv(variable, value)
    assert is_live(Tty()) is expected
    assert not is_live(io.StringIO())


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("short", "short"),
        ("one two three four five six", "one two three\nfour five six"),
        ("  list  one two three", "  list  one two\n        three"),
        ("  a wider name  one two", "  a wider name\n      one two"),
        ("  in a sentence of words", "  in a sentence\n  of words"),
        ("outputs/a/path/that/is/whole", "outputs/a/path/that/is/whole"),
    ],
)
def test_lines_are_broken_between_words(line: str, expected: str) -> None:
    assert fitted(f"{line}\n", 16) == f"{expected}\n"


def test_the_command_of_tensorboard_can_be_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    monkeypatch.setattr("sys.executable", str(programs / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    folder = tmp_path / "my runs"
    assert tensorboard_command(folder) == "tensorboard --logdir 'my runs'"  # it isn't in the environment either
    (programs / "tensorboard").touch(mode=0o755)
    assert tensorboard_command(folder) == ".venv/bin/tensorboard --logdir 'my runs'"
    monkeypatch.setenv("PATH", str(programs))
    assert tensorboard_command(folder) == "tensorboard --logdir 'my runs'"


def test_a_terminal_that_cannot_be_written_falls_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr("sys.stdout", full)
        monkeypatch.setattr("sys.stderr", full)
        say(Terminal(), "lost")
        complain("lost too")


def test_a_result_that_cannot_be_written_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr("sys.stdout", full)
        with pytest.raises(OSError, match="No space left"):
            say(Results(), "lost")


def test_a_result_may_be_read_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as pipe:
        monkeypatch.setattr("sys.stdout", pipe)
        say(Results(), "read by nobody")


def test_texts_are_no_markup_and_no_emoji(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr("sys.stdout", out)
    table = Table("key", title="[bold]runs")
    table.add_row("[id, sold_on]")  # a list in a config
    table.add_row("[/a, :cat:]")  # a closing tag without an opening one is an error in Rich's markup
    Terminal().print(table)
    text = out.getvalue()
    assert "[bold]runs" in text and "[id, sold_on]" in text and "[/a, :cat:]" in text
