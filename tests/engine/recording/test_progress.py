"""What a person sees of a run: lines and bars."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from tfrun.engine.recording.progress import Display, format_bytes, format_value, waiting
from tfrun.engine.training.block_result import BlockResult
from tfrun.engine.training.plan import Plan
from tfrun.engine.training.timing import Timing
from tfrun.folders import shown


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def console(width: int = 120, file: io.StringIO | None = None) -> Console:
    return Console(file=file or io.StringIO(), width=width)


def text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def block(num_steps: int, loss: float) -> BlockResult:
    """Returns the result of a block in which no epoch ends."""
    losses, none = np.full(num_steps, loss), np.zeros((0, 1))
    return BlockResult(
        losses=losses,
        norms=losses,
        learning_rates=losses[:, None],
        train=none,
        val=none,
        improved=none[:, 0] > 0,
        finite=True,
        stopped=False,
        has_val=True,
    )


def show(times: list[float], *, last_step: int | None = 100, width: int = 120) -> list[str]:
    """Returns the lines of a run whose k-th block of ten steps ends at the k-th time."""
    out = console(width)
    now = [0.0]
    timing = Timing()
    timing.compile_seconds = 1.0
    timing.add_block(4000, 2.0)
    with Display(Plan(10, last_step), out, timing=timing, clock=lambda: now[0]) as display:
        for k, time in enumerate(times, start=1):
            now[0] = time
            display.on_block(10 * (k - 1), block(10, 1 / k))
    return text(out).splitlines()


def test_plain_lines_are_two_seconds_apart() -> None:
    lines = show([0.0, 0.5, 1.9, 2.0, 3.9, 4.1, 5.0])
    assert [line.split()[1] for line in lines] == ["4/10", "6/10", "7/10"]  # the last line is always shown
    assert lines[0] == "epoch 4/10  step 40/100  train/loss 0.25  2,000 steps/s"


def test_the_last_line_is_shown_once() -> None:
    assert len(show([0.5, 3.0])) == 1


def test_a_run_without_a_block_shows_nothing() -> None:
    assert show([]) == []


def test_plain_lines_are_not_broken_on_a_narrow_console() -> None:
    assert show([0.0], width=40) == ["epoch 1/10  step 10/100  train/loss 1  2,000 steps/s"]


def test_an_unfinished_epoch_counts_as_one_of_the_epochs() -> None:
    assert show([0.0], last_step=25)[0].startswith("epoch 1/3  step 10/25")


def test_a_run_without_a_last_step_has_no_total() -> None:
    assert show([0.0], last_step=None)[0].startswith("epoch 1/…  step 10/…  train/loss 1")


def test_a_terminal_has_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TERM": "xterm", "NO_COLOR": ""}.items():
        monkeypatch.setenv(name, value)
    out = Console(file=Terminal(), width=80, force_terminal=True)
    with Display(Plan(10, 100), out, timing=Timing()) as display:
        display.on_block(0, block(50, 0.5))
    drawn = text(out)
    assert "5/10" in drawn and "50/100" in drawn and "train/loss 0.5" in drawn
    assert drawn.count("\x1b[?25l") == drawn.count("\x1b[?25h") == 1  # the cursor is visible again


@pytest.mark.parametrize("width", [80, 40])
def test_no_value_stands_apart_from_its_name(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TERM": "xterm", "NO_COLOR": ""}.items():
        monkeypatch.setenv(name, value)
    values = {"train/loss": 0.2009, "train/mae": 39.25, "train/rmse": 49.75, "val/loss": 0.2514, "val/mae": 45.57}
    result = block(50, 0.5)
    monkeypatch.setattr(BlockResult, "newest_values", lambda _: values)
    out = Console(file=Terminal(), width=width, force_terminal=True)
    with Display(Plan(10, 100), out, timing=Timing()) as display:
        display.on_block(0, result)
    drawn = text(out)
    for metric, number in values.items():
        assert f"{metric} {number}" in drawn


def test_a_stage_that_is_compiled_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TERM": "xterm", "NO_COLOR": ""}.items():
        monkeypatch.setenv(name, value)
    for out in (console(120), Console(file=Terminal(), width=80, force_terminal=True)):
        with Display(Plan(10, 100), out, timing=Timing()) as display:
            display.on_block(0, block(10, 0.5))
            display.on_new_stage(1000)
        assert "compiling for the stage from step 1,000 on" in text(out)


def test_a_dumb_terminal_has_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    out = Console(file=Terminal(), width=80)
    with Display(Plan(10, 100), out, timing=Timing()) as display:
        display.on_block(0, block(50, 0.5))
    assert text(out).splitlines() == ["epoch 5/10  step 50/100  train/loss 0.5"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0, "0"),
        (0.123456, "0.1235"),
        (-2.0, "-2"),
        (9999.4, "9999"),
        (51234.56, "51,235"),
        (-1234567.0, "-1,234,567"),
        (1.5e-7, "1.5e-07"),
        (float("nan"), "–"),
        (float("inf"), "–"),
    ],
)
def test_a_number_has_the_digits_that_a_person_compares(value: float | None, text: str) -> None:
    assert format_value(value) == text


def test_paths_are_shown_as_a_person_types_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert shown(Path.cwd() / "outputs" / "a") == "outputs/a"
    assert shown(Path("/elsewhere/a")) == "/elsewhere/a"


@pytest.mark.parametrize(
    ("size", "text"), [(512, "512 bytes"), (1536, "1.5 KiB"), (3 * 2**20, "3 MiB"), (5000 * 2**30, "5000 GiB")]
)
def test_a_size_has_its_unit(size: float, text: str) -> None:
    assert format_bytes(size) == text


def test_waiting_is_not_shown_in_a_file() -> None:
    out = console()
    with waiting(out, "building"):
        pass
    assert text(out) == ""
