from __future__ import annotations

from collections.abc import Callable

Result = tuple[int, str, str]


def test_list(run: Callable[..., Result]) -> None:
    code, out, _ = run("list", "loss", "strategy")
    assert code == 0
    assert out.startswith("loss\n")
    assert "\n  huber " in out
    assert "\nstrategy\n" in out and "  cpu       Uses the CPU, even if there is a GPU." in out
    assert "schedule\n" in run("list")[1]
