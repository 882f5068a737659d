"""The page of a comparison: what is on it, in which order, and how large it is."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tfrun import cli
from tfrun.files.runs import RunFolder
from tfrun.reports.comparison import Comparison, Row, compare
from tfrun.reports.html import page

HEADS = ("What matters", "val/loss over epochs", "val/loss over rate", "val/loss over kind")


def test_a_page_of_its_own(grid: Path, capsys: pytest.CaptureFixture[str], write_run: Callable[..., None]) -> None:
    write_run(grid, 12, None, "failed", optimizer={"rate": 1.0}, model={"kind": "<b>thick</b>"})
    assert cli.main(["compare", "grid", "--html", "out/report.html"]) == 0
    assert capsys.readouterr().out == "out/report.html\n"
    text = Path("out/report.html").read_text()
    assert "&lt;b&gt;thick" in text and "<b>thick" not in text
    assert not re.search(r"https?:|<script|<link", text)  # nothing is fetched, and nothing runs
    assert "<title>tfrun compare: 13 runs of grid by val/loss</title>" in text
    assert '<meta name=viewport content="width=device-width, initial-scale=1">' in text
    assert re.findall("<h3>(.*?)</h3>", text) == list(HEADS)
    assert text.count("<circle") == 2 * 12 and text.count("<path class=l ") == 11 and text.count("<path class=lb") == 1


def test_the_best_comes_before_the_charts_and_these_before_the_table(grid: Path) -> None:
    text = page(compare([str(grid)]))
    parts = ["<h1>12 runs of grid by val/loss</h1>", "12 completed. A smaller val/loss is better", "<b>1</b> val/loss"]
    parts += ["<p>grid/0</p>", "<p>optimizer.rate=0.0001 model.kind=thin</p>", "<svg", "<h2>Runs</h2>", "<td>0.0001"]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)


def test_a_comparison_without_a_best(tmp_path: Path, write_run: Callable[..., None]) -> None:
    for number in range(2):
        write_run(tmp_path / "failed", number, None, "failed", model={"units": number})
        write_run(tmp_path / "losses", number, 0.5 + number, loss={"name": ["mse", "mae"][number]})
    failed, losses = page(compare([str(tmp_path / "failed")])), page(compare([str(tmp_path / "losses")]))
    assert "No run has a value yet." in failed and "<svg" not in failed and "No run has curves." in failed
    assert "no best: val/loss of different losses" in losses and "metric=val/&lt;metric&gt; can" in losses
    assert "class=b " not in losses and "class=lb" not in losses


def test_a_table_is_cut_where_asked_for(grid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", "grid", "top=3", "--html", "report.html"]) == 0
    text = Path("report.html").read_text()
    assert text.count("<tr><td>") == 3 and "9 more. All are in the output of tfrun compare --csv." in text


def many(num_runs: int, num_keys: int) -> Comparison:
    """Returns runs whose folders don't exist, with long names and values."""
    keys = [f"section.key_of_a_long_name_{key}" for key in range(num_keys)]
    rows = []
    for number in range(num_runs):
        config = {key: number * 1.23456789 + index for index, key in enumerate(keys)}
        run = {
            "status": "completed",
            "metrics": {"val/loss": number + 0.123456},
            "best": {"val/loss": number + 0.123456},
        }
        folder = RunFolder(Path(f"/none/2026-11-29_22-36-01_bce6a6/{number}"))
        rows.append(Row(folder, run | {"epoch": 3, "timing": {}}, config | {"checkpoint.monitor": "val/loss"}))
    return Comparison(rows, keys, "val/loss", "min")


def test_a_page_of_many_runs_is_small() -> None:
    text = page(many(3000, 20))
    assert len(text.encode()) < 1_000_000
    assert text.count("<circle") == 9 * 400  # the best 200, and every 14th of the other 2800
    assert "Points: 400 of 3,000 runs, the best and some of the others." in text
    assert "section.key_of_a_long_name_9" in text


def test_a_damaged_curve_is_left_out_with_a_warning(grid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (grid / "3" / "metrics.jsonl").write_text("{\n")
    assert page(compare([str(grid)])).count("<path class=l ") == 10
    assert capsys.readouterr().err.startswith(f"warning: no curve: {grid}/3/metrics.jsonl:1: is damaged")


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium isn't installed")
def test_a_page_in_a_browser(grid: Path) -> None:
    cli.main(["compare", "grid", "--html", "report.html"])
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=8000", "--dump-dom"]
    done = subprocess.run(
        ["chromium", *flags, f"file://{Path('report.html').absolute()}"], capture_output=True, text=True, timeout=120
    )
    dom = done.stdout  # as the browser has understood it
    assert dom.count("<svg role=") == 4 and dom.count("</svg>") == 4
    assert dom.count("</circle>") == 2 * 12 and dom.count("</td></tr>") == 12 and dom.count("</rect>") == 2
