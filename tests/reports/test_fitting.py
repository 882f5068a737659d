"""Which columns a terminal has room for."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from tfrun.reports.comparison import compare
from tfrun.reports.fitting import by_interest, names_of, print_fitting, short_ids
from tfrun.reports.texts import TextTable

RUNS = ["2026-11-29_22-36-47_08ad0a/0", "2026-11-29_22-36-01_bce6a6/10"]
TABLE = TextTable(
    ["run", "seed", "data.name", "units", "val/loss best", "status"],
    [[RUNS[0], "1", "digits", "[300, 100]", "0.1", "completed"], [RUNS[1], "2", "csv", "[8]", "0.2", "completed"]],
)
KEYS = ["data.name", "units", "seed"]


# Widths: run 29 or, without the date, 9; seed 4; data 6; units 10; loss 8; status 9; and 3 for each border, 1 for the
# last.
@pytest.mark.parametrize(
    ("width", "left_out"),
    [
        (85, []),
        (84, ["status"]),
        (73, ["status"]),
        (72, []),  # without the date there is room again
        (65, []),
        (64, ["status"]),
        (53, ["status"]),
        (52, ["seed", "status"]),
        (46, ["seed", "status"]),
        (45, ["units", "status"]),  # the seed takes less room than the units
        (40, ["units", "status"]),
        (39, ["seed", "units", "status"]),
        (33, ["seed", "units", "status"]),
        (32, ["data.name", "units", "status"]),
        (31, ["data.name", "units", "status"]),
        (30, ["seed", "data.name", "units", "status"]),
        (10, ["seed", "data.name", "units", "status"]),
    ],
)
def test_the_columns_that_there_is_room_for(width: int, left_out: list[str]) -> None:
    output = io.StringIO()
    heads = print_fitting(Console(file=output, width=width), TABLE, keys=KEYS, title="")
    assert heads == [head for head in TABLE.heads if head not in left_out]
    assert width < 40 or max(map(len, output.getvalue().splitlines())) <= width


def test_a_table_without_keys_has_the_metric() -> None:
    console = Console(file=io.StringIO(), width=20)
    table = TextTable(["run", "val/loss best", "status"], [["a_run_of_a_long_name", "0.1", "completed"]])
    assert print_fitting(console, table, keys=[], title="") == ["run", "val/loss best"]


def test_run_ids_lose_their_date_if_they_still_differ() -> None:
    assert short_ids(RUNS) == ["08ad0a/0", "bce6a6/10"]
    assert short_ids(["2026-11-29_22-36-47_08ad0a", "2026-11-30_22-36-47_08ad0a"]) == [
        "2026-11-29_22-36-47_08ad0a",
        "2026-11-30_22-36-47_08ad0a",
    ]
    assert short_ids(["mine", "7"]) == ["mine", "7"]


def test_a_component_is_called_as_its_group() -> None:
    assert names_of(["model.name", "optimizer.learning_rate", "name"]) == ["model", "learning_rate", "name"]
    assert names_of(["model.units", "tower.units"]) == ["model.units", "tower.units"]


def test_components_come_first_and_seeds_last(tmp_path: Path, write_run: Callable[..., None]) -> None:
    for number in range(4):
        write_run(
            tmp_path,
            number,
            0.1,
            seed=number,
            trainer={"threads": number, "max_epochs": number // 2},
            loss={"name": "mse" if number else "mae"},
            model={"name": ["mlp", "linear"][number // 2]},
        )
        path = tmp_path / str(number) / "run.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"overrides": ["+trainer.max_epochs=1"]}))
    comparison = compare([str(tmp_path)])
    # 2 runs have another model than the others, 1 another loss
    in_order = ["model.name", "loss.name", "trainer.max_epochs", "trainer.threads", "seed"]
    assert by_interest(comparison, {}) == in_order
    assert by_interest(comparison, {"seed": 0.6, "trainer.threads": 0.4})[:3] == [
        "seed",
        "trainer.threads",
        "model.name",
    ]
