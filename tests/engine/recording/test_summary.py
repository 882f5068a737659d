"""The last lines of a run."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tfrun.console import tensorboard_command
from tfrun.engine.recording.summary import aligned, print_summary

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
    "timing": {"import_seconds": 2.5, "compile_seconds": 7.8, "train_seconds": 89.4, "checkpoint_seconds": 0.3},
}


def console(width: int = 120) -> Console:
    return Console(file=io.StringIO(), width=width)


def text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


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
        ["best val, epoch 7", "0.2500", "1"],
        ["last train", "0.1250", "51,234"],
        ["last val", "0.5000", "2"],
        ["test, best weights", "0.7500", "3"],
    ]
    assert lines[-6:] == [
        "time        100 s: 89 s training, 7.8 s compiling",
        f"run         {folder}",
        "checkpoint  checkpoints/step-000012345, in it",
        f"metrics     tfrun evaluate {folder}",
        f"report      tfrun report {folder}",
        f"curves      {tensorboard_command(tmp_path / 'outputs')}",
    ]


def test_the_summary_without_validation_or_test(tmp_path: Path) -> None:
    out = console()
    print_summary(
        out,
        {**RUN, "metrics": {"train/loss": 0.5}, "best": {}},
        folder=tmp_path / "a" / "b" / "c",
        checkpoint=tmp_path / "a" / "b" / "c" / "d",
    )
    assert [cells(line) for line in text(out).splitlines() if line[:1] in "│┃"] == [
        ["", "loss"],
        ["last train", "0.5000"],
    ]


def test_the_summary_of_a_run_without_an_epoch(tmp_path: Path) -> None:
    out = console()
    print_summary(out, {**RUN, "metrics": {}, "best": {}}, folder=Path("/a/b/c"), checkpoint=Path("/a/b/c/d"))
    assert text(out).splitlines() == [
        "trial: completed at step 12,345, epoch 20",
        "time        100 s: 89 s training, 7.8 s compiling",
        "run         /a/b/c",
        "checkpoint  d, in it",
        "metrics     tfrun evaluate /a/b/c",
        "report      tfrun report /a/b/c",  # and no curves without a logger
    ]


def test_the_summary_on_a_narrow_console(tmp_path: Path) -> None:
    out = console(40)
    folder = tmp_path / "outputs" / "trial" / "2026-01-01_00-00-00_abcdef"
    print_summary(out, RUN, folder=folder, checkpoint=folder / "checkpoints" / "step-000012345")
    lines = text(out).splitlines()
    table = [line for line in lines if line[:1] in "┏┃┡│└"]
    assert {len(line) for line in table} == {len(table[0])} and len(table[0]) <= 40
    assert [cells(line)[1:] for line in table if cells(line)[0].startswith("last train")] == [["0.1250", "51,234"]]
    assert f"run         {folder}" in lines  # a path stays on one line, to be copied


@pytest.mark.parametrize(
    ("best_epoch", "ended_by", "is_told"),
    [(20, "last step", True), (19, "last step", False), (20, "early stopping", False)],
)
def test_a_run_whose_last_epoch_was_the_best_may_train_longer(
    best_epoch: int, ended_by: str, is_told: bool, tmp_path: Path
) -> None:
    run = RUN | {"best": RUN["best"] | {"epoch": best_epoch}, "engine": {"ended_by": ended_by}}
    shown_on = console()
    print_summary(shown_on, run, folder=tmp_path, checkpoint=tmp_path / "d")
    assert ("trainer.max_epochs=40" in text(shown_on)) is is_told


def test_the_newest_run_has_a_short_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folders = [Path.cwd() / "outputs" / "trial" / f"2026-01-0{day}_00-00-00_abcdef" for day in (1, 2)]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "config.yaml").touch()
    for folder, name in zip(folders, ("outputs/trial/2026-01-01_00-00-00_abcdef", "latest"), strict=True):
        out = console()
        print_summary(out, RUN, folder=folder, checkpoint=folder / "d")
        assert f"metrics     tfrun evaluate {name}" in text(out).splitlines()


def test_the_unit_of_the_loss_and_what_was_best(tmp_path: Path) -> None:
    out = console()
    best = RUN["best"] | {"monitor": "val/mae"}
    print_summary(
        out, RUN | {"best": best}, folder=tmp_path, checkpoint=tmp_path / "d", loss_unit="The loss is scaled."
    )
    lines = text(out).splitlines()
    assert "The loss is scaled." in lines
    assert any(line.startswith("│ best val, epoch 7 by mae ") for line in lines)


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([0.25, 0.125, 0.5], ["0.2500", "0.1250", "0.5000"]),
        ([1.0, 51234.4, None], ["1", "51,234", "–"]),
        ([45.57, 3.0, float("nan")], ["45.57", "3.00", "–"]),
        ([0.0189, 0.02894, 0.0], ["0.01890", "0.02894", "0.00000"]),
        ([5.0, 1e-9], ["5.000", "1e-09"]),  # digits that would be lost
        ([1.5e-7, 2e-8], ["1.5e-07", "2e-08"]),
        ([], []),
    ],
)
def test_points_align(values: list[float | None], texts: list[str]) -> None:
    assert aligned(values) == texts


def test_words_are_not_broken_on_a_narrow_terminal(tmp_path: Path) -> None:
    out = Console(file=io.StringIO(), width=40, force_terminal=True)
    unit = "The loss is that of the scaled target, (y − 151.4) / 76.97."
    print_summary(out, RUN, folder=tmp_path, checkpoint=tmp_path / "d", loss_unit=unit)
    lines = [line for line in text(out).splitlines() if str(tmp_path) not in line]
    assert "The loss is that of the scaled target," in lines and "(y − 151.4) / 76.97." in lines
    place = next(k for k, line in enumerate(lines) if line.startswith("time "))
    assert lines[place : place + 2] == ["time        100 s: 89 s training, 7.8 s", "            compiling"]
