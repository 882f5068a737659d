from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tfrun import cli


def test_a_report_of_its_own(grid: Path, capsys: pytest.CaptureFixture[str], write_run: Callable[..., None]) -> None:
    write_run(grid, 12, None, "failed", optimizer={"rate": 1.0}, model={"kind": "<b>thick</b>"})
    assert cli.main(["compare", "grid", "--html", "out/report.html"]) == 0
    assert capsys.readouterr().out == "out/report.html\n"
    page = Path("out/report.html").read_text()
    assert "&lt;b&gt;thick" in page and "<b>thick" not in page
    assert not re.search(r'src="?https?:', page)  # nothing is fetched
    for head in ("Leaderboard", "Every run", "val/loss over epochs", "What mattered most"):
        assert f"<h2>{head}</h2>" in page


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium isn't installed")
def test_a_report_in_a_browser(grid: Path) -> None:
    cli.main(["compare", "grid", "--html", "report.html"])
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=8000", "--dump-dom"]
    done = subprocess.run(
        ["chromium", *flags, f"file://{Path('report.html').absolute()}"], capture_output=True, text=True, timeout=120
    )
    shown = done.stdout.rpartition("</script>")[0]
    assert shown.count('class="axis-title"') >= 3  # of the parallel coordinates: rate, kind, loss
    assert done.stdout.count('class="trace scatter') == 12 and done.stdout.count('class="trace bars"') == 1
