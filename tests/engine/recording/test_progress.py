"""What a person sees of a run: lines, bars and the summary."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from tfrun.console import tensorboard_command
from tfrun.engine.recording.progress import Display, format_bytes, format_value, print_summary, waiting
from tfrun.engine.training.block_result import BlockResult
from tfrun.engine.training.plan import Plan
from tfrun.engine.training.timing import Timing
from tfrun.folders import shown

RUN: dict[str, Any] = {
    "name": "trial",
    "status": "completed",
    "step": 12_345,
    "epoch": 20,
    "metrics": {
        "train/loss": 0.125,
        "train/mae": 51234.4,
        "val/loss": 0.5,
        "val/mae": 2.0,
        "test/loss": 0.75,
        "test/mae": 3.0,
    },
    "best": {
        "epoch": 7,
        "step": 4000,
        "monitor": "val/loss",
        "train/loss": 0.2,
        "train/mae": 9.0,
        "val/loss": 0.25,
        "val/mae": 1.0,
    },
}


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


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("│┃").replace("┃", "│").split("│")]


def test_the_summary_is_a_table_and_paths(tmp_path: Path) -> None:
    out = console(100)
    folder = tmp_path / "outputs" / "trial" / "2026-01-01_00-00-00_abcdef"
    (folder / "tensorboard").mkdir(parents=True)
    print_summary(out, RUN, folder=folder, checkpoint=folder / "checkpoints" / "step-000012345")
    lines = text(out).splitlines()
    assert lines[0] == "trial: completed at step 12,345, epoch 20"
    rows = [cells(line) for line in lines if line[:1] in "│┃"]
    assert rows == [
        ["", "loss", "mae"],
        ["best val, epoch 7", "0.25", "1"],
        ["last train", "0.125", "51,234"],
        ["last val", "0.5", "2"],
        ["test, best weights", "0.75", "3"],
    ]
    assert lines[-3:] == [
        f"run         {folder}",
        f"checkpoint  {folder}/checkpoints/step-000012345",
        f"curves      {tensorboard_command(tmp_path / 'outputs')}",
    ]


def test_the_summary_without_validation_or_test(tmp_path: Path) -> None:
    out = console()
    print_summary(
        out, {**RUN, "metrics": {"train/loss": 0.5}, "best": {}}, folder=tmp_path / "a" / "b" / "c", checkpoint=tmp_path
    )
    assert [cells(line) for line in text(out).splitlines() if line[:1] in "│┃"] == [["", "loss"], ["last train", "0.5"]]


def test_the_summary_of_a_run_without_an_epoch(tmp_path: Path) -> None:
    out = console()
    print_summary(out, {**RUN, "metrics": {}, "best": {}}, folder=Path("/a/b/c"), checkpoint=Path("/a/b/c/d"))
    assert text(out).splitlines() == [
        "trial: completed at step 12,345, epoch 20",
        "run         /a/b/c",
        "checkpoint  /a/b/c/d",  # and no curves without a logger
    ]


def test_the_summary_on_a_narrow_console(tmp_path: Path) -> None:
    out = console(40)
    folder = tmp_path / "outputs" / "trial" / "2026-01-01_00-00-00_abcdef"
    print_summary(out, RUN, folder=folder, checkpoint=folder / "checkpoints" / "step-000012345")
    lines = text(out).splitlines()
    table = [line for line in lines if line[:1] in "┏┃┡│└"]
    assert {len(line) for line in table} == {len(table[0])} and len(table[0]) <= 40
    assert [cells(line)[1:] for line in table if cells(line)[0].startswith("last train")] == [["0.125", "51,234"]]
    assert f"run         {folder}" in lines  # a path stays on one line, to be copied


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


@pytest.mark.parametrize(
    ("best_epoch", "ended_by", "is_told"),
    [(20, "last step", True), (19, "last step", False), (20, "early stopping", False)],
)
def test_a_run_whose_last_epoch_was_the_best_may_train_longer(
    best_epoch: int, ended_by: str, is_told: bool, tmp_path: Path
) -> None:
    run = RUN | {"best": RUN["best"] | {"epoch": best_epoch}, "engine": {"ended_by": ended_by}}
    shown_on = console()
    print_summary(shown_on, run, folder=tmp_path, checkpoint=tmp_path)
    assert ("trainer.max_epochs=40" in text(shown_on)) is is_told
