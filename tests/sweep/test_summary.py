"""The table at the end of a sweep, and the commands after it."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from tfrun.console import tensorboard_command
from tfrun.files.runs import RunFolder
from tfrun.sweep.candidates import best_of
from tfrun.sweep.outcome import Outcome
from tfrun.sweep.summary import print_sweep

SWEEP = Path("/runs/multirun/small/2026-01-01")


def outcome(number: int, value: float | None, status: str = "completed", error: str = "", **swept: str) -> Outcome:
    return Outcome(RunFolder(SWEEP / str(number)), swept, status, "val/loss", value, error)


def printed(*outcomes: Outcome, is_interrupted: bool = False) -> list[str]:
    output = io.StringIO()
    console = Console(file=output, width=100)
    print_sweep(
        SWEEP, outcomes, mode="min", best=best_of(outcomes, "min"), is_interrupted=is_interrupted, console=console
    )
    return output.getvalue().splitlines()


def test_the_table_names_values_ends_the_best_and_repeats() -> None:
    copied = Outcome(RunFolder(SWEEP / "3"), {"seed": "2"}, "pruned", "val/loss", 0.3, "", source="1")
    lines = printed(outcome(0, 0.5, seed="1"), outcome(1, 0.25, seed="2"), outcome(2, 0.5, seed="1"), copied)
    assert lines[0].strip() == "small: 4 jobs, 1 pruned"
    rows = [line for line in lines if line.startswith("│")]
    cells = [[cell.strip() for cell in row.strip("│").split("│")] for row in rows]
    assert cells == [
        ["1", "2", "0.25", "completed, best"],
        ["0", "1", "0.5", "completed"],
        ["2", "1", "0.5", "completed, repeats #0"],
        ["3", "2", "0.3", "pruned, from #1, repeats #1"],
    ]
    assert lines[-4:] == [
        f"sweep      {SWEEP}",
        f"curves     {tensorboard_command(SWEEP)}",
        f"compare    tfrun compare {SWEEP}",
        "best       #1 seed=2, val/loss 0.25",
    ]


def test_only_the_best_ones_are_shown_best_first() -> None:
    lines = printed(*(outcome(k, 0.5 - k / 100, "failed" if k == 3 else "completed", seed=str(k)) for k in range(14)))
    rows = [line.strip("│").split("│")[0].strip() for line in lines if line.startswith("│")]
    assert rows == ["13", "12", "11", "10", "9", "8", "7", "6", "5", "4"]
    assert lines[0].strip() == "small: 14 jobs, 1 failed"
    assert f"These are the 10 best. All of them: tfrun compare {SWEEP} top=all" in lines
    assert lines[-1] == "best       #13 seed=13, val/loss 0.37"


def test_folds_are_one_row(tmp_path: Path) -> None:
    sweep = tmp_path / "small" / "2026-01-01"
    jobs = []
    for number, (value, rate) in enumerate([(0.5, "0.1"), (0.7, "0.1"), (0.2, "1"), (0.3, "1")]):
        folder = RunFolder(sweep / str(number))
        folder.path.mkdir(parents=True)
        words = ["data.folds=2", "name=my run", f"optimizer.learning_rate={rate}", f"data.fold={number % 2}"]
        folder.write_run({"status": "completed", "overrides": words})
        swept = {"optimizer.learning_rate": rate, "data.fold": str(number % 2)}
        status = "completed" if number < 3 else "stopped"
        jobs.append(Outcome(folder, swept, status, "val/loss", value, "", num_folds=2))
    output = io.StringIO()
    print_sweep(sweep, jobs, mode="min", best=best_of(jobs, "min"), console=Console(file=output, width=100))
    lines = output.getvalue().splitlines()
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if line.startswith("│")]
    # the deviation of 0.5 and 0.7 is 0.2 / sqrt(2)
    assert cells == [
        ["0–1", "0.1", "0.6", "0.14", "2 of 2, best"],
        ["2–3", "1", "0.2", "–", "1 of 2, 1 stopped"],
    ]
    assert "all rows   tfrun 'name=my run' optimizer.learning_rate=0.1" in lines
    assert "best       #0–1 learning_rate=0.1, val/loss 0.6 over 2 folds" in lines


def test_the_command_for_all_rows_of_a_search_is_a_single_run(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "s" / "0")
    folder.path.mkdir(parents=True)
    words = ["hparams_search=optuna", "data.folds=2", "seed=1", "data.fold=0"]
    folder.write_run({"status": "completed", "overrides": words})
    jobs = [Outcome(folder, {"data.fold": str(k)}, "completed", "val/loss", 0.5, "", num_folds=2) for k in range(2)]
    output = io.StringIO()
    print_sweep(tmp_path / "s", jobs, mode="min", best=best_of(jobs, "min"), console=Console(file=output, width=100))
    assert "all rows   tfrun hparams_search=optuna seed=1 hydra.mode=RUN\n" in output.getvalue()


def test_no_cross_validation_is_best_without_all_folds() -> None:
    jobs = [Outcome(RunFolder(SWEEP / "0"), {"data.fold": "0"}, "completed", "val/loss", 0.5, "", num_folds=2)]
    assert "no best, because no cross-validation has a value in all of its folds" in printed(*jobs)


def test_failures_are_explained() -> None:
    lines = printed(outcome(0, None, "failed", "ValueError: a bug", seed="1"), outcome(1, None, "stopped", seed="2"))
    position = lines.index("#0 seed=1  failed: ValueError: a bug")
    assert lines[position + 1] == f"   {SWEEP}/0/tfrun.log"
    assert not any(line.startswith("#1") for line in lines)
    assert lines[-1] == f"resume     tfrun resume {SWEEP}"  # for the one that was stopped


def test_an_interrupted_sweep_can_be_resumed() -> None:
    assert printed(outcome(0, 0.5, seed="1"), is_interrupted=True)[-1].startswith("resume ")


def test_losses_that_can_t_be_compared() -> None:
    lines = printed(outcome(0, 0.5, loss="mse"), outcome(1, 0.25, loss="huber"))
    assert any(line.startswith("no best job, because these values can't be compared") for line in lines)
    assert not any(", best" in line for line in lines)


def test_a_value_that_is_defined_in_no_job_makes_none_the_best() -> None:
    lines = printed(outcome(0, None, seed="1"), outcome(1, None, seed="2"))
    assert "no best job, because the monitored value is defined in none" in lines
