"""The live view: the line of each job that has ended, and the table of those that run."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from tfrun.files.runs import RunFolder
from tfrun.sweep import board as board_module
from tfrun.sweep.board import Board, sparkline
from tfrun.sweep.messages import Progress
from tfrun.sweep.outcome import Outcome


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def job(number: int, pause_epoch: int | None = None) -> Any:
    settings = SimpleNamespace(checkpoint=SimpleNamespace(monitor="val/mae"))
    return SimpleNamespace(number=number, label=f"#{number} seed={number}", settings=settings, pause_epoch=pause_epoch)


def outcome(number: int, value: float | None = 0.5, status: str = "completed") -> Outcome:
    folder = RunFolder(Path(f"/sweep/{number}"))
    return Outcome(folder, {"seed": str(number)}, status, "val/mae", value, "")


@pytest.fixture
def output() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def board(output: io.StringIO, clock: Clock) -> Board:
    return Board(4, "min", console=Console(file=output, width=80), clock=clock)


def test_each_job_that_ends_has_a_line(board: Board, output: io.StringIO, clock: Clock) -> None:
    with board:
        board.add_job(job(0))
        board.add_job(job(1))
        clock.now = 2.0
        board.end_job(job(0), outcome(0))
        clock.now = 4.5
        board.end_job(job(1), outcome(1, None, "failed"))
    assert output.getvalue().splitlines() == [
        "#0 seed=0  val/mae 0.5  completed  2.0 s",
        "1/4 ended  about 6 s left  best #0 0.5",  # after the first one only
        "#1 seed=1  failed  4.5 s  /sweep/1/tfrun.log",
    ]


def test_a_job_that_pauses_has_no_line(board: Board, output: io.StringIO) -> None:
    board.add_job(job(0, pause_epoch=2))
    board.end_job(job(0, pause_epoch=2), outcome(0, status="stopped"))
    assert output.getvalue() == ""


@pytest.fixture
def live_board(output: io.StringIO, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Board:
    """A board on a terminal."""
    monkeypatch.setattr(board_module, "is_live", lambda: True)
    return Board(4, "min", console=Console(file=output, width=80, force_terminal=True, color_system=None), clock=clock)


def test_the_table_shows_running_jobs(live_board: Board, output: io.StringIO, clock: Clock) -> None:
    board = live_board
    with board:
        for number in range(10):
            board.add_job(job(number))
        board.set_progress(job(1), Progress(1, 1500, None, 3, {"val/mae": 0.25}, False))
        board.set_progress(job(2), Progress(2, 5, 10, 3, {}, False))
        clock.now = 7.0
        board.draw()
    lines = [line.split() for line in output.getvalue().splitlines()]
    assert ["#3", "seed=3", "building", "7", "s"] in lines
    assert ["#1", "seed=1", "step", "1,500", "0.25", "7", "s"] in lines
    assert any(line[:2] == ["#2", "seed=2"] and "━" in line[2] for line in lines)
    assert ["and", "2", "more"] in lines
    assert any(line[:2] == ["0/4", "ended"] for line in lines)


def test_the_table_is_not_drawn_too_often(live_board: Board, output: io.StringIO, clock: Clock) -> None:
    board = live_board
    with board:
        clock.now = 1.0
        board.draw()
        size = len(output.getvalue())
        clock.now = 1.05
        board.draw()
        assert len(output.getvalue()) == size
        clock.now = 1.2
        board.draw()
        assert len(output.getvalue()) > size


def test_the_trend_is_a_bar_for_each_value() -> None:
    assert sparkline([0.0, 0.5, 1.0, 0.25]) == "▁▅█▃"
    assert sparkline([3.0, 3.0]) == "▁▁"


def test_the_trend_stands_behind_the_best_job(board: Board, output: io.StringIO) -> None:
    for number, value in enumerate((0.5, 0.25, 0.375)):
        board.add_job(job(number))
        board.end_job(job(number), outcome(number, value))
    assert board._summary().endswith("best #1 0.25  █▁▅")
