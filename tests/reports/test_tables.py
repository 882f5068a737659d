"""Tables over runs, against means and deviations worked out by hand."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tfrun.reports.comparison import compare
from tfrun.reports.repeats import repeats_table
from tfrun.reports.tables import (
    all_as_csv,
    all_as_markdown,
    as_csv,
    as_markdown,
    print_comparison,
    print_differences,
    runs_table,
)
from tfrun.reports.texts import TextTable


def test_a_line_for_each_run(sweep: Path) -> None:
    heads, lines = runs_table(compare([str(sweep)]))
    assert heads[:6] == ["run", "seed", "model.units", "val/loss best", "status", "val/loss last"]
    assert lines[0] == ["3", "2", "8", "0.1", "completed", "1.1", "2.1", "3", "100"]
    assert lines[-1][:5] == ["4", "3", "16", "–", "failed"]


def test_seeds_are_summed_up(sweep: Path) -> None:
    table = repeats_table(compare([str(sweep)]))
    assert table is not None
    heads, lines = table
    assert heads[:2] == ["model.units", "seeds"]
    # 0.1 and 0.2: mean 0.15, deviation √(2·0.05²); t with one degree of freedom is 12.706
    assert lines[0][:4] == ["8", "2", "0.15", "0.0707107"]
    assert float(lines[0][4].removeprefix("± ")) == pytest.approx(12.706 * 0.0707107 / 2**0.5, rel=1e-2)
    assert lines[1][:3] == ["4", "2", "0.4"]


def test_folds_are_summed_up_and_the_best_mean_wins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], write_run: Callable[..., None]
) -> None:
    values: dict[int, list[float | None]] = {4: [0.1, 0.9], 8: [0.3, 0.5], 16: [0.0, None]}
    for number, (units, fold) in enumerate((units, fold) for units in values for fold in range(2)):
        best = values[units][fold]
        status = "completed" if best is not None else "failed"
        data = {"folds": 2, "folds_repeats": 1, "fold": fold}
        write_run(tmp_path / "cv", number, best, status, model={"units": units}, data=data)
    comparison = compare([str(tmp_path / "cv")])
    heads, lines = repeats_table(comparison) or ([], [])
    assert heads == ["model.units", "folds", "val/loss mean", "deviation"]
    # 0.3 and 0.5: mean 0.4, deviation √(2·0.1²)
    assert lines == [["8", "2", "0.4", "0.141421"], ["4", "2", "0.5", "0.565685"], ["16", "1, not all", "0", ""]]
    print_comparison(comparison)
    out = capsys.readouterr().out
    assert "over folds" in out and f"best       val/loss 0.4 in the mean of {tmp_path / 'cv' / '2'}, 3" in out


def test_a_mean_over_seeds_counts_the_seed_that_failed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], write_run: Callable[..., None]
) -> None:
    runs = [(units, seed, fold) for units in (4, 8) for seed in (1, 2) for fold in range(2)]
    for number, (units, seed, fold) in enumerate(runs):
        best, status = (None, "diverged") if (units, seed) == (4, 2) else (units / 10, "completed")
        data = {"folds": 2, "folds_repeats": 1, "fold": fold}
        write_run(tmp_path, number, best, status, seed=seed, model={"units": units}, data=data)
    comparison = compare([str(tmp_path)])
    _, lines = repeats_table(comparison) or ([], [])
    assert lines == [["8", "4", "0.8", "0"], ["4", "2, not all", "0.4", "0"]]
    print_comparison(comparison)
    # the best is one seed of a setting, as it is without folds
    assert f"best       val/loss 0.4 in the mean of {tmp_path / '0'}, 1" in capsys.readouterr().out


def test_the_best_of_several_seeds_is_one_of_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], write_run: Callable[..., None]
) -> None:
    for number, (seed, fold) in enumerate((seed, fold) for seed in (1, 2) for fold in range(2)):
        data = {"folds": 2, "folds_repeats": 1, "fold": fold}
        write_run(tmp_path / "cv", number, [0.4, 0.6, 0.2, 0.6][number], seed=seed, data=data)
    print_comparison(compare([str(tmp_path / "cv")]))
    out = capsys.readouterr().out
    assert "over folds and seeds" in out and f"best       val/loss 0.4 in the mean of {tmp_path / 'cv' / '2'}, 3" in out


def test_of_different_losses_the_loss_says_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], write_run: Callable[..., None]
) -> None:
    for number in range(10):
        write_run(
            tmp_path, number, 1.0 + number, loss={"name": "huber", "delta": 0.5 + number % 2}, model={"units": number}
        )
    print_comparison(compare([str(tmp_path)]))
    assert "no best: val/loss of different losses can't be compared" in capsys.readouterr().out
    print_comparison(compare([str(tmp_path)], "val/hits"))
    assert f"best       {tmp_path / '9'}" in capsys.readouterr().out
    for number in range(2):
        write_run(tmp_path / "failed", number, None, "failed", loss={"name": "huber", "delta": 0.5 + number})
    print_comparison(compare([str(tmp_path / "failed")]))
    assert "no best" not in capsys.readouterr().out  # nor is there anything to compare


def test_two_runs_side_by_side(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_differences(compare(["sweep/0", "sweep/2"]))
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    assert ["model.units", "8", "4"] in lines  # the better one first
    assert ["val/loss best", "0.2", "0.3"] in lines and ["val/loss last", "1.2", "1.3"] in lines
    assert not any(line and line[0] in ("seed", "name", "model.same") for line in lines)


@pytest.mark.parametrize("undefined", ["NaN", "Infinity", "null"])
def test_a_value_that_is_not_defined_is_an_empty_cell_and_never_the_best(
    sweep: Path, undefined: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = sweep / "3" / "run.json"  # NaN and Infinity are those of earlier versions
    path.write_text(path.read_text().replace('"val/loss": 0.1', f'"val/loss": {undefined}'))
    for mode, best in (("min", "2"), ("max", "1")):
        comparison = compare([str(sweep)], mode=mode)
        table = runs_table(comparison)
        assert table.lines[0][0] == best and "3" in [line[0] for line in table.lines[-2:]]
        assert len(comparison.done) == 3
    (line,) = (line for line in as_csv(table).splitlines() if line.startswith("3,"))
    assert line.split(",")[3] == ""
    assert [row[3] for row in table.lines if row[0] == "3"] == ["–"]
    assert undefined.lower()[:3] not in as_markdown(table).lower()


def test_csv_and_markdown(sweep: Path) -> None:
    table = runs_table(compare([str(sweep)]))
    assert as_csv(table).splitlines()[1].startswith("3,2,8,0.1,completed")
    assert as_markdown(table).splitlines()[2].startswith("| 3 | 2 | 8 | 0.1 |")
    assert as_markdown(table._replace(lines=[["a|b"]])).splitlines()[2] == "| a\\|b |"


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("-x", "'-x"),
        ("+1+1", "'+1+1"),
        ("-1.5e-3", "-1.5e-3"),
        ("+7", "+7"),
        ("-inf", "-inf"),
        ("a=b", "a=b"),
        ("\t-1", "'\t-1"),
    ],
)
def test_a_csv_holds_no_formula(cell: str, expected: str) -> None:
    lines = as_csv(TextTable(["run", cell], [["1", cell]])).splitlines()
    assert list(csv.reader(lines)) == [["run", expected], ["1", expected]]


def test_a_narrow_terminal_has_the_columns_that_matter(
    sweep: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    print_comparison(compare([str(sweep)]))
    out = capsys.readouterr().out
    assert rows_of(out)[0] == ["run", "seed", "units", "val/loss best"]
    assert "not completed: 4 failed\n" in out and "no room" not in out


def rows_of(out: str) -> list[list[str]]:
    """Returns the cells of the tables in what was printed."""
    lines = [line.replace("┃", "│") for line in out.splitlines()]
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if line.startswith("│")]


def test_keys_without_room_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, write_run: Callable[..., None]
) -> None:
    monkeypatch.setenv("COLUMNS", "36")
    for number, kind in enumerate(["wide_deep", "mlp"]):
        other = {"seed": number, "data": {"name": f"data_set_{number}"}, "trainer": {"precision": f"float{number}"}}
        write_run(tmp_path, number, 0.1 + number, "diverged" if number else "completed", model={"name": kind}, **other)
    print_comparison(compare([str(tmp_path)]))
    out = capsys.readouterr().out
    # 3 + 9 + 8 columns for the run, the model and the loss, 3 for each border and 1 for the last: 30; the seed needs 7
    assert rows_of(out) == [["run", "model", "val/loss best"], ["0", "wide_deep", "0.1"], ["1", "mlp", "1.1"]]
    says = "no room for data.name, trainer.precision, seed: a wider terminal, --csv and --html show all keys\n"
    assert says in out and "not completed: 1 diverged\n" in out


def test_the_first_lines_of_many(
    sweep: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    comparison = compare([str(sweep)])
    print_comparison(comparison, top=1)
    out = capsys.readouterr().out
    assert [row[0] for row in rows_of(out)] == ["run", "3", "units", "8"]
    assert "4 more runs: top=all shows all\n" in out and "1 more setting: top=all shows all\n" in out
    print_comparison(comparison, top=None)
    assert "more" not in capsys.readouterr().out
    parts = all_as_markdown(comparison, 4).split("\n\n")
    assert [len(part.splitlines()) for part in parts] == [6, 1, 4]  # two tables, each with a head and a line below it
    assert parts[1] == "1 more run: top=all shows all"
    assert len(all_as_csv(comparison).splitlines()) == 6 + 1 + 3


def test_a_seed_that_no_other_joins_is_no_mean(tmp_path: Path, write_run: Callable[..., None]) -> None:
    for number, (units, seed) in enumerate([(4, 1), (8, 2), (16, 3)]):
        write_run(tmp_path, number, 0.1, seed=seed, model={"units": units})
    assert repeats_table(compare([str(tmp_path)])) is None
    write_run(tmp_path, 3, 0.3, seed=4, model={"units": 8})
    table = repeats_table(compare([str(tmp_path)]))
    assert table is not None and [line[:3] for line in table.lines] == [["8", "2", "0.2"]]


def test_importance_only_where_asked_for(grid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_comparison(compare([str(grid)]))
    assert "importance" not in capsys.readouterr().out
    print_comparison(compare([str(grid)]), with_importance=True)
    out = capsys.readouterr().out
    assert [line.split()[2] for line in out.splitlines() if "importance" in line] == ["optimizer.rate", "model.kind"]


def test_few_runs_have_no_importance(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_comparison(compare([str(sweep)]), with_importance=True)
    assert "no importance: it needs at least 8 completed runs\n" in capsys.readouterr().out


def test_two_runs_of_other_models_have_the_keys_that_matter(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, write_run: Callable[..., None]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    write_run(tmp_path, 0, 0.1, seed=1, model={"name": "mlp", "units": 8, "dropout": 0.5})
    write_run(tmp_path, 1, 0.2, seed=2, model={"name": "linear", "units": 4, "bias": True})
    comparison = compare([str(tmp_path)])
    print_differences(comparison, top=20)
    out = capsys.readouterr().out
    assert [row[0] for row in rows_of(out)][1:3] == ["model.name", "seed"]
    assert "3 more keys differ: top=all shows all\n" in out
    print_differences(comparison)
    assert {"model.units", "model.dropout", "model.bias"} < {row[0] for row in rows_of(capsys.readouterr().out)}


def test_a_last_value_that_is_the_best_is_printed_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, write_run: Callable[..., None]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    for number in range(2):
        write_run(tmp_path, number, 0.5 + number, model={"units": number})
        path = tmp_path / str(number) / "run.json"
        run = json.loads(path.read_text())
        path.write_text(json.dumps(run | {"metrics": run["metrics"] | {"val/loss": run["best"]["val/loss"]}}))
    print_differences(compare([str(tmp_path)]))
    heads = [row[0] for row in rows_of(capsys.readouterr().out)]
    assert heads == ["", "model.units", "val/loss best", "val/hits best", "test/loss last"]
