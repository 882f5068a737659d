"""What a range test prints, and its page."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tfrun.reports.range_curve import RangeCurve
from tfrun.reports.range_page import page
from tfrun.reports.range_report import RangeReport

RATES = np.logspace(-6, 0, 61).tolist()
FALL_AND_RISE = np.abs(np.log10(RATES) + 2) + 1  # least, 1, at 1e-2


def report_of(losses: Any = FALL_AND_RISE, ended: Any = "grew", **others: Any) -> RangeReport:
    fields: dict[str, Any] = {
        "ratios": {"all": 1.0},
        "untested": (),
        "paths": {"all": "optimizer.groups.all"},
        "scheduled": False,
        "epochs": 0.5,
        "seconds": 1.25,
    }
    curve = RangeCurve(RATES[: len(losses)], list(map(float, losses)), ended, 0.0, 1.0)
    return RangeReport(curve, **(fields | others))


def test_the_settings_of_a_single_group() -> None:
    assert report_of().settings() == {"optimizer.learning_rate": "1e-3"}


def test_the_settings_of_several_groups_keep_their_ratios() -> None:
    paths = {name: f"optimizer.groups.{name}" for name in ("wide", "deep", "late")}
    report = report_of(ratios={"wide": 1.0, "deep": 0.02}, paths=paths, untested=("late",), scheduled=True)
    assert report.settings() == {
        "optimizer.groups.wide.learning_rate": "1e-3",
        "optimizer.groups.deep.learning_rate": "2e-5",
    }
    assert report.x_label == "learning rate of wide"
    facts = dict(report.facts())
    assert facts["ratios"] == "rates of wide; 0.02 times it in deep; group=NAME tests one alone"
    assert facts["frozen"].startswith("late in this test") and "replaced" in facts["schedule"]


def test_the_facts() -> None:
    facts = dict(report_of().facts())
    assert facts["steps"] == "61, 0.5 epochs, in 1.2 s"
    assert facts["ended"] == "at 1e0: the smoothed loss grew to four times its best"
    assert facts["lowest"] == "loss 1 at 1e-2" and facts["suggested"] == "1e-3, a tenth of it"
    assert "ratios" not in facts and "schedule" not in facts


def test_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    report_of().print("tfrun optimizer.learning_rate=1e-3")
    out = capsys.readouterr().out
    assert out.startswith("smoothed loss over the learning rate\n") and "▲" in out
    assert out.endswith("\ntfrun optimizer.learning_rate=1e-3\n")


def test_without_a_suggestion_there_is_a_chart(capsys: pytest.CaptureFixture[str]) -> None:
    report = report_of(np.full(61, 2.0), "range")
    assert not report.has_suggestion
    report.print("")
    out = capsys.readouterr().out
    assert "▁" in out and "▲" not in out and "suggested" not in out
    report_of([], "undefined").print("")
    assert capsys.readouterr().out == ""


def test_the_page() -> None:
    text = page(report_of(), title="model=<mlp>", command="tfrun 'a=<b>'")
    assert "model=&lt;mlp&gt;" in text and "tfrun &#x27;a=&lt;b&gt;&#x27;" in text
    assert "<b>1e-3</b> suggested" in text and "<title>suggested: 1e-3</title>" in text
    assert text.count("<circle") == sum(FALL_AND_RISE <= 5 + 0.3 * 4) and "<script" not in text
    none = page(report_of(np.full(61, 2.0), "range"), title="t", command="")
    assert "No suggestion: the loss never falls clearly" in none and "suggested:" not in none


def test_a_long_test_has_a_small_page() -> None:
    curve = RangeCurve(np.logspace(-6, 0, 50_000).tolist(), np.linspace(2, 1, 50_000).tolist(), "grew", 0.9, 1.0)
    report = RangeReport(
        curve, ratios={"a": 1.0}, untested=(), paths={"a": "optimizer"}, scheduled=False, epochs=1.0, seconds=1.0
    )
    assert len(page(report, title="t", command="c")) < 100_000
