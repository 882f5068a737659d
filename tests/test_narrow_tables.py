"""Tables on terminals that are too narrow for them."""

from __future__ import annotations

import io

from rich.console import Console
from rich.table import Table

from tfrun.narrow_tables import print_table

HEADS = ("jobs", "learning_rate", "val/loss", "folds")


def printed(width: int) -> list[str]:
    table = Table(*HEADS, title="small: 10 jobs", title_justify="left")
    table.add_row("0–4", "0.00443038", "0.482671", "5 of 5, best")
    table.add_row("5–9", "", "0.358478", "1 of 5")
    output = io.StringIO()
    print_table(Console(file=output, width=width), table)
    return [line.rstrip() for line in output.getvalue().splitlines()]


def cells(lines: list[str]) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if line.startswith("│")]


def test_texts_wrap_between_words_and_numbers_never() -> None:
    # 4 + 13 + 8 + 12 columns, and 3 for each border, 1 for the last: 50
    assert max(map(len, printed(50))) == 50
    assert cells(printed(50))[0] == ["0–4", "0.00443038", "0.482671", "5 of 5, best"]
    assert cells(printed(49))[:2] == [["0–4", "0.00443038", "0.482671", "5 of 5,"], ["", "", "", "best"]]


def test_a_head_is_broken_before_a_table_is_given_up() -> None:
    # 4 + 10 + 8 + 5 + 13
    lines = printed(40)
    assert max(map(len, lines)) == 40
    assert any("learning_r " in line for line in lines[:4]) and any("ate " in line for line in lines[:4])
    assert cells(lines)[0] == ["0–4", "0.00443038", "0.482671", "5 of"]


def test_rows_stand_below_each_other_in_less() -> None:
    assert printed(39) == [
        "small: 10 jobs",
        "jobs 0–4",
        "  learning_rate  0.00443038",
        "  val/loss       0.482671",
        "  folds          5 of 5, best",
        "jobs 5–9",
        "  val/loss       0.358478",
        "  folds          1 of 5",
    ]
