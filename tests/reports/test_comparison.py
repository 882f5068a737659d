"""The order of runs, and the keys that differ between them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

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


def test_the_last_epoch_counts_where_asked(sweep: Path, write_run: Callable[..., None]) -> None:
    write_run(sweep, 5, 0.05, seed=3, model={"units": 4, "same": True})
    run = json.loads((sweep / "5" / "run.json").read_text())
    run["metrics"]["val/loss"] = 9.0
    (sweep / "5" / "run.json").write_text(json.dumps(run))
    assert compare([str(sweep)]).rows[0].folder.path.name == "5"
    found = compare([str(sweep)], take="last")
    assert [row.folder.path.name for row in found.rows] == ["3", "2", "0", "1", "5", "4"]
    assert runs_table(found).heads[3:6] == ["val/loss last", "status", "val/loss best"]
