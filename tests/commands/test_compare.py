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
    ],
)
def test_what_is_wrong_is_told(
    words: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["compare", *words]) == 2
    assert says in capsys.readouterr().err
