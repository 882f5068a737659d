"""The private names of Optuna: each does what tfrun needs of it, and is missed loudly once it is gone."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import optuna
import pytest

from tfrun.errors import LibraryChangedError
from tfrun.sweep import optuna_private
from tfrun.sweep.lost_trials import database


def test_a_trial_of_another_process_can_be_ended() -> None:
    study = optuna.create_study()
    number = study.ask().number
    (copy,) = study.get_trials()
    study.tell(optuna_private.open_trial(study, copy), 0.5)
    (ended,) = study.get_trials()
    assert (ended.number, ended.value) == (number, 0.5)


def test_a_trial_s_id_that_is_gone_is_missed() -> None:
    study = optuna.create_study()
    study.ask()
    (copy,) = study.get_trials()
    del copy._trial_id
    with pytest.raises(LibraryChangedError, match="^Optuna changed FrozenTrial._trial_id"):
        optuna_private.open_trial(study, copy)


def test_a_trial_sends_a_heartbeat(tmp_path: Path) -> None:
    storage = database(f"sqlite:///{tmp_path}/study.db", lost_after_seconds=60, on_lost=print)
    study = optuna.create_study(storage=storage)
    optuna_private.send_heartbeat(study, study.ask())
    with contextlib.closing(sqlite3.connect(tmp_path / "study.db")) as opened:
        assert opened.execute("SELECT count(*) FROM trial_heartbeats").fetchone() == (1,)
    without = optuna.create_study()
    with pytest.raises(LibraryChangedError, match=r"^Optuna changed InMemoryStorage.record_heartbeat"):
        optuna_private.send_heartbeat(without, without.ask())


def test_a_grid_is_asked_beyond_its_last_point() -> None:
    study = optuna.create_study(sampler=optuna_private.endless_grid()({"x": [1, 2]}))
    drawn = []
    for _ in range(3):
        trial = study.ask()
        drawn.append(trial.suggest_categorical("x", [1, 2]))
        study.tell(trial, 0.0)
    assert sorted(drawn[:2]) == [1, 2]


def test_a_grid_s_end_that_has_moved_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(optuna.samplers.GridSampler, "after_trial")
    with pytest.raises(LibraryChangedError, match="^Optuna changed GridSampler.after_trial"):
        optuna_private.endless_grid()
