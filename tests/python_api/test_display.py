from __future__ import annotations

import pytest

from tfrun.python_api import display
from tfrun.python_api.display import Bar, Lines, Nothing


def test_lines_of_progress_are_recognized() -> None:
    """As `tests/engine/recording/test_progress.py` has them."""
    known = display.PROGRESS.fullmatch("epoch 3/20  step 33/220  train/loss 0.23  1,108 steps/s")
    assert known is not None and (known["epoch"], known["step"], known["total"]) == ("3", "33", "220")
    endless = display.PROGRESS.fullmatch("epoch 3/…  step 33/…  train/loss 0.23")
    assert endless is not None and endless["total"] == "…"
    assert display.PROGRESS.fullmatch("data        houses.csv, 80 rows") is None


def test_a_bar_is_text_and_html() -> None:
    assert repr(Bar("epoch 1/2  step 3/6  loss 0.5", 3, 6)) == "epoch 1/2  step 3/6  loss 0.5"
    html = Bar("step 3/6  <loss> 0.5", 3, 6)._repr_html_()
    assert 'value="3" max="6"' in html and "<code>step 3/6  &lt;loss&gt; 0.5</code>" in html
    assert "value" not in Bar("step 3/…", 3, None)._repr_html_()


def test_outside_of_a_notebook_there_are_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(display.display_for(show=True), Lines)
    assert isinstance(display.display_for(show=False), Nothing)
    Lines().show("one")
    Nothing().show("two")
    assert capsys.readouterr().out == "one\n"
