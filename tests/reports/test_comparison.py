"""Tables over runs that are written down here, against means and deviations worked out by hand."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tfrun import cli
from tfrun.errors import ConfigError
from tfrun.reports.comparison import compare, importances, show


def write(root: Path, number: int, best: float | None, status: str = "completed", **config: Any) -> None:
    folder = root / str(number)
    folder.mkdir(parents=True)
    base = {"seed": 1, "name": "it", "output_root": str(number), "checkpoint": {"monitor": "val/loss", "mode": "min"},
            "metric": {"hits": {"name": "accuracy"}}}  # fmt: skip
    (folder / "config.yaml").write_text(yaml.safe_dump(base | config, sort_keys=False))
    metrics = {} if best is None else {"val/loss": best + 1, "val/hits": best / 10, "test/loss": best + 2}
    run = {
        "status": status, "metrics": metrics, "epoch": 5, "timing": {"steps_per_second": 100.0},
        "best": {} if best is None else {"epoch": 3, "val/loss": best, "val/hits": best / 10},
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(run))
    if best is not None:
        lines = [{"epoch": epoch, "step": 10 * epoch, "val/loss": best + 0.5 * abs(epoch - 3)} for epoch in range(1, 6)]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "sweep"
    for number, (units, seed, best) in enumerate([(4, 1, 0.3), (4, 2, 0.5), (8, 1, 0.2), (8, 2, 0.1)]):
        write(root, number, best, seed=seed, model={"units": units, "same": True})
    write(root, 4, None, "failed", seed=3, model={"units": 16, "same": True})
    return root


def test_the_best_come_first_with_what_differs(sweep: Path) -> None:
    found = compare([str(sweep)])
    assert [row.folder.path.name for row in found.rows] == ["3", "2", "0", "1", "4"]
    assert list(found.keys) == ["seed", "model.units"]
    heads, lines = found.cells()
    assert heads[:6] == ["run", "seed", "model.units", "val/loss best", "status", "val/loss last"]
    assert lines[0] == ["3", "2", "8", "0.1", "completed", "1.1", "2.1", "3", "100"]
    assert lines[-1][:5] == ["4", "3", "16", "", "failed"]


def test_what_follows_from_another_choice_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, 0, 0.1, model={"name": "mlp", "units": [300], "dropout": 0.0}, loss={"name": "huber", "delta": 1.0})
    write(tmp_path, 1, 0.2, model={"name": "deep", "units": [30], "depth": 2}, loss={"name": "huber", "delta": 2.0})
    assert list(compare([str(tmp_path)]).keys) == ["model.name", "loss.delta"]


def test_of_different_losses_the_loss_says_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(10):
        write(
            tmp_path, number, 1.0 + number, loss={"name": "huber", "delta": 0.5 + number % 2}, model={"units": number}
        )
    show(compare([str(tmp_path)]))
    assert importances(compare([str(tmp_path)])) == {} != importances(compare([str(tmp_path)], "val/hits"))
    assert "no best: val/loss of different losses can't be compared" in capsys.readouterr().out
    show(compare([str(tmp_path)], "val/hits"))
    assert f"best       {tmp_path / '9'}" in capsys.readouterr().out
    for number in range(2):
        write(tmp_path / "failed", number, None, "failed", loss={"name": "huber", "delta": 0.5 + number})
    show(compare([str(tmp_path / "failed")]))
    assert "no best" not in capsys.readouterr().out  # nor is there anything to compare


def test_seeds_are_summed_up(sweep: Path) -> None:
    table = compare([str(sweep)]).over_seeds()
    assert table is not None
    heads, lines = table
    assert heads[:2] == ["model.units", "seeds"]
    # 0.1 and 0.2: mean 0.15, deviation √(2·0.05²); t with one degree of freedom is 12.706
    assert lines[0][:4] == ["8", "2", "0.15", "0.0707107"]
    assert float(lines[0][4].removeprefix("± ")) == pytest.approx(12.706 * 0.0707107 / 2**0.5, rel=1e-2)
    assert lines[1][:3] == ["4", "2", "0.4"]


def test_another_metric_has_its_own_direction(sweep: Path) -> None:
    assert [row.folder.path.name for row in compare([str(sweep)], "val/hits").rows][:2] == ["1", "0"]
    assert [row.folder.path.name for row in compare([str(sweep)], "val/hits", "min").rows][:2] == ["3", "2"]
    with pytest.raises(ConfigError, match="Did you mean 'val/hits'?"):
        compare([str(sweep)], "val/hit")


def note(root: Path, **keys: Any) -> None:
    """Adds keys to the `run.json` of each run."""
    for path in root.glob("*/run.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | keys))


def test_run_json_tells_the_direction_of_a_metric_of_a_plugin_that_is_gone(sweep: Path) -> None:
    note(sweep, higher_is_better={"loss": False, "hits": False})  # not the catalog's accuracy
    assert compare([str(sweep)], "val/hits").mode == "min"
    note(sweep, higher_is_better={"loss": False, "hits": True})
    assert compare([str(sweep)], "val/hits").mode == "max"
    assert compare([str(sweep)], "val/loss").mode == "min"


def test_a_mode_that_the_config_leaves_open_is_that_of_the_metric(tmp_path: Path) -> None:
    for number, best in enumerate([0.3, 0.5]):
        write(tmp_path, number, best, checkpoint={"monitor": "val/hits", "mode": None})
    assert [row.folder.path.name for row in compare([str(tmp_path)]).rows] == ["1", "0"]
    write(tmp_path, 2, 0.1, checkpoint={"monitor": "val/hits", "mode": "min"})
    assert compare([str(tmp_path / "2"), str(tmp_path / "0")]).mode == "min"  # a given mode wins


@pytest.mark.parametrize(("plugins", "mode"), [(["their_metrics"], "max"), (["gone"], "min"), ([], "min")])
def test_the_catalog_tells_the_direction_of_earlier_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plugins: list[str], mode: str
) -> None:
    monkeypatch.chdir(tmp_path)
    source = (
        "from tfrun import register\n@register.metric('their_gain', higher_is_better=True)\ndef f(y, y_pred): ...\n"
    )
    Path("their_metrics.py").write_text(source)
    write(tmp_path / "runs", 0, 0.3, plugins=plugins, metric={"hits": {"name": "their_gain"}})
    assert compare(["runs"], "val/hits").mode == mode


def test_the_last_epoch_counts_where_asked(sweep: Path) -> None:
    write(sweep, 5, 0.05, seed=3, model={"units": 4, "same": True})
    run = json.loads((sweep / "5" / "run.json").read_text())
    run["metrics"]["val/loss"] = 9.0
    (sweep / "5" / "run.json").write_text(json.dumps(run))
    assert compare([str(sweep)]).rows[0].folder.path.name == "5"
    found = compare([str(sweep)], take="last")
    assert [row.folder.path.name for row in found.rows] == ["3", "2", "0", "1", "5", "4"]
    assert found.cells()[0][3:6] == ["val/loss last", "status", "val/loss best"]


def test_two_runs_beside_each_other(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", "sweep/0", "sweep/2"]) == 0
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    assert ["model.units", "8", "4"] in lines  # the better one first
    assert ["val/loss best", "0.2", "0.3"] in lines and ["val/loss last", "1.2", "1.3"] in lines
    assert not any(line and line[0] in ("seed", "name", "model.same") for line in lines)


@pytest.fixture
def grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sweep whose value depends on the rate alone."""
    monkeypatch.chdir(tmp_path)
    rates, layers = (1e-4, 1e-3, 1e-2, 1e-1), ("thin", "wide", "deep")
    for number, (rate, kind) in enumerate((rate, kind) for rate in rates for kind in layers):
        write(tmp_path / "grid", number, 1.0 + rates.index(rate), optimizer={"rate": rate}, model={"kind": kind})
    return tmp_path / "grid"


