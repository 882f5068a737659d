from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tfrun import cli


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four runs that differ in their units and seeds."""
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "sweep"
    for number, (units, seed, best) in enumerate([(4, 1, 0.3), (4, 2, 0.5), (8, 1, 0.2), (8, 2, 0.1)]):
        folder = root / str(number)
        folder.mkdir(parents=True)
        checkpoint = {"monitor": "val/loss", "mode": "min"}
        config = {"seed": seed, "model": {"units": units}, "checkpoint": checkpoint}
        (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
        metrics = {"val/loss": best + 1, "test/loss": best + 2}
        run = {"status": "completed", "metrics": metrics, "best": {"epoch": 3, "val/loss": best}}
        (folder / "run.json").write_text(json.dumps(run))
    return root


def test_the_command(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", str(sweep), "--csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("3,2,8,0.1,completed")
    assert cli.main(["compare", str(sweep), "--markdown", "metric=test/loss"]) == 0
    assert "| 3 | 2 | 8 |" in capsys.readouterr().out
    assert cli.main(["compare", str(sweep / "3"), str(sweep / "1")]) == 0
    assert "best       sweep/3" in capsys.readouterr().out


def test_tables_for_a_person(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", "sweep"]) == 0
    captured = capsys.readouterr()
    assert "over seeds" in captured.out and "best       sweep/3" in captured.out and captured.err == ""


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "needs folders with runs"),
        (["nowhere"], "no such folder. Received: 'nowhere'"),
        (["."], "there are no runs in ."),
        ([".", "metrc=x"], "Did you mean 'metric'?"),
        ([".", "tpo=3"], "Known: importance, metric, mode, take, top. Did you mean 'top'?"),
        ([".", "top=0"], "top: must be a number of lines, 1 or more, or all. Received: '0'.\n"),
        ([".", "top=-3"], "Received: '-3'."),
        ([".", "top=al"], "Received: 'al'. Did you mean 'all'?"),
        ([".", "top=3", "--csv"], "top: not with --csv, which always has all runs"),
        ([".", "importance=yes"], "importance: must be true or false. Received: 'yes'"),
        ([".", "importance=true", "--markdown"], "importance: not with --csv or --markdown."),
    ],
)
def test_what_is_wrong_is_told(
    words: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["compare", *words]) == 2
    assert says in capsys.readouterr().err


def test_importance_needs_optuna(
    sweep: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert cli.main(["compare", "sweep", "importance=true"]) == 2
    says = "tfrun: error: importance: needs Optuna. Install it with: pip install 'tfrun[search]'\n"
    assert capsys.readouterr().err == says
    assert cli.main(["compare", "sweep", "importance=false"]) == 0


def test_top(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", "sweep", "top=2"]) == 0
    assert "2 more runs: top=all shows all" in capsys.readouterr().out
    for words in (["top=all"], []):
        assert cli.main(["compare", "sweep", *words]) == 0
        assert "more" not in capsys.readouterr().out
    assert cli.main(["compare", "sweep", "top=3", "--markdown"]) == 0
    assert "\n\n1 more run: top=all shows all\n\n" in capsys.readouterr().out


def test_a_page_is_an_html_file(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", "sweep", "--html", "a.htm"]) == 2
    assert capsys.readouterr().err == "tfrun: error: --html: must be an .html file. Received: 'a.htm'\n"
