from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable

import pytest

Result = tuple[int, str, str]


def test_list(run: Callable[..., Result]) -> None:
    code, out, _ = run("list", "loss", "strategy")
    assert code == 0
    assert out.startswith("loss\n")
    assert "\n  huber " in out
    assert "\nstrategy\n" in out and re.search(r"^  cpu +Uses the CPU, even if there is a GPU\.$", out, re.MULTILINE)
    assert "schedule\n" in run("list")[1]


def test_a_narrow_terminal_breaks_lines_between_words(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run("list", "loss")[1]
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("shutil.get_terminal_size", lambda *_: os.terminal_size((80, 24)))
    narrow = run("list", "loss")[1]
    assert max(map(len, narrow.splitlines())) <= 80
    assert "".join(narrow.split()) == "".join(whole.split())