def test_what_mattered_most(grid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shares = importances(compare([str(grid)]))
    assert list(shares) == ["optimizer.rate", "model.kind"]
    assert shares["optimizer.rate"] > 0.95 and sum(shares.values()) == pytest.approx(1.0)
    assert cli.main(["compare", "grid"]) == 0
    said = capsys.readouterr()
    assert "%  optimizer.rate" in said.out and said.err == ""


def test_few_runs_say_nothing_of_importance(sweep: Path) -> None:
    assert importances(compare([str(sweep)])) == {}


def test_a_report_of_its_own(grid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(grid, 12, None, "failed", optimizer={"rate": 1.0}, model={"kind": "<b>thick</b>"})
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


def test_the_command(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", str(sweep), "--csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("3,2,8,0.1,completed")
    assert cli.main(["compare", str(sweep), "--markdown", "metric=test/loss"]) == 0
    assert "| 3 | 2 | 8 |" in capsys.readouterr().out
    assert cli.main(["compare", str(sweep / "3"), str(sweep / "1")]) == 0
    assert "best       sweep/3" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "needs folders with runs"),
        (["nowhere"], "no such folder. Received: 'nowhere'"),
        (["."], "there are no runs in ."),
        ([".", "metrc=x"], "Did you mean 'metric'?"),
    ],
)
def test_what_is_wrong_is_told(
    words: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["compare", *words]) == 2
    assert says in capsys.readouterr().err
