from __future__ import annotations

import numpy as np
import pytest

from tfrun.reports.text_chart import log_chart


def test_a_falling_line() -> None:
    lines = log_chart([-2, -1], [2.0, 1.0], top=2.0, width=18, mark=-1.0)
    assert len(lines) == 10
    assert lines[0].startswith("2 │█") and lines[7].startswith("1 │█")
    bottom = lines[7][3:]
    assert len(bottom) == 15 and bottom[-1] == "▁"  # the least value is seen
    assert lines[8].startswith("  └1e-2─") and lines[9].index("▲") == 3 + 14


@pytest.mark.parametrize("width", [40, 80, 20])
def test_a_chart_is_as_wide_as_the_terminal(width: int) -> None:
    x = np.linspace(-7, 1, 100)
    lines = log_chart(x, np.cos(x), top=1.0, width=width, mark=-3.0)
    assert max(map(len, lines)) <= width
    assert lines[8].startswith("   └1e-7──")


def test_what_is_higher_than_the_top_is_cut() -> None:
    lines = log_chart([0, 1, 2], [1.0, 1.0, 1e9], top=2.0, width=30)
    assert lines[0].rstrip().endswith("█") and len(lines) == 9


def test_a_flat_line() -> None:
    assert "▁" * 12 in log_chart([0, 1], [1.0, 1.0], top=1.0, width=3)[7]
