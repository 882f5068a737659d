"""The order of runs, and the keys that differ between them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tfrun.errors import ConfigError
from tfrun.reports.comparison import compare
from tfrun.reports.tables import runs_table


def test_the_best_come_first_with_what_differs(sweep: Path) -> None:
    found = compare([str(sweep)])
    assert [row.folder.path.name for row in found.rows] == ["3", "2", "0", "1", "4"]
    assert list(found.keys) == ["seed", "model.units"]


def test_what_follows_from_another_choice_is_left_out(tmp_path: Path, write_run: Callable[..., None]) -> None:
    write_run(
        tmp_path, 0, 0.1, model={"name": "mlp", "units": [300], "dropout": 0.0}, loss={"name": "huber", "delta": 1.0}
    )
    write_run(tmp_path, 1, 0.2, model={"name": "deep", "units": [30], "depth": 2}, loss={"name": "huber", "delta": 2.0})
    assert list(compare([str(tmp_path)]).keys) == ["model.name", "loss.delta"]


def test_another_metric_has_its_own_direction(sweep: Path) -> None:
    assert [row.folder.path.name for row in compare([str(sweep)], "val/hits").rows][:2] == ["1", "0"]
    assert [row.folder.path.name for row in compare([str(sweep)], "val/hits", mode="min").rows][:2] == ["3", "2"]
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


def test_a_mode_that_the_config_leaves_open_is_that_of_the_metric(
    tmp_path: Path, write_run: Callable[..., None]
) -> None:
    for number, best in enumerate([0.3, 0.5]):
        write_run(tmp_path, number, best, checkpoint={"monitor": "val/hits", "mode": None})
    assert [row.folder.path.name for row in compare([str(tmp_path)]).rows] == ["1", "0"]
    write_run(tmp_path, 2, 0.1, checkpoint={"monitor": "val/hits", "mode": "min"})
    assert compare([str(tmp_path / "2"), str(tmp_path / "0")]).mode == "min"  # a given mode wins


def test_a_mode_that_is_null_is_equal_to_the_one_that_it_means(tmp_path: Path, write_run: Callable[..., None]) -> None:
    """Runs of earlier versions have their modes in the config."""
    stopping = {"monitor": "val/hits", "patience": 3}
    write_run(
        tmp_path, 0, 0.3, checkpoint={"monitor": "val/loss", "mode": "min"}, early_stopping=stopping | {"mode": "max"}
    )
    write_run(
        tmp_path, 1, 0.5, checkpoint={"monitor": "val/loss", "mode": None}, early_stopping=stopping | {"mode": None}
    )
    assert list(compare([str(tmp_path)]).keys) == []
    write_run(
        tmp_path, 2, 0.4, checkpoint={"monitor": "val/loss", "mode": None}, early_stopping=stopping | {"mode": "min"}
    )
    assert list(compare([str(tmp_path)]).keys) == ["early_stopping.mode"]


@pytest.mark.parametrize(("plugins", "mode"), [(["their_metrics"], "max"), (["gone"], None), ([], None)])
def test_the_catalog_tells_the_direction_of_earlier_runs(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    plugins: list[str],
    mode: str | None,
    write_run: Callable[..., None],
) -> None:
    monkeypatch.chdir(tmp_path)
    source = (
        "from tfrun import register\n@register.metric('their_gain', higher_is_better=True)\ndef f(y, y_pred): ...\n"
    )
    Path("their_metrics.py").write_text(source)
    write_run(tmp_path / "runs", 0, 0.3, plugins=plugins, metric={"hits": {"name": "their_gain"}})
    if mode is None:
        with pytest.raises(ConfigError, match="^mode: must be given, because nothing says whether a greater val/hits"):
            compare(["runs"], "val/hits")
    else:
        assert compare(["runs"], "val/hits").mode == mode


def test_a_mode_against_the_metric_is_warned_of(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    note(sweep, higher_is_better={"loss": False, "hits": True})
    compare([str(sweep)], "val/hits", mode="min")
    assert capsys.readouterr().err == "warning: mode=min, but a greater val/hits is better\n"
    compare([str(sweep)], "val/hits", mode="max")
    assert capsys.readouterr().err == ""


def test_the_last_epoch_counts_where_asked(sweep: Path, write_run: Callable[..., None]) -> None:
    write_run(sweep, 5, 0.05, seed=3, model={"units": 4, "same": True})
    run = json.loads((sweep / "5" / "run.json").read_text())
    run["metrics"]["val/loss"] = 9.0
    (sweep / "5" / "run.json").write_text(json.dumps(run))
    assert compare([str(sweep)]).rows[0].folder.path.name == "5"
    found = compare([str(sweep)], take="last")
    assert [row.folder.path.name for row in found.rows] == ["3", "2", "0", "1", "5", "4"]
    assert runs_table(found).heads[3:6] == ["val/loss last", "status", "val/loss best"]


@pytest.mark.parametrize("content", ["[1]", '{"metrics": 3, "best": null, "timing": []}', "{", "[" * 100_000])
def test_a_folder_that_is_damaged_is_left_out(sweep: Path, capsys: pytest.CaptureFixture[str], content: str) -> None:
    bad = sweep / "other" / "q"
    bad.mkdir(parents=True)
    (bad / "run.json").write_text(content)
    (bad / "config.yaml").write_bytes(b"a: \xff")
    assert [row.folder.path.name for row in compare([str(sweep)]).rows] == ["3", "2", "0", "1", "4"]
    out, err = capsys.readouterr()
    assert (out, err.startswith(f"warning: left out: {bad}/run.json: is damaged"), err.count("\n")) == (
        "",
        True,
        1,
    )


@pytest.mark.parametrize("content", [b"a: 1", b"- 1", b"a: \xff", b"trainer: [1]\ncheckpoint: 2"])
def test_a_config_of_another_program_is_none(sweep: Path, content: bytes) -> None:
    (sweep / "3" / "config.yaml").write_bytes(content)
    comparison = compare([str(sweep)])
    has_config = {row.folder.path.name: "checkpoint.monitor" in row.config for row in comparison.rows}
    assert has_config["3"] is False and has_config["2"] is True
