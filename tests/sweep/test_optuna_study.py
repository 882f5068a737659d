"""Optuna's samplers and pruners by name, the studies that they are opened with, and constraints."""

from __future__ import annotations

import dataclasses
import math
import sys
from pathlib import Path
from typing import Any

import pytest

from tfrun.errors import ConfigError, TfrunError
from tfrun.sweep.optuna_study import Studies, parse_constraint
from tfrun.sweep.space import Dimension, Space
from tfrun.sweep.sweep_settings import SearchSettings

DEFAULTS = SearchSettings(
    n_trials=6,
    sampler="tpe",
    pruner=None,
    seed=0,
    objectives=None,
    take="best",
    constraints=[],
    params={},
    storage=None,
    study_name=None,
    lost_after_seconds=120,
)
RATES = Space([Dimension("rate", 1e-4, 1e-1, log=True), Dimension("batch_size", 8, 64)], [])


def check(space: Space = RATES, **changes: Any) -> Studies:
    return Studies.check(dataclasses.replace(DEFAULTS, **changes), space, max_reports=4)


def open_study(folder: Path, **changes: Any) -> Any:
    folder.mkdir(exist_ok=True)
    return check(**changes).open(folder, ["minimize"])


def draw(study: Any, value: float = 1.0) -> dict[str, str]:
    """Returns the values of the next trial, after ending it with a result."""
    trial = study.ask()
    values = RATES.choose(lambda dimension: dimension.suggest(trial))
    study.tell(trial, value)
    return values


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"sampler": "tpee"}, "Did you mean 'tpe'?"),
        ({"sampler": {"name": "tpe", "startup": 3}}, "hydra.sweeper.sampler: .*startup"),
        ({"sampler": "grid"}, "hydra.sweeper.sampler: grid needs choices"),
        ({"sampler": "random", "constraints": ["val/mae < 1"]}, "only the samplers tpe, gp, nsgaii support them"),
        ({"pruner": "medium"}, "hydra.sweeper.pruner: unknown pruner"),
        ({"pruner": {"name": "asha", "factor": 2}}, "hydra.sweeper.pruner: .*factor"),
    ],
)
def test_a_sampler_or_pruner_that_optuna_refuses(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        check(**changes)


def test_a_package_that_a_sampler_needs_is_looked_for_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ConfigError, match=r"gp needs PyTorch. .*'tfrun\[gp\]'"):
        check(sampler="gp")


@pytest.mark.parametrize("sampler", ["tpe", "cmaes", "gp", "random", "nsgaii"])
def test_every_sampler_searches_the_space(tmp_path: Path, sampler: str) -> None:
    if sampler == "gp":
        pytest.importorskip("torch", reason="the extra gp isn't installed")
    study = open_study(tmp_path / "s", sampler=sampler, storage=f"journal:{tmp_path / 'journal.log'}")
    points = [draw(study, value=float(k)) for k in range(14)]
    rates = [float(point["rate"]) for point in points]
    assert len(set(rates)) == 14 and all(1e-4 <= rate <= 1e-1 for rate in rates)
    assert all(8 <= int(point["batch_size"]) <= 64 for point in points)


def test_hyperband_knows_the_length_of_a_job() -> None:
    assert check(pruner="hyperband").pruner._max_resource == 4
    assert check(pruner={"name": "hyperband", "max_resource": 9}).pruner._max_resource == 9


def test_a_resumed_study_draws_new_values(tmp_path: Path) -> None:
    drawn = [draw(study)["rate"] for study in [open_study(tmp_path / "s")] for _ in range(2)]
    drawn += [draw(study)["rate"] for study in [open_study(tmp_path / "s")] for _ in range(2)]
    assert len(set(drawn)) == 4
    assert draw(open_study(tmp_path / "t"))["rate"] == drawn[0]  # a new study with the same seed starts the same


@pytest.mark.parametrize("storage", ["mysql://nowhere/x", "nonsense", "sqlite:////nowhere/at/all.db"])
def test_a_storage_that_can_t_be_used(tmp_path: Path, storage: str) -> None:
    with pytest.raises(TfrunError, match="hydra.sweeper.storage"):
        open_study(tmp_path / "s", storage=storage)


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ("val/mae < 50000", 49999.0, -1.0),
        ("val/mae<=1e3", 1500.0, 500.0),
        ("val/r2 >= 0.5", 0.25, 0.25),
        (" parameters > 9 ", 7.0, 2.0),
    ],
)
def test_the_distance_from_a_constraint(text: str, value: float, expected: float) -> None:
    distance = parse_constraint(text)
    name = text.split("<")[0].split(">")[0].strip()
    assert distance({name: value}) == expected
    assert distance({}) == distance({name: None}) == distance({name: math.nan}) == math.inf


@pytest.mark.parametrize("text", ["val/mae is small", "val/mae < 1..2", "< 3", ""])
def test_what_is_no_constraint(text: str) -> None:
    with pytest.raises(ConfigError, match="must be like 'val/mae < 50000'. Received"):
        parse_constraint(text)


def test_two_machines_share_a_study_in_postgresql(tmp_path: Path, postgresql: str) -> None:
    machines = [open_study(tmp_path / name, storage=postgresql, study_name="shared") for name in ("a", "b")]
    rates = [float(draw(machine, value)["rate"]) for value in (1.0, 2.0, 3.0) for machine in machines]
    assert len(set(rates)) == 6  # neither draws the values of the other
    for machine in machines:
        assert [trial.params["rate"] for trial in machine.trials] == pytest.approx(rates, rel=1e-5)
        assert [trial.value for trial in machine.trials] == [1.0, 1.0, 2.0, 2.0, 3.0, 3.0]
